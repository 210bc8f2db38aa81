variable "bucket_name" {
  description = "Name of the bucket."
  type        = string
}

variable "expiration_days" {
  description = "Days after which a payload is removed."
  type        = number
}

variable "require_tls" {
  description = "Whether requests without TLS are refused."
  type        = bool
}

variable "kms_key_arn" {
  description = "KMS key for encryption at rest; null for keys that S3 manages."
  type        = string
}

variable "tags" {
  description = "Tags on every resource."
  type        = map(string)
}
