output "bucket_name" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.payload.id
}

output "bucket_arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.payload.arn
}

output "location" {
  description = "Where payloads go, as an s3:// address."
  value       = "s3://${aws_s3_bucket.payload.id}/payload"
}
