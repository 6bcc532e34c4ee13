output "name_prefix" {
  description = "Start of every resource's name."
  value       = var.name_prefix
}

output "region" {
  description = "The region that the deployment is in."
  value       = local.region
}

output "queue_url" {
  description = "URL of the queue that requests are sent to."
  value       = aws_sqs_queue.requests.url
}

output "dead_letter_queue_url" {
  description = "URL of the queue that holds requests which start could not deal with."
  value       = aws_sqs_queue.dead_letters.url
}

output "event_queue_urls" {
  description = "By function, URL of the queue that its events wait in."
  value       = { for name, queue in aws_sqs_queue.events : name => queue.url }
}

output "event_dead_letter_queue_urls" {
  description = "By function, URL of the queue that holds the events which it could not deal with."
  value       = { for name, queue in aws_sqs_queue.event_dead_letters : name => queue.url }
}

output "state_machine_arn" {
  description = "ARN of the state machine."
  value       = aws_sfn_state_machine.clip.arn
}

output "topic_arn" {
  description = "ARN of the topic that outcomes are published to."
  value       = aws_sns_topic.outcomes.arn
}

output "bucket" {
  description = "Name of the bucket that clips are written to."
  value       = aws_s3_bucket.clips.id
}

output "source_buckets" {
  description = "Names of the buckets that sources may lie in."
  value       = sort(var.source_buckets)
}

output "mongodb_database" {
  description = "Name of the MongoDB database."
  value       = var.mongodb_database
}

output "function_names" {
  description = "Deployed name of each function."
  value       = { for name, function in aws_lambda_function.this : name => function.function_name }
}

output "log_group_names" {
  description = "Name of each function's log group, and under clip the state machine's."
  value = merge(
    { for name, group in aws_cloudwatch_log_group.function : name => group.name },
    { clip = aws_cloudwatch_log_group.state_machine.name },
  )
}
