output "scheduler_function_name" {
  description = "Name of the scheduler function."
  value       = module.scheduler.function_name
}

output "optimizer_function_name" {
  description = "Name of the optimizer function."
  value       = module.optimizer.function_name
}

output "scheduler_role_arn" {
  description = "ARN of the scheduler's role, for key policies and Lake Formation grants."
  value       = module.scheduler.role_arn
}

output "optimizer_role_arn" {
  description = "ARN of the optimizer's role, for key policies and Lake Formation grants."
  value       = module.optimizer.role_arn
}

output "cleaner_function_name" {
  description = "Name of the cleaner function; null where there is none."
  value       = one(module.cleaner[*].function_name)
}

output "cleaner_role_arn" {
  description = "ARN of the cleaner's role, for key policies and Lake Formation grants; null where there is none."
  value       = one(module.cleaner[*].role_arn)
}

output "state_table_name" {
  description = "Name of the state table."
  value       = module.state.state_table_name
}

output "lock_table_name" {
  description = "Name of the lock table, for the `lock.table` property of Java writers."
  value       = module.state.lock_table_name
}

output "queue_urls" {
  description = "URLs of the task queues, in bucket order."
  value       = module.queues.queue_urls
}

output "queue_url_template" {
  description = "The task queues' URL with {bucket} in place of the bucket's number."
  value       = module.queues.queue_url_template
}

output "dead_queue_urls" {
  description = "URLs of the dead-letter queues, in bucket order."
  value       = module.queues.dead_queue_urls
}

output "payload_location" {
  description = "Where plans and results over 64 KiB go."
  value       = module.payload.location
}

output "schedule_name" {
  description = "Name of the schedule; its group has the same name."
  value       = module.schedule.schedule_name
}

output "environment" {
  description = "The functions' environment, for running the same code elsewhere on the same state."
  value       = merge(local.environment, var.extra_environment)
  sensitive   = true
}
