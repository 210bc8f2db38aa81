variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "warehouse_bucket" {
  description = "Bucket that holds the tables."
  type        = string
}

variable "scheduler_zip" {
  description = "Path of the scheduler's zip."
  type        = string
}

variable "optimizer_zip" {
  description = "Path of the optimizer's zip."
  type        = string
}
