# Icepress on AWS: DynamoDB remembers, SQS carries the work, two Lambda functions do it, EventBridge Scheduler ticks.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  # An optimizer must not lose its message to another while it works; a minute more covers Lambda's own delays. Longer would only
  # hide a crash for longer.
  visibility_timeout = coalesce(var.visibility_timeout_seconds, var.optimizer_timeout_seconds + 60)

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

  environment = merge(local.limits, {
    ICEPRESS_STATE_TABLE        = module.state.state_table_name
    ICEPRESS_BUCKETS            = tostring(var.buckets)
    ICEPRESS_QUEUE_URL_TEMPLATE = module.queues.queue_url_template
    ICEPRESS_PAYLOAD_LOCATION   = module.payload.location
    ICEPRESS_CATALOGS           = jsonencode(local.catalogs)
    RUST_LOG                    = var.log_filter
  })

  limits = var.limits == null ? {} : { ICEPRESS_LIMITS = jsonencode(var.limits) }
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
  max_receive_count          = 4
  retention_seconds          = 4 * 24 * 3600
  dead_retention_seconds     = 14 * 24 * 3600
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
  reserved_concurrency     = -1
  environment              = merge(local.environment, var.extra_environment)
  policy_json              = module.permissions.optimizer_policy_json
  permissions_boundary_arn = var.permissions_boundary_arn
  log_retention_days       = var.log_retention_days
  tags                     = var.tags
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
    maximum_concurrency = var.optimizer_maximum_concurrency
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

  name                    = var.name
  dead_queue_names        = module.queues.dead_queue_names
  scheduler_function_name = module.scheduler.function_name
  topic_arn               = var.alarm_topic_arn
  tags                    = var.tags
}
