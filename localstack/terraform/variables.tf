variable "endpoint" {
  description = "Where the emulator listens."
  type        = string
}

variable "account_id" {
  description = "The emulated account: its number is the access key too."
  type        = string
  default     = "123456789012"
}

variable "region" {
  description = "The emulated region."
  type        = string
  default     = "us-east-1"
}

variable "name" {
  description = "Prefix of every resource's name."
  type        = string
  default     = "icepress"
}

variable "scheduler_zip" {
  description = "Path of the scheduler's zip."
  type        = string
}

variable "optimizer_zip" {
  description = "Path of the optimizer's zip."
  type        = string
}

variable "cleaner_zip" {
  description = "Path of the cleaner's zip."
  type        = string
}

variable "architecture" {
  description = "This machine's kind of processor: arm64 or x86_64."
  type        = string
}

variable "table_locations" {
  description = "Where tables lie."
  type        = list(string)
  default     = ["lake/warehouse"]
}

variable "buckets" {
  description = "Number of buckets."
  type        = number
  default     = 2
}

variable "mode" {
  description = "Whether tables are worked on (maintain) or only observed, for all or by name."
  type        = any
  default     = "maintain"
}

variable "log_filter" {
  description = "What the functions log."
  type        = string
  default     = "info"
}

variable "extra_environment" {
  description = "More environment variables for both functions."
  type        = map(string)
  default     = {}
}
