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

variable "functions" {
  description = "The functions whose runs are watched, by what they are: their names, and after how many seconds Lambda ends them."
  type = map(object({
    name            = string
    timeout_seconds = number
  }))
}

variable "schedule_enabled" {
  description = "Whether the scheduler is woken: else nobody is told that nothing is swept."
  type        = bool
}

variable "schedule_period_seconds" {
  description = "Seconds in which the scheduler is woken at least once: a multiple of 60, and half a day at the most."
  type        = number
}

variable "too_old_hours" {
  description = "Hours after which a table that is due, and a process at each of its stages, is too old."
  type = object({
    due        = number
    queued     = number
    running    = number
    committing = number
  })
}

variable "daily_dollars" {
  description = "Dollars that rewrites may cost a day before somebody hears of it; null for no such alarm."
  type        = number
}

variable "cleaner_dead_queue_names" {
  description = "Name of the cleaner's dead-letter queue, where there is one."
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
