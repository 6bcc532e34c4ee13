# The command finds the deployment through these outputs: clipflow --terraform .

output "state_machine_arn" {
  description = "ARN of the state machine."
  value       = module.clipflow.state_machine_arn
}

output "queue_url" {
  description = "URL of the request queue."
  value       = module.clipflow.queue_url
}

output "dead_letter_queue_url" {
  description = "URL of the queue for requests that start could not process."
  value       = module.clipflow.dead_letter_queue_url
}

output "event_queue_urls" {
  description = "URL of each function's event queue, by function."
  value       = module.clipflow.event_queue_urls
}

output "event_dead_letter_queue_urls" {
  description = "URL of each function's queue for events that it could not process, by function."
  value       = module.clipflow.event_dead_letter_queue_urls
}

output "source_buckets" {
  description = "Names of the buckets that sources may be in."
  value       = module.clipflow.source_buckets
}

output "outcomes_queue_url" {
  description = "URL of the queue that receives the outcomes."
  value       = aws_sqs_queue.outcomes.url
}
