variable "name" {
  description = "Name of the schedule and of its group."
  type        = string
}

variable "schedule_expression" {
  description = "When to tick, in EventBridge Scheduler's words: rate(5 minutes)."
  type        = string
}

variable "enabled" {
  description = "Whether the schedule ticks."
  type        = bool
}

variable "function_name" {
  description = "Name of the scheduler function."
  type        = string
}

variable "function_arn" {
  description = "ARN of the scheduler function."
  type        = string
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the role; null for none."
  type        = string
}

variable "tags" {
  description = "Tags on every resource."
  type        = map(string)
}
