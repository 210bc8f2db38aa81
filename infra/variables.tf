variable "name" {
  description = "Prefix of every resource's name."
  type        = string
  default     = "icepress"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.name))
    error_message = "name must be 2 to 24 lower-case letters, digits and hyphens, and begin with a letter (it is part of bucket, queue and role names)."
  }
}

variable "scheduler_zip" {
  description = "Path of the scheduler's zip: one file, `bootstrap`."
  type        = string
}

variable "optimizer_zip" {
  description = "Path of the optimizer's zip: one file, `bootstrap`."
  type        = string
}

variable "cleaner_zip" {
  description = "Path of the cleaner's zip: one file, `bootstrap`. null deploys no cleaner: then nobody may delete, and nothing expires by itself."
  type        = string
  default     = null
}

variable "cleaner_memory_mb" {
  description = "Memory of the cleaner in MB."
  type        = number
  default     = 1024
  nullable    = false
}

variable "cleaner_timeout_seconds" {
  description = "The longest that one run of the cleaner may take, in seconds; what is left over the next run does."
  type        = number
  default     = 900
  nullable    = false
}

variable "cleaner_maximum_concurrency" {
  description = "Cleaners at once."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.cleaner_maximum_concurrency >= 2
    error_message = "cleaner_maximum_concurrency must be 2 or more: Lambda lets no queue keep fewer runs busy."
  }
}

variable "mode" {
  description = "Whether tables are worked on by themselves (\"maintain\") or only seen, evaluated and priced (\"observe\"): for all tables as one word, or by name, with * and ? in it, as { default = \"observe\", catalog = { glue = \"observe\" }, database = { \"glue.sales\" = \"maintain\" }, table = { \"glue.marts.orders*\" = \"maintain\" } }. The nearest wins, and a table's property icepress.mode over all. A first deploy only observes: `icepress --deployed report` says what would be rewritten, for how much."
  type        = any
  default     = "observe"
  nullable    = false

  validation {
    condition = (
      can(tostring(var.mode)) ?
      contains(["observe", "maintain"], try(tostring(var.mode), "")) :
      try(length(setsubtract(keys(var.mode), ["default", "catalog", "database", "table"])) == 0 && alltrue(flatten([
        for scope, modes in var.mode : [
          can(tostring(modes)) == (scope == "default"),
          [for mode in try(values(modes), [modes]) : contains(["observe", "maintain"], mode)],
        ]
      ])), false)
    )
    error_message = "mode must be \"observe\" or \"maintain\", or such modes by name, as in { default = \"observe\", table = { \"glue.sales.*\" = \"maintain\" } } with the scopes catalog, database and table."
  }
}

variable "maintain" {
  description = "Which upkeep is done by itself beside rewrites, for all tables, or for those of a catalog or database, as { expire = true } or { catalog = { glue = { expire = true } }, database = { \"glue.sales\" = { expire = false } } }. Kinds are tags, age-out, expire, manifests, statistics and orphans (every orphans-every, as in \"7d\"; told by the S3 Inventory at orphans-inventory instead of listings; with orphans-quarantine tagged before they go); expire and orphans need cleaner_zip. A table's property icepress.maintain.KIND wins."
  type        = any
  default     = null

  validation {
    condition     = var.maintain == null || try(length(setsubtract(keys(var.maintain), ["catalog", "database", "age-out", "expire", "manifests", "orphans", "orphans-every", "orphans-inventory", "orphans-quarantine", "statistics", "tags"])) == 0, false)
    error_message = "maintain has the settings tags, age-out, expire, manifests, statistics, orphans, orphans-every, orphans-inventory and orphans-quarantine, and the scopes catalog and database, as in { catalog = { glue = { expire = true } } }."
  }
}

variable "table_locations" {
  description = "Where the tables lie in S3, each as BUCKET or BUCKET/PREFIX. The functions may read and write under these and nowhere else. [\"*\"] is every bucket: for accounts that hold nothing but tables, and for emulators."
  type        = list(string)

  validation {
    condition     = length(var.table_locations) > 0
    error_message = "table_locations must name at least one BUCKET or BUCKET/PREFIX."
  }

  validation {
    condition     = alltrue([for location in var.table_locations : location == "*" || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^*?]*)?$", location))])
    error_message = "each of table_locations must look like my-bucket or my-bucket/warehouse, without s3:// and without * or ?, or be * alone for every bucket."
  }
}

variable "catalogs" {
  description = "Iceberg catalogs by name, each with its Iceberg catalog properties. A secret is better named than written: secret:ARN (or secret:ARN#FIELD) and ssm:NAME are read by the functions at their start; list them in secret_arns and parameter_arns."
  type        = map(map(string))
  sensitive   = true
  default     = { glue = { type = "glue" } }

  validation {
    condition     = length(var.catalogs) > 0 && alltrue([for properties in values(var.catalogs) : contains(keys(properties), "type")])
    error_message = "catalogs must hold at least one catalog, and each must say its type, as in { glue = { type = \"glue\" } }."
  }

  validation {
    condition     = length(jsonencode(var.catalogs)) <= 2500
    error_message = "catalogs must fit the 4 KB that Lambda allows for a function's whole environment."
  }
}

variable "limits" {
  description = "Quotas, maintenance windows and priorities, as { catalog = { glue = { max-dollars-a-month = 100 } }, database = { \"glue.sales\" = { … } }, table = { … } }."
  type        = any
  default     = null

  validation {
    condition     = var.limits == null || try(length(setsubtract(keys(var.limits), ["catalog", "database", "table"])) == 0, false)
    error_message = "limits are set for scopes of the kinds catalog, database and table, as in { catalog = { glue = { max-dollars-a-month = 100 } } }."
  }
}

variable "plan" {
  description = "How tables are planned whose properties do not say: names of the table properties without `icepress.`, for all tables, or for those of a catalog or database, as { min-input-files = 10, catalog = { glue = { target-file-size-bytes = 268435456 } }, database = { \"glue.sales\" = { … } } }."
  type        = any
  default     = null

  validation {
    condition = var.plan == null || try(length(setsubtract(keys(var.plan), [
      "catalog", "database", "enabled", "target-file-size-bytes", "min-input-files", "delete-ratio-threshold",
      "delete-file-threshold", "light-rewrites", "max-group-bytes", "max-group-files", "max-plan-bytes",
      "max-plan-files", "max-plan-groups", "verify-rows", "merge-pages",
    ])) == 0, false)
    error_message = "plan has settings by the names of the table properties without `icepress.`, and the scopes catalog and database, as in { catalog = { glue = { min-input-files = 10 } } }."
  }
}

variable "catalog_table_arns" {
  description = "DynamoDB tables that are Iceberg catalogs (type dynamodb), which the functions may read and whose rows they may move."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "secret_arns" {
  description = "Secrets of Secrets Manager that catalogs name as secret:ARN, which the functions may read."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_arns : can(regex("^arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:[^*]+$", arn))])
    error_message = "secret_arns must name secrets one by one, as arn:aws:secretsmanager:eu-west-1:123456789012:secret:lake-AbCdEf."
  }
}

variable "parameter_arns" {
  description = "Parameters of Systems Manager that catalogs name as ssm:NAME, which the functions may read."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.parameter_arns : can(regex("^arn:[^:]+:ssm:[^:]+:[0-9]{12}:parameter/[^*]+$", arn))])
    error_message = "parameter_arns must name parameters one by one, as arn:aws:ssm:eu-west-1:123456789012:parameter/prod/catalog/token."
  }
}

variable "secret_kms_key_arns" {
  description = "KMS keys of one's own that those secrets and parameters are encrypted with; none for the account's keys."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "assumed_role_arns" {
  description = "Roles, of other accounts mostly, that catalogs name with client.assume-role.arn. Each has to trust the functions' roles."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.assumed_role_arns : can(regex("^arn:[^:]+:iam::[0-9]{12}:role/[^*]+$", arn))])
    error_message = "assumed_role_arns must name roles one by one, as arn:aws:iam::123456789012:role/icepress."
  }
}

variable "glue_databases" {
  description = "Glue databases whose tables may be read and updated; [\"*\"] for all."
  type        = list(string)
  default     = ["*"]

  validation {
    condition     = length(var.glue_databases) > 0
    error_message = "glue_databases must name at least one database, or be [\"*\"]."
  }
}

variable "commit_lock" {
  description = "Whether commits also take a lock in DynamoDB, in the layout of Iceberg's Java DynamoDbLockManager. Needed where Spark or Flink writers use that lock manager; harmless elsewhere."
  type        = bool
  default     = true
}

variable "existing_lock_table_name" {
  description = "The lock table that other writers use already; null creates one."
  type        = string
  default     = null
}

variable "buckets" {
  description = "Queues, one for each bucket that tables are shared out over; a new state table is laid out with as many buckets. To change the number of a table in use: raise it here before, lower it here after icepress buckets resize (README). An idle queue costs about .10 to .26 USD a month."
  type        = number
  default     = 4

  validation {
    condition     = var.buckets >= 1 && var.buckets <= 256 && floor(var.buckets) == var.buckets
    error_message = "buckets must be a whole number from 1 to 256."
  }
}

variable "schedule_expression" {
  description = "When the scheduler runs, in EventBridge Scheduler's words."
  type        = string
  default     = "rate(5 minutes)"

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.schedule_expression))
    error_message = "schedule_expression must be rate(...) or cron(...), as in rate(5 minutes)."
  }
}

variable "schedule_enabled" {
  description = "Whether the schedule ticks; false pauses Icepress."
  type        = bool
  default     = true
}

variable "architecture" {
  description = "Kind of processor the zips are built for: arm64 or x86_64."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "scheduler_memory_mb" {
  description = "Memory of the scheduler in MB."
  type        = number
  default     = 512

  validation {
    condition     = var.scheduler_memory_mb >= 128 && var.scheduler_memory_mb <= 10240
    error_message = "scheduler_memory_mb must be from 128 to 10240."
  }
}

variable "optimizer_memory_mb" {
  description = "Memory of the optimizer in MB; 3538 are two vCPUs, which balance a rewrite against Lambda's network."
  type        = number
  default     = 3538

  validation {
    condition     = var.optimizer_memory_mb >= 512 && var.optimizer_memory_mb <= 10240
    error_message = "optimizer_memory_mb must be from 512 to 10240."
  }
}

variable "scheduler_timeout_seconds" {
  description = "Seconds a run of the scheduler may take."
  type        = number
  default     = 300

  validation {
    condition     = var.scheduler_timeout_seconds >= 30 && var.scheduler_timeout_seconds <= 900
    error_message = "scheduler_timeout_seconds must be from 30 to 900."
  }
}

variable "optimizer_timeout_seconds" {
  description = "Seconds a run of the optimizer may take."
  type        = number
  default     = 900

  validation {
    condition     = var.optimizer_timeout_seconds >= 60 && var.optimizer_timeout_seconds <= 900
    error_message = "optimizer_timeout_seconds must be from 60 to 900."
  }
}

variable "visibility_timeout_seconds" {
  description = "Seconds a message stays hidden while an optimizer works on it; null for six times the optimizer's timeout, as AWS advises."
  type        = number
  default     = null

  validation {
    condition     = var.visibility_timeout_seconds == null ? true : var.visibility_timeout_seconds >= 60 && var.visibility_timeout_seconds <= 43200
    error_message = "visibility_timeout_seconds must be from 60 to 43200, or null."
  }
}

variable "max_receive_count" {
  description = "Receives after which a message that no optimizer could answer goes to its dead-letter queue. Deliveries that Lambda throttles count, so AWS advises 5 at the least."
  type        = number
  default     = 5

  validation {
    condition     = var.max_receive_count >= 5 && var.max_receive_count <= 1000 && floor(var.max_receive_count) == var.max_receive_count
    error_message = "max_receive_count must be a whole number from 5 to 1000."
  }
}

variable "scheduler_reserved_concurrency" {
  description = "Runs reserved for the scheduler out of the account's limit, and the most that it may have at once; -1 reserves nothing (a new account, with a limit of 10, can reserve nothing). Any number is correct: each bucket has one owner at a time."
  type        = number
  default     = -1

  validation {
    condition     = var.scheduler_reserved_concurrency == -1 || var.scheduler_reserved_concurrency >= 1
    error_message = "scheduler_reserved_concurrency must be -1 (nothing reserved) or at least 1; to pause Icepress set schedule_enabled = false."
  }
}

variable "scheduler_maximum_concurrency" {
  description = "Schedulers that work at once on what a tick hands out: 100,000 tables want 8 or more."
  type        = number
  default     = 2

  validation {
    condition     = var.scheduler_maximum_concurrency >= 2 && var.scheduler_maximum_concurrency <= 1000
    error_message = "scheduler_maximum_concurrency must be from 2 to 1000 (Lambda's own bounds)."
  }
}

variable "optimizer_maximum_concurrency" {
  description = "Optimizers that all queues together may keep busy at once; each queue gets an equal share. 8, with 2 schedulers, are the 10 runs at once that a new account allows."
  type        = number
  default     = 8

  validation {
    condition     = var.optimizer_maximum_concurrency >= 2 && var.optimizer_maximum_concurrency <= 10000
    error_message = "optimizer_maximum_concurrency must be from 2 to 10000, and at least twice buckets."
  }
}

variable "optimizer_reserved_concurrency" {
  description = "Runs reserved for the optimizer out of the account's limit, and the most that it may have at once; -1 reserves nothing. Set it no lower than optimizer_maximum_concurrency: deliveries beyond it are throttled, and count as receives."
  type        = number
  default     = -1

  validation {
    condition     = var.optimizer_reserved_concurrency == -1 || var.optimizer_reserved_concurrency >= 1
    error_message = "optimizer_reserved_concurrency must be -1 (nothing reserved) or at least 1."
  }
}

variable "payload_bucket_name" {
  description = "Name of the bucket for plans and results over 64 KiB, which this module creates; null for NAME-payload-ACCOUNT-REGION."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether DynamoDB refuses to delete the tables. Set to false, and apply, before a destroy."
  type        = bool
  default     = true
}

variable "require_tls" {
  description = "Whether the payload bucket refuses requests without TLS; false only for emulators."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "KMS key for Icepress's own tables, queues and payload bucket; null for the keys that AWS manages."
  type        = string
  default     = null
}

variable "table_kms_key_arns" {
  description = "KMS keys that the tables' objects are encrypted with, if any."
  type        = list(string)
  default     = []
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary for the three roles; null for none."
  type        = string
  default     = null
}

variable "alarms" {
  description = "Whether to create alarms, one for each promise of runbooks.md: a deployment of four buckets has about twenty."
  type        = bool
  default     = true
}

variable "alarm_topic_arn" {
  description = "SNS topic that hears of alarms; null for none."
  type        = string
  default     = null
}

variable "alarm_too_old_hours" {
  description = "Hours after which an alarm tells that a table has been due, or a process queued, running or waiting for its commit, for too long."
  type = object({
    due        = optional(number, 2)
    queued     = optional(number, 6)
    running    = optional(number, 24)
    committing = optional(number, 3)
  })
  default = {}

  validation {
    condition     = alltrue([for hours in values(var.alarm_too_old_hours) : hours > 0])
    error_message = "alarm_too_old_hours must be hours above 0, as in { due = 2, queued = 6, running = 24, committing = 3 }."
  }
}

variable "alarm_daily_dollars" {
  description = "Dollars that rewrites may cost a day before an alarm tells; null for no such alarm. Quotas in `limits` are what stops them."
  type        = number
  default     = null

  validation {
    condition     = var.alarm_daily_dollars == null ? true : var.alarm_daily_dollars > 0
    error_message = "alarm_daily_dollars must be above 0, or null."
  }
}

variable "dashboard" {
  description = "Whether to create a dashboard of all metrics. An account's first three cost nothing, each further one $3 a month."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be one of the periods that CloudWatch Logs knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, …"
  }
}

variable "log_filter" {
  description = "What the functions log, in the words of Rust's tracing filters."
  type        = string
  default     = "info"
}

variable "extra_environment" {
  description = "More environment variables for the functions, such as AWS_ENDPOINT_URL_S3."
  type        = map(string)
  sensitive   = true
  default     = {}
}

variable "tags" {
  description = "Tags on every resource."
  type        = map(string)
  default     = {}
}
