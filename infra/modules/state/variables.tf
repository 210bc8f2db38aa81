variable "state_table_name" {
  description = "Name of the DynamoDB table that holds leases, table state, processes and tasks."
  type        = string
}

variable "lock_table_name" {
  description = "Name of the DynamoDB table that holds commit locks."
  type        = string
}

variable "create_lock_table" {
  description = "Whether to create the lock table (true) or to use one that exists already (false)."
  type        = bool
}

variable "deletion_protection" {
  description = "Whether DynamoDB refuses to delete the tables."
  type        = bool
}

variable "kms_key_arn" {
  description = "KMS key for encryption at rest; null for the key that AWS manages."
  type        = string
}

variable "tags" {
  description = "Tags on every resource."
  type        = map(string)
}
