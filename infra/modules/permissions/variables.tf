variable "state_table_arn" {
  description = "ARN of the state table."
  type        = string
}

variable "lock_table_arn" {
  description = "ARN of the lock table."
  type        = string
}

variable "queue_arns" {
  description = "ARNs of the task queues."
  type        = list(string)
}

variable "dead_queue_arns" {
  description = "ARNs of the task queues' dead-letter queues."
  type        = list(string)
}

variable "errands_queue_arn" {
  description = "ARN of the queue of what a tick hands out."
  type        = string
}

variable "cleaner_queue_arns" {
  description = "ARN of the cleaner's queue, where there is one."
  type        = list(string)
  default     = []
}

variable "payload_bucket_arn" {
  description = "ARN of the payload bucket."
  type        = string
}

variable "table_locations" {
  description = "Where tables lie, each as BUCKET or BUCKET/PREFIX."
  type        = list(string)
}

variable "glue_databases" {
  description = "Glue databases that may be read and whose tables may be updated; * for all."
  type        = list(string)
}

variable "table_bucket_arns" {
  description = "S3 table buckets whose tables may be read and written."
  type        = list(string)
  default     = []
}

variable "catalog_table_arns" {
  description = "DynamoDB tables that are Iceberg catalogs (type dynamodb)."
  type        = list(string)
  default     = []
}

variable "assumed_role_arns" {
  description = "Roles that catalogs name with client.assume-role.arn."
  type        = list(string)
  default     = []
}

variable "secret_arns" {
  description = "Secrets that catalogs name as secret:ARN."
  type        = list(string)
  default     = []
}

variable "parameter_arns" {
  description = "Parameters that catalogs name as ssm:NAME."
  type        = list(string)
  default     = []
}

variable "secret_kms_key_arns" {
  description = "KMS keys of one's own that secrets and parameters are encrypted with."
  type        = list(string)
  default     = []
}

variable "write_extras" {
  description = "Actions besides s3:PutObject that writing a table's object takes: s3:PutObjectTagging, s3:PutObjectAcl."
  type        = list(string)
  default     = []
}

variable "inventory_locations" {
  description = "Where S3 writes inventories that the cleaner goes by, each as BUCKET/PREFIX."
  type        = list(string)
  default     = []
}

variable "marks_orphans" {
  description = "Whether the cleaner tags objects before it deletes them."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "KMS key of Icepress's own stores; null for none."
  type        = string
}

variable "table_kms_key_arns" {
  description = "KMS keys that the tables' objects are encrypted with."
  type        = list(string)
}
