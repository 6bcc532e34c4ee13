locals {
  event_functions = { for name, function in local.functions : name => function if function.event_pattern != null }

  event_rule_arns = {
    for name in keys(local.event_functions) : name => "arn:${local.partition}:events:${local.regional}:rule/${var.name_prefix}-${name}"
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
  arn       = aws_lambda_alias.live[each.key].arn

  retry_policy {
    maximum_event_age_in_seconds = 24 * 60 * 60
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.event_dead_letters[each.key].arn
  }
}

resource "aws_lambda_permission" "event" {
  for_each = local.event_functions

  statement_id  = "events"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this[each.key].function_name
  qualifier     = aws_lambda_alias.live[each.key].name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.this[each.key].arn
}

# EventBridge has done its part once Lambda takes the event; from there on it is Lambda that tries again and gives up.
resource "aws_lambda_function_event_invoke_config" "event" {
  for_each = local.event_functions

  function_name                = aws_lambda_function.this[each.key].function_name
  qualifier                    = aws_lambda_alias.live[each.key].name
  maximum_event_age_in_seconds = 6 * 60 * 60
  maximum_retry_attempts       = 2

  destination_config {
    on_failure {
      destination = aws_sqs_queue.event_dead_letters[each.key].arn
    }
  }
}

resource "aws_sqs_queue" "event_dead_letters" {
  for_each = local.event_functions

  name                      = "${var.name_prefix}-${each.key}-dead"
  message_retention_seconds = 14 * 24 * 60 * 60
  sqs_managed_sse_enabled   = true
  tags                      = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Principal = { Service = "events.amazonaws.com" }
      Resource  = local.event_dead_letter_arns[each.key]
      Condition = { ArnEquals = { "aws:SourceArn" = local.event_rule_arns[each.key] } }
    }]
  })
}
