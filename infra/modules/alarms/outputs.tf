output "dead_letter_alarm_arns" {
  description = "ARNs of the dead-letter alarms, in bucket order."
  value       = aws_cloudwatch_metric_alarm.dead_letters[*].arn
}

output "scheduler_error_alarm_arn" {
  description = "ARN of the alarm on the scheduler's errors."
  value       = aws_cloudwatch_metric_alarm.promise["scheduler-errors"].arn
}

output "failed_tasks_alarm_arn" {
  description = "ARN of the alarm on tasks that failed for good."
  value       = aws_cloudwatch_metric_alarm.promise["failed-tasks"].arn
}

output "repeats_alarm_arn" {
  description = "ARN of the alarm on plans that would do again what the last run did."
  value       = aws_cloudwatch_metric_alarm.promise["repeats"].arn
}

output "promise_alarm_arns" {
  description = "ARNs of the alarms on promises, by their names without the deployment's."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.promise : name => alarm.arn }
}
