output "schedule_name" {
  description = "Name of the schedule."
  value       = aws_scheduler_schedule.this.name
}

output "schedule_group_name" {
  description = "Name of the schedule's group."
  value       = aws_scheduler_schedule_group.this.name
}

output "role_arn" {
  description = "ARN of the role that EventBridge Scheduler takes."
  value       = aws_iam_role.this.arn
}
