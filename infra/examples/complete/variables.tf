variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "scheduler_zip" {
  description = "Path of the scheduler's zip."
  type        = string
}

variable "optimizer_zip" {
  description = "Path of the optimizer's zip."
  type        = string
}

variable "lock_table_name" {
  description = "The lock table that Spark and Flink use already (`lock.table`)."
  type        = string
}

variable "table_kms_key_arns" {
  description = "KMS keys that the tables' objects are encrypted with."
  type        = list(string)
  default     = []
}

variable "alarm_mail" {
  description = "Where alarms go."
  type        = string
}
