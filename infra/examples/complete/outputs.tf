output "environment" {
  description = "What `icepress` on another host needs to work on the same state."
  value       = module.icepress.environment
  sensitive   = true
}

output "dead_queue_urls" {
  description = "Where tasks end that failed for good."
  value       = module.icepress.dead_queue_urls
}
