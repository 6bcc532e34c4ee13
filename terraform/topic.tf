resource "aws_sns_topic" "outcomes" {
  name              = local.name.topic
  kms_master_key_id = "alias/aws/sns"
  tags              = var.tags
}
