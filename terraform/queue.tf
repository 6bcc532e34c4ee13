# SQS cannot limit a rate, only the number of batches in flight, at least two. So start takes a minimum time per
# request, and batches are small enough to end well within start's timeout of 30 seconds.
locals {
  start_concurrency = var.max_starts_per_minute == null ? coalesce(var.start_max_concurrency, 10) : 2
  start_interval_ms = var.max_starts_per_minute == null ? null : ceil(2 * 60 * 1000 / var.max_starts_per_minute)
  # Step Functions lets an account describe ten executions per second, and start describes one for each request that was
  # sent before and has ended.
  describe_interval_ms = 100 * local.start_concurrency
  start_batch_size     = var.max_starts_per_minute == null ? 10 : max(1, min(10, floor(20000 / local.start_interval_ms)))
}

resource "aws_sqs_queue" "requests" {
  name = local.name.requests
  # Six times start's timeout, as AWS recommends: a batch still being processed must not be delivered again.
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

# Separate from the queue, so that the two queues are created concurrently: the provider waits 25 seconds for each.
resource "aws_sqs_queue_redrive_policy" "requests" {
  queue_url = aws_sqs_queue.requests.url

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    # Enough for an hour. Each time that Lambda throttles start counts too, and the clips of a burst may leave it no
    # capacity.
    maxReceiveCount = 20
  })
}

resource "aws_lambda_event_source_mapping" "start" {
  event_source_arn        = aws_sqs_queue.requests.arn
  function_name           = aws_lambda_alias.live["start"].arn
  batch_size              = local.start_batch_size
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = local.start_concurrency
  }
}
