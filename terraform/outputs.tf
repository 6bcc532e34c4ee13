output "name_prefix" {
  description = "Prefix of every resource's name."
  value       = var.name_prefix
}

output "region" {
  description = "Region of the deployment."
  value       = local.region
}

# Requests

output "queue_url" {
  description = "URL of the request queue."
  value       = aws_sqs_queue.requests.url
}

output "queue_arn" {
  description = "ARN of the request queue."
  value       = aws_sqs_queue.requests.arn
}

output "queue_name" {
  description = "Name of the request queue."
  value       = aws_sqs_queue.requests.name
}

output "dead_letter_queue_url" {
  description = "URL of the queue for requests that start could not process."
  value       = aws_sqs_queue.dead_letters.url
}

output "dead_letter_queue_arn" {
  description = "ARN of the queue for requests that start could not process."
  value       = aws_sqs_queue.dead_letters.arn
}

output "source_buckets" {
  description = "Names of the buckets that sources may be in."
  value       = sort(var.source_buckets)
}

# Executions

output "state_machine_arn" {
  description = "ARN of the state machine."
  value       = aws_sfn_state_machine.clip.arn
}

output "state_machine_name" {
  description = "Name of the state machine."
  value       = aws_sfn_state_machine.clip.name
}

output "event_queue_urls" {
  description = "URL of each function's event queue, by function."
  value       = { for name, queue in aws_sqs_queue.events : name => queue.url }
}

output "event_queue_arns" {
  description = "ARN of each function's event queue, by function."
  value       = { for name, queue in aws_sqs_queue.events : name => queue.arn }
}

output "event_dead_letter_queue_urls" {
  description = "URL of each function's queue for events that it could not process, by function."
  value       = { for name, queue in aws_sqs_queue.event_dead_letters : name => queue.url }
}

output "event_dead_letter_queue_arns" {
  description = "ARN of each function's queue for events that it could not process, by function."
  value       = { for name, queue in aws_sqs_queue.event_dead_letters : name => queue.arn }
}

output "mediaconvert_queue_arn" {
  description = "ARN of the MediaConvert queue that jobs are submitted to."
  value       = local.arn.mediaconvert_queue
}

# Outcomes

output "topic_arn" {
  description = "ARN of the SNS topic that outcomes are published to."
  value       = aws_sns_topic.outcomes.arn
}

output "topic_name" {
  description = "Name of the SNS topic that outcomes are published to."
  value       = aws_sns_topic.outcomes.name
}

output "bucket" {
  description = "Name of the bucket that clips are written to, below clips/."
  value       = try(aws_s3_bucket.clips[0].bucket, var.clips_bucket)
}

output "bucket_arn" {
  description = "ARN of the bucket that clips are written to."
  value       = local.arn.bucket
}

output "mongodb_database" {
  description = "Name of the MongoDB database."
  value       = var.mongodb_database
}

output "mongodb_uri_secret_arn" {
  description = "ARN of the secret that holds the MongoDB URI."
  value       = aws_secretsmanager_secret.mongodb_uri.arn
}

# Functions

output "function_names" {
  description = "Name of each function, by function."
  value       = { for name, function in aws_lambda_function.this : name => function.function_name }
}

output "function_arns" {
  description = "ARN of each function, without a version, by function."
  value       = { for name, function in aws_lambda_function.this : name => function.arn }
}

output "function_alias_arns" {
  description = "ARN of each function's alias live, which everything invokes, by function."
  value       = { for name, alias in aws_lambda_alias.live : name => alias.arn }
}

output "role_arns" {
  description = "ARN of each role, by function. The key clip is the state machine's role, and mediaconvert is MediaConvert's."
  value = merge(
    { for name, role in aws_iam_role.function : name => role.arn },
    { clip = aws_iam_role.state_machine.arn, mediaconvert = aws_iam_role.mediaconvert.arn },
  )
}

output "log_group_names" {
  description = "Name of each log group, by function. The key clip is the state machine's log group."
  value = merge(
    { for name, group in aws_cloudwatch_log_group.function : name => group.name },
    { clip = aws_cloudwatch_log_group.state_machine.name },
  )
}

output "alarm_arns" {
  description = "ARN of each alarm, by the part of its name after the prefix. Empty without alarm_topic_arns."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.arn }
}

# Permissions for users of the deployment

output "producer_policy" {
  description = "IAM policy document, as JSON, for programs that send requests. It allows nothing else."
  value       = jsonencode(local.producer_policy)
}

output "operator_policy" {
  description = "IAM policy document, as JSON, for people who operate the deployment. It allows listing, showing, redriving, stopping and restarting executions, playing clips, listing, dropping and replaying dead letters, and uploading files under uploads/ of the source buckets."
  value       = jsonencode(local.operator_policy)
}
