output "environment" {
  description = "The functions' environment."
  value       = module.icepress.environment
  sensitive   = true
}

output "scheduler_function_name" {
  description = "Name of the scheduler function."
  value       = module.icepress.scheduler_function_name
}

output "optimizer_function_name" {
  description = "Name of the optimizer function."
  value       = module.icepress.optimizer_function_name
}

output "cleaner_function_name" {
  description = "Name of the cleaner function."
  value       = module.icepress.cleaner_function_name
}

output "queue_urls" {
  description = "URLs of the task queues, in bucket order."
  value       = module.icepress.queue_urls
}

output "dead_queue_urls" {
  description = "URLs of the dead-letter queues, in bucket order."
  value       = module.icepress.dead_queue_urls
}

output "state_table_name" {
  description = "Name of the state table."
  value       = module.icepress.state_table_name
}

output "lock_table_name" {
  description = "Name of the lock table."
  value       = module.icepress.lock_table_name
}
