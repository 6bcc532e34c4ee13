locals {
  alarms = merge({
    dead-letters = {
      description = "start failed 20 times on a request. The request is in the dead-letter queue."
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = local.name.dead_letters }
      statistic   = "Maximum"
    }
    executions-failed = {
      description = "Executions failed. Fix the cause, then rerun them."
      namespace   = "AWS/States"
      metric      = "ExecutionsFailed"
      dimensions  = { StateMachineArn = local.arn.state_machine }
      statistic   = "Sum"
    }
    executions-timed-out = {
      description = "Executions timed out. Fix the cause, then rerun them."
      namespace   = "AWS/States"
      metric      = "ExecutionsTimedOut"
      dimensions  = { StateMachineArn = local.arn.state_machine }
      statistic   = "Sum"
    }
    jobs-waiting = {
      description = "MediaConvert jobs wait in their queue for over half of transcode_heartbeat_seconds. Clips fail when it is all over."
      namespace   = "AWS/MediaConvert"
      metric      = "StandbyTime"
      dimensions  = { Queue = local.arn.mediaconvert_queue }
      statistic   = "Maximum"
      threshold   = 1000 * var.transcode_heartbeat_seconds / 2
    }
    }, {
    for name in keys(local.event_functions) : "${name}-dead-letters" => {
      description = "${name} failed on an event for an hour. The event is in the dead-letter queue."
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = "${var.name_prefix}-${name}-dead" }
      statistic   = "Maximum"
    }
  })
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = { for name, alarm in local.alarms : name => alarm if length(var.alarm_topic_arns) > 0 }

  alarm_name          = "${var.name_prefix}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = try(each.value.threshold, 0)
  period              = 300
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}
