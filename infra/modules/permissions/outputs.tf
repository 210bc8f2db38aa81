output "scheduler_policy_json" {
  description = "Policy of the scheduler's role."
  value       = data.aws_iam_policy_document.scheduler.json
}

output "optimizer_policy_json" {
  description = "Policy of the optimizer's role."
  value       = data.aws_iam_policy_document.optimizer.json
}

output "cleaner_policy_json" {
  description = "Policy of the cleaner's role."
  value       = data.aws_iam_policy_document.cleaner.json
}
