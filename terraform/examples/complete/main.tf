# Every kind of caller in one configuration: a program that sends requests, people who operate the deployment, a queue
# that receives the outcomes of one camera, and an address that receives the alarms.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

module "clipflow" {
  source = "../.."

  name_prefix    = var.name_prefix
  tags           = { service = "clips" }
  package_dir    = var.package_dir
  source_buckets = [var.source_bucket]
  mongodb_uri    = var.mongodb_uri

  recordings = {
    bucket          = var.source_bucket
    retention_hours = 48
  }

  max_clip_seconds      = 3600
  max_cost_usd          = 2
  max_starts_per_minute = 600
  log_retention_days    = 90
  alarm_topic_arns      = [aws_sns_topic.alarms.arn]
}

# Who sends requests.

resource "aws_iam_policy" "producer" {
  name        = "${var.name_prefix}-producer"
  description = "Sends requests for clips."
  policy      = module.clipflow.producer_policy
}

resource "aws_iam_role_policy_attachment" "producer" {
  role       = var.producer_role
  policy_arn = aws_iam_policy.producer.arn
}

# Who operates the deployment.

resource "aws_iam_policy" "operator" {
  name        = "${var.name_prefix}-operator"
  description = "Lists, shows, redrives, stops, replays and uploads."
  policy      = module.clipflow.operator_policy
}

resource "aws_iam_group" "operators" {
  name = "${var.name_prefix}-operators"
}

resource "aws_iam_group_policy_attachment" "operators" {
  group      = aws_iam_group.operators.name
  policy_arn = aws_iam_policy.operator.arn
}

# Who is notified of outcomes: here a queue, and only of one camera's available clips.

resource "aws_sqs_queue" "outcomes" {
  name                    = "${var.name_prefix}-outcomes-${var.camera_id}"
  sqs_managed_sse_enabled = true
}

resource "aws_sqs_queue_policy" "outcomes" {
  queue_url = aws_sqs_queue.outcomes.url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Principal = { Service = "sns.amazonaws.com" }
      Resource  = aws_sqs_queue.outcomes.arn
      Condition = { ArnEquals = { "aws:SourceArn" = module.clipflow.topic_arn } }
    }]
  })
}

resource "aws_sns_topic_subscription" "outcomes" {
  topic_arn            = module.clipflow.topic_arn
  protocol             = "sqs"
  endpoint             = aws_sqs_queue.outcomes.arn
  raw_message_delivery = true
  filter_policy        = jsonencode({ status = ["available"], cameraId = [var.camera_id] })

  depends_on = [aws_sqs_queue_policy.outcomes]
}

# Who receives the alarms.

resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26: CloudWatch cannot publish to a topic that is encrypted with the key alias/aws/sns.
  name = "${var.name_prefix}-alarms"
}

resource "aws_sns_topic_subscription" "alarms" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}
