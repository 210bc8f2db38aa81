output "queue_arns" {
  description = "ARNs of the task queues, in bucket order."
  value       = aws_sqs_queue.tasks[*].arn
}

output "queue_urls" {
  description = "URLs of the task queues, in bucket order."
  value       = aws_sqs_queue.tasks[*].url
}

output "queue_url_template" {
  description = "The queues' URL with {bucket} in place of the bucket's number."
  value       = replace(aws_sqs_queue.tasks[0].url, "/-0$/", "-{bucket}")
}

output "dead_queue_names" {
  description = "Names of the dead-letter queues, in bucket order."
  value       = aws_sqs_queue.dead[*].name
}

output "dead_queue_urls" {
  description = "URLs of the dead-letter queues, in bucket order."
  value       = aws_sqs_queue.dead[*].url
}

output "dead_queue_arns" {
  description = "ARNs of the dead-letter queues, in bucket order."
  value       = aws_sqs_queue.dead[*].arn
}

output "errands_queue_arn" {
  description = "ARN of the queue of what a tick hands out."
  value       = aws_sqs_queue.errands.arn
}

output "errands_queue_url" {
  description = "URL of the queue of what a tick hands out."
  value       = aws_sqs_queue.errands.url
}

output "cleaner_queue_arns" {
  description = "ARN of the cleaner's queue, where there is one."
  value       = aws_sqs_queue.cleaner[*].arn
}

output "cleaner_queue_url" {
  description = "URL of the cleaner's queue; null where there is none."
  value       = one(aws_sqs_queue.cleaner[*].url)
}

output "cleaner_dead_queue_names" {
  description = "Name of the cleaner's dead-letter queue, where there is one."
  value       = aws_sqs_queue.cleaner_dead[*].name
}

output "cleaner_dead_queue_urls" {
  description = "URL of the cleaner's dead-letter queue, where there is one."
  value       = aws_sqs_queue.cleaner_dead[*].url
}
