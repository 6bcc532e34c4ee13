resource "aws_sqs_queue" "requests" {
  name = local.name.requests
  # Six times start's time-out, as AWS advises: a batch that is still at work must not be delivered again.
  visibility_timeout_seconds = 6 * local.functions.start.timeout_seconds
  message_retention_seconds  = 14 * 24 * 60 * 60
  sqs_managed_sse_enabled    = true
  tags                       = var.tags
}

resource "aws_sqs_queue" "dead_letters" {
  name                      = local.name.dead_letters
  message_retention_seconds = 14 * 24 * 60 * 60
  sqs_managed_sse_enabled   = true
  tags                      = var.tags

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.arn.requests]
  })
}

# Apart from the queue, so that the two queues are created at the same time: the provider waits 25 seconds on each.
resource "aws_sqs_queue_redrive_policy" "requests" {
  queue_url = aws_sqs_queue.requests.url

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 5
  })
}

resource "aws_lambda_event_source_mapping" "start" {
  event_source_arn        = aws_sqs_queue.requests.arn
  function_name           = aws_lambda_alias.live["start"].arn
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  dynamic "scaling_config" {
    for_each = var.start_max_concurrency == null ? [] : [var.start_max_concurrency]

    content {
      maximum_concurrency = scaling_config.value
    }
  }
}
