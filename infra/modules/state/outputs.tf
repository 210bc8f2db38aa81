output "state_table_name" {
  description = "Name of the state table."
  value       = aws_dynamodb_table.state.name
}

output "state_table_arn" {
  description = "ARN of the state table."
  value       = aws_dynamodb_table.state.arn
}

output "lock_table_name" {
  description = "Name of the lock table."
  value       = var.create_lock_table ? aws_dynamodb_table.lock[0].name : data.aws_dynamodb_table.lock[0].name
}

output "lock_table_arn" {
  description = "ARN of the lock table."
  value       = var.create_lock_table ? aws_dynamodb_table.lock[0].arn : data.aws_dynamodb_table.lock[0].arn
}
