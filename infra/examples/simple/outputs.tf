output "scheduler_function_name" {
  description = "Name of the scheduler function, for `aws logs tail /aws/lambda/NAME`."
  value       = module.icepress.scheduler_function_name
}
