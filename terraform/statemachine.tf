# Log groups named /aws/vendedlogs/ do not count against the size limit of the resource policy for log deliveries.
resource "aws_cloudwatch_log_group" "state_machine" {
  # checkov:skip=CKV_AWS_158: log_execution_data keeps requests out of the log, and CloudWatch encrypts it with its own key.
  # checkov:skip=CKV_AWS_338: log_retention_days sets the period.
  name              = "/aws/vendedlogs/states/${local.name.state_machine}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

# Each interval is 1.1 times the previous one, up to ten times the first: 25 intervals, in total 98.35 times the first.
locals {
  recordings_intervals = try(var.recordings.wait_seconds / var.recordings.retry_seconds, 0)
  recordings_retries = (local.recordings_intervals <= 98.35
    ? ceil(log(1 + 0.1 * local.recordings_intervals, 1.1))
  : 25 + ceil((local.recordings_intervals - 98.35) / 10))
}

resource "aws_sfn_state_machine" "clip" {
  name     = local.name.state_machine
  type     = "STANDARD"
  role_arn = aws_iam_role.state_machine.arn
  tags     = var.tags

  # A number that is filled in becomes a number in the definition, not an expression.
  definition = replace(
    templatefile(
      coalesce(var.definition_file, "${path.module}/../statemachine/clip.asl.json"),
      merge(
        { for name, function in local.functions : "${name}_arn" => aws_lambda_alias.live[name].arn if function.state },
        {
          transcode_timeout_seconds = var.transcode_timeout_seconds
          # Step Functions requires it to be less than the timeout.
          transcode_heartbeat_seconds = min(var.transcode_heartbeat_seconds, var.transcode_timeout_seconds - 1)
          recordings_retry_seconds    = try(var.recordings.retry_seconds, 30)
          recordings_max_seconds      = try(10 * var.recordings.retry_seconds, 300)
          recordings_retries          = local.recordings_retries
        },
      ),
    ),
    "/\"{% \\$number\\('([0-9.]+)'\\) %}\"/",
    "$1",
  )

  # Step Functions itself keeps every event of a Standard execution for 90 days; the log is for finding failures.
  logging_configuration {
    level                  = "ERROR"
    include_execution_data = var.log_execution_data
    log_destination        = "${aws_cloudwatch_log_group.state_machine.arn}:*"
  }

  dynamic "tracing_configuration" {
    for_each = var.tracing ? [true] : []

    content {
      enabled = true
    }
  }

  depends_on = [aws_iam_role_policy.state_machine]
}
