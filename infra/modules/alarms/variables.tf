variable "name" {
  description = "Prefix of the alarms' names."
  type        = string
}

variable "dead_queue_names" {
  description = "Names of the dead-letter queues, in bucket order."
  type        = list(string)
}

variable "scheduler_function_name" {
  description = "Name of the scheduler function."
  type        = string
}

variable "optimizer_log_group_name" {
  description = "Name of the optimizer's log group, in which it says which tasks failed for good."
  type        = string
}

variable "scheduler_log_group_name" {
  description = "Name of the scheduler's log group, in which it says which tables' plans would repeat themselves."
  type        = string
}

variable "cleaner_dead_queue_names" {
  description = "Name of the cleaner's dead-letter queue, where there is one."
  type        = list(string)
  default     = []
}

variable "cleaner_log_group_names" {
  description = "Name of the cleaner's log group, where there is one."
  type        = list(string)
  default     = []
}

variable "scheduler_error_period_seconds" {
  description = "Seconds over which the scheduler's errors are summed."
  type        = number
  default     = 900
}

variable "scheduler_error_periods" {
  description = "Periods with errors, one after another, that raise the alarm."
  type        = number
  default     = 2
}

variable "topic_arn" {
  description = "SNS topic that hears of alarms; null for none."
  type        = string
}

variable "tags" {
  description = "Tags on every resource."
  type        = map(string)
}
