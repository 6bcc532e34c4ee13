resource "aws_media_convert_queue" "clips" {
  count = var.mediaconvert_queue == null ? 1 : 0

  name         = var.name_prefix
  description  = "Clips that are too much for trim."
  pricing_plan = "ON_DEMAND"
  tags         = var.tags
}
