# EventBridge events reach their function through a queue. There an event can wait while a dependency of the function is
# down, and is not dropped after the two retries of an asynchronous invocation.

locals {
  event_functions = { for name, function in local.functions : name => function if function.event_pattern != null }

  event_rule_arns = {
    for name in keys(local.event_functions) : name => "arn:${local.partition}:events:${local.regional}:rule/${var.name_prefix}-${name}"
  }
  event_queue_arns = {
    for name in keys(local.event_functions) : name => "arn:${local.partition}:sqs:${local.regional}:${var.name_prefix}-${name}-events"
  }
  event_dead_letter_arns = {
    for name in keys(local.event_functions) : name => "arn:${local.partition}:sqs:${local.regional}:${var.name_prefix}-${name}-dead"
  }
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.event_functions

  name          = "${var.name_prefix}-${each.key}"
  description   = each.value.description
  event_pattern = jsonencode(each.value.event_pattern)
  tags          = var.tags
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.event_functions

  rule      = aws_cloudwatch_event_rule.this[each.key].name
  target_id = each.key
  arn       = aws_sqs_queue.events[each.key].arn

  retry_policy {
    maximum_event_age_in_seconds = 24 * 60 * 60
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.event_dead_letters[each.key].arn
  }
}

resource "aws_sqs_queue" "events" {
  for_each = local.event_functions

  name = "${var.name_prefix}-${each.key}-events"
  # How long a failed event waits for its next attempt.
  visibility_timeout_seconds = 2 * each.value.timeout_seconds
  message_retention_seconds  = 14 * 24 * 60 * 60
  sqs_managed_sse_enabled    = true
  policy                     = local.event_queue_policies[each.key].events
  tags                       = var.tags
}

resource "aws_sqs_queue" "event_dead_letters" {
  for_each = local.event_functions

  name                      = "${var.name_prefix}-${each.key}-dead"
  message_retention_seconds = 14 * 24 * 60 * 60
  sqs_managed_sse_enabled   = true
  policy                    = local.event_queue_policies[each.key].dead_letters
  tags                      = var.tags

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.event_queue_arns[each.key]]
  })
}

locals {
  # By function, who may send to its two queues: its rule, which sends undeliverable events to the dead-letter queue.
  event_queue_policies = {
    for name, rule in local.event_rule_arns : name => {
      for queue, arn in { events = local.event_queue_arns[name], dead_letters = local.event_dead_letter_arns[name] } :
      queue => jsonencode({
        Version = "2012-10-17"
        Statement = [{
          Effect    = "Allow"
          Action    = "sqs:SendMessage"
          Principal = { Service = "events.amazonaws.com" }
          Resource  = arn
          Condition = { ArnEquals = { "aws:SourceArn" = rule } }
        }]
      })
    }
  }
}

# Separate from the queues, so that they are all created concurrently.
resource "aws_sqs_queue_redrive_policy" "events" {
  for_each = local.event_functions

  queue_url = aws_sqs_queue.events[each.key].url

  # An hour of attempts.
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.event_dead_letters[each.key].arn
    maxReceiveCount     = 60 * 60 / (2 * each.value.timeout_seconds)
  })
}

# One event per invocation, so that only that event fails.
resource "aws_lambda_event_source_mapping" "event" {
  for_each = local.event_functions

  event_source_arn = aws_sqs_queue.events[each.key].arn
  function_name    = aws_lambda_alias.live[each.key].arn
  batch_size       = 1
  tags             = var.tags

  dynamic "scaling_config" {
    for_each = each.value.max_concurrency == null ? [] : [each.value.max_concurrency]

    content {
      maximum_concurrency = scaling_config.value
    }
  }
}
