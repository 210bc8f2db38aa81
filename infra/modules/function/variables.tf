variable "name" {
  description = "Name of the function, of its role and, after /aws/lambda/, of its log group."
  type        = string
}

variable "description" {
  description = "What the function is for, in one sentence."
  type        = string
}

variable "zip_path" {
  description = "Path of the zip that holds the one file `bootstrap`."
  type        = string
}

variable "architecture" {
  description = "Kind of processor the bootstrap is built for: arm64 or x86_64."
  type        = string
}

variable "memory_mb" {
  description = "Memory in MB; CPU grows with it (1,769 MB are one vCPU)."
  type        = number
}

variable "timeout_seconds" {
  description = "Seconds after which Lambda ends the function."
  type        = number
}

variable "reserved_concurrency" {
  description = "Most runs at once, reserved from the account's limit; -1 reserves nothing."
  type        = number
}

variable "environment" {
  description = "The function's environment."
  type        = map(string)
}

variable "policy_json" {
  description = "The policy of the function's role, without its logs."
  type        = string
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the role; null for none."
  type        = string
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
}

variable "tags" {
  description = "Tags on every resource."
  type        = map(string)
}
