variable "name" {
  description = "Prefix of the queues' names: NAME-tasks-0, NAME-tasks-1, …"
  type        = string
}

variable "buckets" {
  description = "Number of buckets, and so of queues."
  type        = number
}

variable "visibility_timeout_seconds" {
  description = "Seconds a message stays hidden while an optimizer works on it."
  type        = number
}

variable "max_receive_count" {
  description = "Receives after which a message goes to its dead-letter queue."
  type        = number
}

variable "retention_seconds" {
  description = "Seconds a task message is kept."
  type        = number
}

variable "dead_retention_seconds" {
  description = "Seconds a dead letter is kept."
  type        = number
}

variable "errand_visibility_seconds" {
  description = "Seconds an errand stays hidden while a scheduler works on it."
  type        = number
}

variable "cleaner" {
  description = "Whether there is a cleaner, and so a queue for it."
  type        = bool
  default     = false
}

variable "cleaner_visibility_seconds" {
  description = "Seconds a message stays hidden while a cleaner works on it."
  type        = number
  default     = 5400
}

variable "kms_key_arn" {
  description = "KMS key for encryption at rest; null for the key that SQS manages."
  type        = string
}

variable "tags" {
  description = "Tags on every resource."
  type        = map(string)
}
