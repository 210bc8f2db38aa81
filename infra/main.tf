# Icepress on AWS: DynamoDB remembers, SQS carries the work, two Lambda functions do it, a third one deletes, EventBridge Scheduler ticks.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  # Six times the function's time-out, as AWS advises: deliveries that Lambda throttles count as receives, and must not use them
  # up. A crash is not hidden for as long: the scheduler sees the claim run out, and sends another message.
  visibility_timeout = coalesce(var.visibility_timeout_seconds, 6 * var.optimizer_timeout_seconds)

  # What each queue may keep busy, so that all of them together stay below the cap.
  concurrency_of_queue = floor(var.optimizer_maximum_concurrency / var.buckets)

  payload_bucket = coalesce(
    var.payload_bucket_name,
    "${var.name}-payload-${data.aws_caller_identity.current.account_id}-${data.aws_region.current.id}",
  )

  lock_properties = var.commit_lock ? {
    "lock-impl"  = "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager"
    "lock.table" = module.state.lock_table_name
  } : {}

  # What a catalog says itself wins over what is added here.
  catalogs = { for name, properties in var.catalogs : name => merge(local.lock_properties, properties) }

  # A catalog on S3 Tables says its table bucket itself. Neither that nor the names of properties are secrets.
  table_bucket_arns = nonsensitive(distinct([
    for properties in values(local.catalogs) : properties.warehouse
    if can(regex("^arn:[^:]+:s3tables:", lookup(properties, "warehouse", "")))
  ]))

  catalog_keys = nonsensitive(toset(flatten([for properties in values(local.catalogs) : keys(properties)])))

  # What a PutObject that carries tags or an access list asks for besides.
  write_extras = concat(
    anytrue([for key in local.catalog_keys : startswith(key, "s3.write.tags.")]) ? ["s3:PutObjectTagging"] : [],
    contains(local.catalog_keys, "s3.acl") ? ["s3:PutObjectAcl"] : [],
  )

  # Nobody else is told where its queue is, where there is none.
  cleaner = var.cleaner_zip == null ? {} : { ICEPRESS_CLEANER_URL = module.queues.cleaner_queue_url }

  environment = merge(local.limits, local.plan, local.maintain, local.cleaner, {
    # Whoever plans makes no larger groups than an optimizer gets through.
    ICEPRESS_OPTIMIZER_MEMORY_MB = tostring(var.optimizer_memory_mb)
    ICEPRESS_OPTIMIZER_SECONDS   = tostring(var.optimizer_timeout_seconds)

    # One word for all tables, or modes by name.
    ICEPRESS_MODE = try(tostring(var.mode), jsonencode(var.mode))

    ICEPRESS_STATE_TABLE        = module.state.state_table_name
    ICEPRESS_BUCKETS            = tostring(var.buckets)
    ICEPRESS_QUEUE_URL_TEMPLATE = module.queues.queue_url_template
    ICEPRESS_ERRANDS_URL        = module.queues.errands_queue_url
    ICEPRESS_PAYLOAD_LOCATION   = module.payload.location
    ICEPRESS_CATALOGS           = jsonencode(local.catalogs)
    RUST_LOG                    = var.log_filter

    # The name under which metrics are told.
    ICEPRESS_DEPLOYMENT = var.name
  })

  functions = merge(
    {
      scheduler = { name = module.scheduler.function_name, timeout_seconds = var.scheduler_timeout_seconds }
      optimizer = { name = module.optimizer.function_name, timeout_seconds = var.optimizer_timeout_seconds }
    },
    var.cleaner_zip == null ? {} : {
      cleaner = { name = module.cleaner[0].function_name, timeout_seconds = var.cleaner_timeout_seconds }
    },
  )

  # What an expression of cron comes to nobody reckons here: each hour, which is often enough to notice that nothing happens.
  rate            = try(regex("^rate\\((\\d+) (minute|hour|day)s?\\)$", var.schedule_expression), ["1", "hour"])
  schedule_rate   = tonumber(local.rate[0]) * { minute = 60, hour = 3600, day = 86400 }[local.rate[1]]
  schedule_period = min(max(local.schedule_rate, 300), 43200)

  limits = var.limits == null ? {} : { ICEPRESS_LIMITS = jsonencode(var.limits) }
  plan   = var.plan == null ? {} : { ICEPRESS_PLAN = jsonencode(var.plan) }

  maintain = var.maintain == null ? {} : { ICEPRESS_MAINTAIN = jsonencode(var.maintain) }

  # What is said for all tables, for catalogs and for databases.
  maintain_parts = concat([var.maintain], values(try(var.maintain.catalog, {})), values(try(var.maintain.database, {})))

  inventory_locations = distinct([
    for part in local.maintain_parts : trimsuffix(trimprefix(part["orphans-inventory"], "s3://"), "/")
    if try(startswith(part["orphans-inventory"], "s3://"), false)
  ])

  marks_orphans = anytrue([for part in local.maintain_parts : try(tobool(part["orphans-quarantine"]), false)])
}

module "state" {
  source = "./modules/state"

  state_table_name    = "${var.name}-state"
  lock_table_name     = coalesce(var.existing_lock_table_name, "${var.name}-locks")
  create_lock_table   = var.existing_lock_table_name == null
  deletion_protection = var.deletion_protection
  kms_key_arn         = var.kms_key_arn
  tags                = var.tags
}

module "queues" {
  source = "./modules/queues"

  name                       = var.name
  buckets                    = var.buckets
  visibility_timeout_seconds = local.visibility_timeout
  max_receive_count          = var.max_receive_count
  retention_seconds          = 4 * 24 * 3600
  dead_retention_seconds     = 14 * 24 * 3600
  errand_visibility_seconds  = 6 * var.scheduler_timeout_seconds
  cleaner                    = var.cleaner_zip != null
  cleaner_visibility_seconds = 6 * var.cleaner_timeout_seconds
  kms_key_arn                = var.kms_key_arn
  tags                       = var.tags
}

module "payload" {
  source = "./modules/payload"

  bucket_name     = local.payload_bucket
  expiration_days = 30
  require_tls     = var.require_tls
  kms_key_arn     = var.kms_key_arn
  tags            = var.tags
}

module "permissions" {
  source = "./modules/permissions"

  state_table_arn    = module.state.state_table_arn
  lock_table_arn     = module.state.lock_table_arn
  queue_arns         = module.queues.queue_arns
  dead_queue_arns    = module.queues.dead_queue_arns
  errands_queue_arn  = module.queues.errands_queue_arn
  cleaner_queue_arns = module.queues.cleaner_queue_arns
  payload_bucket_arn = module.payload.bucket_arn
  table_locations    = var.table_locations
  glue_databases     = var.glue_databases
  table_bucket_arns  = local.table_bucket_arns
  catalog_table_arns = var.catalog_table_arns
  assumed_role_arns  = var.assumed_role_arns
  kms_key_arn        = var.kms_key_arn
  table_kms_key_arns = var.table_kms_key_arns

  secret_arns         = var.secret_arns
  parameter_arns      = var.parameter_arns
  secret_kms_key_arns = var.secret_kms_key_arns
  write_extras        = local.write_extras
  inventory_locations = local.inventory_locations
  marks_orphans       = local.marks_orphans
}

module "scheduler" {
  source = "./modules/function"

  name                     = "${var.name}-scheduler"
  description              = "Sees which Iceberg tables changed, plans their maintenance and queues it"
  zip_path                 = var.scheduler_zip
  architecture             = var.architecture
  memory_mb                = var.scheduler_memory_mb
  timeout_seconds          = var.scheduler_timeout_seconds
  reserved_concurrency     = var.scheduler_reserved_concurrency
  environment              = merge(local.environment, var.extra_environment)
  policy_json              = module.permissions.scheduler_policy_json
  permissions_boundary_arn = var.permissions_boundary_arn
  log_retention_days       = var.log_retention_days
  tags                     = var.tags
}

module "optimizer" {
  source = "./modules/function"

  name                     = "${var.name}-optimizer"
  description              = "Rewrites the files of Iceberg tables and commits them"
  zip_path                 = var.optimizer_zip
  architecture             = var.architecture
  memory_mb                = var.optimizer_memory_mb
  timeout_seconds          = var.optimizer_timeout_seconds
  reserved_concurrency     = var.optimizer_reserved_concurrency
  environment              = merge(local.environment, var.extra_environment)
  policy_json              = module.permissions.optimizer_policy_json
  permissions_boundary_arn = var.permissions_boundary_arn
  log_retention_days       = var.log_retention_days
  tags                     = var.tags
}

# The only function whose role may delete, and only under the tables' locations.
module "cleaner" {
  source = "./modules/function"
  count  = var.cleaner_zip == null ? 0 : 1

  name                     = "${var.name}-cleaner"
  description              = "Expires snapshots of Iceberg tables and deletes what nobody needs then"
  zip_path                 = var.cleaner_zip
  architecture             = var.architecture
  memory_mb                = var.cleaner_memory_mb
  timeout_seconds          = var.cleaner_timeout_seconds
  reserved_concurrency     = -1
  environment              = merge(local.environment, var.extra_environment)
  policy_json              = module.permissions.cleaner_policy_json
  permissions_boundary_arn = var.permissions_boundary_arn
  log_retention_days       = var.log_retention_days
  tags                     = var.tags
}

resource "aws_lambda_event_source_mapping" "cleaner" {
  count = var.cleaner_zip == null ? 0 : 1

  event_source_arn        = module.queues.cleaner_queue_arns[0]
  function_name           = module.cleaner[0].function_arn
  batch_size              = 1
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = var.cleaner_maximum_concurrency
  }
}

# One task a run: a task fills the function's memory and may take most of its time.
resource "aws_lambda_event_source_mapping" "tasks" {
  count = var.buckets

  event_source_arn        = module.queues.queue_arns[count.index]
  function_name           = module.optimizer.function_arn
  batch_size              = 1
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = local.concurrency_of_queue
  }

  lifecycle {
    precondition {
      condition     = local.concurrency_of_queue >= 2
      error_message = "optimizer_maximum_concurrency must be at least twice buckets: Lambda lets no queue keep fewer than 2 runs busy. Raise it (and the account's limit, 10 in a new one), or take fewer buckets."
    }
  }
}

# What a tick has no time for, one bucket or one long listing a run.
resource "aws_lambda_event_source_mapping" "errands" {
  event_source_arn        = module.queues.errands_queue_arn
  function_name           = module.scheduler.function_arn
  batch_size              = 1
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = var.scheduler_maximum_concurrency
  }
}

module "schedule" {
  source = "./modules/schedule"

  name                     = var.name
  schedule_expression      = var.schedule_expression
  enabled                  = var.schedule_enabled
  function_name            = module.scheduler.function_name
  function_arn             = module.scheduler.function_arn
  permissions_boundary_arn = var.permissions_boundary_arn
  tags                     = var.tags
}

module "alarms" {
  source = "./modules/alarms"
  count  = var.alarms ? 1 : 0

  name                     = var.name
  dead_queue_names         = module.queues.dead_queue_names
  cleaner_dead_queue_names = module.queues.cleaner_dead_queue_names
  scheduler_function_name  = module.scheduler.function_name
  functions                = local.functions
  schedule_enabled         = var.schedule_enabled
  schedule_period_seconds  = local.schedule_period
  too_old_hours            = var.alarm_too_old_hours
  daily_dollars            = var.alarm_daily_dollars
  topic_arn                = var.alarm_topic_arn
  tags                     = var.tags
}

module "dashboard" {
  source = "./modules/dashboard"
  count  = var.dashboard ? 1 : 0

  name   = var.name
  region = data.aws_region.current.id
}
