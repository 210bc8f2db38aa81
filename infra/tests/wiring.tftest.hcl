# How the parts hang together, on a mocked provider: no account and no server.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = {
      json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
    }
  }
  mock_data "aws_caller_identity" {
    defaults = {
      account_id = "123456789012"
    }
  }
  mock_data "aws_region" {
    defaults = {
      id = "eu-central-1"
    }
  }
  mock_data "aws_dynamodb_table" {
    defaults = {
      arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/spark-locks"
    }
  }
  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::123456789012:role/mocked"
    }
  }
  mock_resource "aws_lambda_function" {
    defaults = {
      arn = "arn:aws:lambda:eu-central-1:123456789012:function:mocked"
    }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = {
      arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/mocked"
    }
  }
  mock_resource "aws_sqs_queue" {
    defaults = {
      arn = "arn:aws:sqs:eu-central-1:123456789012:mocked"
      url = "https://sqs.eu-central-1.amazonaws.com/123456789012/icepress-tasks-0"
    }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = {
      arn = "arn:aws:logs:eu-central-1:123456789012:log-group:mocked"
    }
  }
}

# Any file will do for a zip here: nothing is uploaded.
variables {
  scheduler_zip   = "tests/wiring.tftest.hcl"
  optimizer_zip   = "tests/wiring.tftest.hcl"
  table_locations = ["lake/warehouse"]
}

run "a_queue_for_each_bucket" {
  variables {
    buckets                       = 5
    optimizer_maximum_concurrency = 64
  }

  assert {
    condition     = length(module.queues.queue_urls) == 5 && length(module.queues.dead_queue_urls) == 5
    error_message = "each bucket needs a queue and a dead-letter queue"
  }

  assert {
    condition     = length(aws_lambda_event_source_mapping.tasks) == 5
    error_message = "each queue needs an event source mapping"
  }

  assert {
    condition = alltrue([
      for mapping in aws_lambda_event_source_mapping.tasks :
      mapping.batch_size == 1 && contains(mapping.function_response_types, "ReportBatchItemFailures") && mapping.scaling_config[0].maximum_concurrency == 12
    ])
    error_message = "a mapping must take one task a run, honour partial batch responses, and have its share of the concurrency of all"
  }

  assert {
    condition     = output.environment.ICEPRESS_BUCKETS == "5" && output.environment.ICEPRESS_QUEUE_URL_TEMPLATE == "https://sqs.eu-central-1.amazonaws.com/123456789012/icepress-tasks-{bucket}"
    error_message = "the functions must be told how many buckets there are, and where their queues are"
  }
}

run "a_new_account_allows_the_defaults" {
  assert {
    condition = sum(concat(
      [for mapping in aws_lambda_event_source_mapping.tasks : mapping.scaling_config[0].maximum_concurrency],
      [aws_lambda_event_source_mapping.errands.scaling_config[0].maximum_concurrency],
    )) <= 10
    error_message = "a new account has 10 runs at once: by default all queues together may ask for no more"
  }

  assert {
    condition     = var.scheduler_reserved_concurrency == -1 && var.optimizer_reserved_concurrency == -1
    error_message = "an account with 10 runs at once can reserve none of them: by default nothing is reserved"
  }

  assert {
    condition     = local.visibility_timeout == 6 * var.optimizer_timeout_seconds && var.max_receive_count >= 5
    error_message = "AWS advises a visibility of six times the function's time-out and five receives or more"
  }
}

run "what_a_tick_hands_out_wakes_the_scheduler" {
  assert {
    condition     = aws_lambda_event_source_mapping.errands.batch_size == 1 && contains(aws_lambda_event_source_mapping.errands.function_response_types, "ReportBatchItemFailures")
    error_message = "a scheduler must take one errand a run, and leave in the queue what it could not do"
  }

  assert {
    condition     = output.environment.ICEPRESS_ERRANDS_URL == module.queues.errands_queue_url
    error_message = "the scheduler must be told where to hand out"
  }
}

run "without_its_zip_there_is_no_cleaner" {
  assert {
    condition     = length(module.cleaner) == 0 && length(module.queues.cleaner_queue_arns) == 0 && !contains(keys(output.environment), "ICEPRESS_CLEANER_URL")
    error_message = "nobody may delete where no cleaner is deployed"
  }
}

run "a_cleaner_has_a_queue_of_its_own_and_is_told_what_to_do" {
  variables {
    cleaner_zip = "tests/wiring.tftest.hcl"
    maintain    = { tags = true, orphans = true, orphans-every = "14d", catalog = { glue = { expire = true } } }
  }

  assert {
    condition     = aws_lambda_event_source_mapping.cleaner[0].batch_size == 1 && contains(aws_lambda_event_source_mapping.cleaner[0].function_response_types, "ReportBatchItemFailures") && aws_lambda_event_source_mapping.cleaner[0].scaling_config[0].maximum_concurrency == 2
    error_message = "a cleaner must take one task a run, and leave in the queue what it could not do"
  }

  assert {
    condition     = output.environment.ICEPRESS_CLEANER_URL == module.queues.cleaner_queue_url && jsondecode(output.environment.ICEPRESS_MAINTAIN).catalog.glue.expire && jsondecode(output.environment.ICEPRESS_MAINTAIN).tags
    error_message = "the functions must be told where the cleaner's queue is, and what is done by itself"
  }

  assert {
    condition     = length(module.queues.cleaner_dead_queue_names) == 1
    error_message = "the cleaner's queue needs a dead-letter queue"
  }
}

run "upkeep_that_nobody_knows_is_refused" {
  command = plan

  variables {
    maintain = { expires = true }
  }

  expect_failures = [var.maintain]
}

run "a_first_deploy_only_observes" {
  assert {
    condition     = output.environment.ICEPRESS_MODE == "observe"
    error_message = "nothing may be rewritten before somebody says so"
  }
}

run "a_mode_for_all_reaches_the_functions" {
  variables {
    mode = "maintain"
  }

  assert {
    condition     = output.environment.ICEPRESS_MODE == "maintain"
    error_message = "the functions must be told the mode as it was given"
  }
}

run "modes_by_name_reach_the_functions" {
  variables {
    mode = {
      default  = "observe"
      catalog  = { "gl*" = "observe" }
      database = { "glue.sales" = "maintain" }
      table    = { "glue.marts.orders*" = "maintain" }
    }
  }

  assert {
    condition     = jsondecode(output.environment.ICEPRESS_MODE).default == "observe" && jsondecode(output.environment.ICEPRESS_MODE).table["glue.marts.orders*"] == "maintain"
    error_message = "the functions must be told the modes as they were given"
  }
}

run "a_mode_that_nobody_knows_is_refused" {
  command = plan

  variables {
    mode = "observed"
  }

  expect_failures = [var.mode]
}

run "a_mode_for_a_scope_that_nobody_knows_is_refused" {
  command = plan

  variables {
    mode = { tables = { "glue.*" = "observe" } }
  }

  expect_failures = [var.mode]
}

run "a_mode_by_name_that_nobody_knows_is_refused" {
  command = plan

  variables {
    mode = { table = { "glue.*" = "on" } }
  }

  expect_failures = [var.mode]
}

run "a_cap_below_two_a_queue_is_refused" {
  command = plan

  variables {
    buckets                       = 64
    optimizer_maximum_concurrency = 100
  }

  expect_failures = [aws_lambda_event_source_mapping.tasks]
}

run "each_promise_has_an_alarm_that_names_what_to_do" {
  module {
    source = "./modules/alarms"
  }

  variables {
    name                     = "icepress"
    dead_queue_names         = ["icepress-tasks-0-dlq"]
    cleaner_dead_queue_names = ["icepress-cleaner-dlq"]
    scheduler_function_name  = "icepress-scheduler"
    functions = {
      scheduler = { name = "icepress-scheduler", timeout_seconds = 120 }
      optimizer = { name = "icepress-optimizer", timeout_seconds = 900 }
    }
    schedule_enabled        = true
    schedule_period_seconds = 300
    too_old_hours           = { due = 2, queued = 6, running = 24, committing = 3 }
    daily_dollars           = 50
    topic_arn               = "arn:aws:sns:eu-central-1:123456789012:alarms"
    tags                    = {}
  }

  assert {
    condition = toset(keys(aws_cloudwatch_metric_alarm.promise)) == toset([
      "nothing-swept", "bucket-starves", "due-too-old", "queued-too-old", "running-too-old", "committing-too-old", "failed-tasks", "repeats",
      "listing-failures", "throttled-requests", "scheduler-throttles", "optimizer-throttles", "scheduler-duration", "optimizer-duration",
      "scheduler-errors", "budget",
    ])
    error_message = "each promise must have its alarm"
  }

  assert {
    condition = alltrue([
      for alarm in concat(values(aws_cloudwatch_metric_alarm.promise), aws_cloudwatch_metric_alarm.dead_letters, aws_cloudwatch_metric_alarm.cleaner_dead_letters) :
      can(regex("Runbook: infra/runbooks.md#[a-z-]+$", alarm.alarm_description)) && tolist(alarm.alarm_actions) == tolist([var.topic_arn]) && tolist(alarm.ok_actions) == tolist([var.topic_arn])
    ])
    error_message = "each alarm must name its runbook and tell the topic when it begins and ends"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.promise["nothing-swept"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.promise["nothing-swept"].evaluation_periods == 2 && aws_cloudwatch_metric_alarm.promise["nothing-swept"].comparison_operator == "LessThanThreshold"
    error_message = "a scheduler that says nothing must light an alarm"
  }

  assert {
    condition = alltrue([
      for name, alarm in aws_cloudwatch_metric_alarm.promise : alarm.treat_missing_data == "notBreaching" if name != "nothing-swept"
    ])
    error_message = "what did not happen must light no other alarm"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.promise["failed-tasks"].namespace == "Icepress" && aws_cloudwatch_metric_alarm.promise["failed-tasks"].metric_name == "TasksFailed" && aws_cloudwatch_metric_alarm.promise["failed-tasks"].dimensions == tomap({ Deployment = "icepress" })
    error_message = "failed tasks of this deployment must raise an alarm"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.promise["committing-too-old"].threshold == 3 * 3600 && aws_cloudwatch_metric_alarm.promise["committing-too-old"].dimensions == tomap({ Deployment = "icepress", Stage = "committing" })
    error_message = "a process that is not committed for too long must raise an alarm"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.promise["scheduler-duration"].threshold == 117600 && aws_cloudwatch_metric_alarm.promise["optimizer-duration"].threshold == 882000
    error_message = "a run must be told of that takes nearly all of its time, in milliseconds"
  }
}

run "who_is_not_to_be_woken_is_not_missed" {
  variables {
    schedule_enabled = false
    cleaner_zip      = "tests/wiring.tftest.hcl"
  }

  assert {
    condition     = !contains(keys(module.alarms[0].promise_alarm_arns), "nothing-swept") && !contains(keys(module.alarms[0].promise_alarm_arns), "budget") && contains(keys(module.alarms[0].promise_alarm_arns), "cleaner-duration")
    error_message = "without a schedule nothing is swept, without a sum there is no budget, and a cleaner is watched where there is one"
  }
}

run "an_hourly_schedule_is_missed_after_two_hours" {
  variables {
    schedule_expression = "rate(1 hour)"
  }

  assert {
    condition     = local.schedule_period == 3600
    error_message = "periods must be as long as the schedule's"
  }
}

run "a_schedule_by_the_minute_is_missed_after_ten" {
  variables {
    schedule_expression = "rate(1 minute)"
  }

  assert {
    condition     = local.schedule_period == 300
    error_message = "periods must be long enough for a run that is late"
  }
}

run "a_schedule_by_the_calendar_is_missed_after_two_hours" {
  variables {
    schedule_expression = "cron(0/10 * * * ? *)"
  }

  assert {
    condition     = local.schedule_period == 3600
    error_message = "nobody reckons what cron comes to"
  }
}

run "metrics_are_told_under_the_name_of_the_deployment_and_drawn" {
  variables {
    name = "lake"
  }

  assert {
    condition     = output.environment.ICEPRESS_DEPLOYMENT == "lake"
    error_message = "functions tell no metrics without a name"
  }

  assert {
    condition     = length(module.dashboard) == 1 && module.dashboard[0].name == "lake"
    error_message = "the dashboard must have the deployment's name"
  }
}

run "the_dashboard_is_of_this_deployment_alone" {
  module {
    source = "./modules/dashboard"
  }

  variables {
    name   = "lake"
    region = "eu-central-1"
  }

  assert {
    condition = alltrue([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets :
      widget.properties.region == "eu-central-1" && strcontains(jsonencode(widget.properties.metrics), "lake")
      if widget.type == "metric"
    ])
    error_message = "each metric must be that of this deployment, where it is"
  }
}

run "the_lock_joins_the_catalogs" {
  variables {
    existing_lock_table_name = "spark-locks"
    catalogs = {
      glue  = { type = "glue" }
      other = { type = "glue", "lock.table" = "its-own" }
    }
  }

  assert {
    condition     = jsondecode(output.environment.ICEPRESS_CATALOGS).glue["lock.table"] == "spark-locks" && output.lock_table_name == "spark-locks"
    error_message = "an existing lock table must be used"
  }

  assert {
    condition     = jsondecode(output.environment.ICEPRESS_CATALOGS).other["lock.table"] == "its-own"
    error_message = "what a catalog says itself must win"
  }

  assert {
    condition     = length(module.state.lock_table_arn) > 0 && module.state.lock_table_arn == "arn:aws:dynamodb:eu-central-1:123456789012:table/spark-locks"
    error_message = "permissions must name the existing lock table"
  }
}

run "limits_reach_the_functions" {
  variables {
    limits = {
      catalog = { glue = { max-dollars-a-month = 100 } }
      table   = { "glue.sales.orders" = { priority = 5, maintenance-window = "Mon-Fri 22:00-06:00 Europe/Berlin" } }
    }
  }

  assert {
    condition     = jsondecode(output.environment.ICEPRESS_LIMITS).catalog.glue.max-dollars-a-month == 100 && jsondecode(output.environment.ICEPRESS_LIMITS).table["glue.sales.orders"].priority == 5
    error_message = "limits must stand in the functions' environment as they were given"
  }
}

run "plan_and_what_optimizers_have_reach_the_functions" {
  variables {
    optimizer_memory_mb       = 3008
    optimizer_timeout_seconds = 600
    plan = {
      min-input-files = 10
      database        = { "glue.sales" = { light-rewrites = false } }
    }
  }

  assert {
    condition     = jsondecode(output.environment.ICEPRESS_PLAN).min-input-files == 10 && !jsondecode(output.environment.ICEPRESS_PLAN).database["glue.sales"].light-rewrites
    error_message = "defaults of plans must stand in the functions' environment as they were given"
  }

  assert {
    condition     = output.environment.ICEPRESS_OPTIMIZER_MEMORY_MB == "3008" && output.environment.ICEPRESS_OPTIMIZER_SECONDS == "600"
    error_message = "whoever plans must know what an optimizer has"
  }
}

run "no_lock_if_not_wanted" {
  variables {
    commit_lock = false
  }

  assert {
    condition     = jsondecode(output.environment.ICEPRESS_CATALOGS) == { glue = { type = "glue" } }
    error_message = "without commit_lock the catalogs must stay as they are"
  }
}

run "queues_hide_a_task_as_long_as_it_may_take" {
  module {
    source = "./modules/queues"
  }

  variables {
    name                       = "icepress"
    buckets                    = 3
    visibility_timeout_seconds = 5400
    max_receive_count          = 5
    errand_visibility_seconds  = 1800
    retention_seconds          = 345600
    dead_retention_seconds     = 1209600
    kms_key_arn                = null
    tags                       = {}
  }

  assert {
    condition = alltrue([
      for index, queue in aws_sqs_queue.tasks :
      queue.name == "icepress-tasks-${index}" &&
      jsondecode(queue.redrive_policy).maxReceiveCount == 5 &&
      jsondecode(queue.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead[index].arn &&
      queue.visibility_timeout_seconds == 5400 &&
      queue.receive_wait_time_seconds == 20 &&
      queue.sqs_managed_sse_enabled == true
    ])
    error_message = "a task queue must be encrypted, poll long, hide a task while it is worked on, and give up after five receives"
  }

  assert {
    condition     = aws_sqs_queue.errands.name == "icepress-errands" && aws_sqs_queue.errands.visibility_timeout_seconds == 1800 && aws_sqs_queue.errands.sqs_managed_sse_enabled == true
    error_message = "errands must lie in an encrypted queue of their own, hidden while somebody is about them"
  }

  assert {
    condition = alltrue([
      for index, policy in aws_sqs_queue_redrive_allow_policy.dead :
      jsondecode(policy.redrive_allow_policy).redrivePermission == "byQueue" &&
      jsondecode(policy.redrive_allow_policy).sourceQueueArns == [aws_sqs_queue.tasks[index].arn]
    ])
    error_message = "a dead-letter queue must take messages from its own queue only"
  }

  assert {
    condition     = alltrue([for index, queue in aws_sqs_queue.dead : queue.name == "icepress-tasks-${index}-dlq" && queue.sqs_managed_sse_enabled && queue.message_retention_seconds == 1209600])
    error_message = "dead letters must lie in QUEUE-dlq, where the functions look for them, encrypted and kept as long as SQS allows"
  }
}

run "tables_are_protected" {
  module {
    source = "./modules/state"
  }

  variables {
    state_table_name    = "icepress-state"
    lock_table_name     = "icepress-locks"
    create_lock_table   = true
    deletion_protection = true
    kms_key_arn         = null
    tags                = {}
  }

  assert {
    condition = alltrue([
      for table in [aws_dynamodb_table.state, aws_dynamodb_table.lock[0]] :
      table.billing_mode == "PAY_PER_REQUEST" && table.deletion_protection_enabled && table.point_in_time_recovery[0].enabled && table.server_side_encryption[0].enabled
    ])
    error_message = "both tables must be on demand, protected, recoverable and encrypted"
  }

  assert {
    condition     = aws_dynamodb_table.state.hash_key == "pk" && aws_dynamodb_table.state.range_key == "sk" && aws_dynamodb_table.lock[0].hash_key == "entityId"
    error_message = "the keys are part of the contract with the functions and with Iceberg's Java lock manager"
  }

  assert {
    condition = alltrue([
      for index in aws_dynamodb_table.state.global_secondary_index :
      index.name == "due" && index.hash_key == "due_bucket" && index.range_key == "due_at" && index.projection_type == "ALL"
    ]) && length(aws_dynamodb_table.state.global_secondary_index) == 1
    error_message = "the index of due rows is part of the contract with the functions"
  }

  assert {
    condition     = aws_dynamodb_table.state.ttl[0].attribute_name == "ttl" && aws_dynamodb_table.state.ttl[0].enabled && length([for ttl in aws_dynamodb_table.lock[0].ttl : ttl if ttl.enabled]) == 0
    error_message = "state rows expire by ttl; a lock must never expire on a timer"
  }
}

run "schedule_starts_the_scheduler_alone" {
  module {
    source = "./modules/schedule"
  }

  variables {
    name                     = "icepress"
    schedule_expression      = "rate(5 minutes)"
    enabled                  = true
    function_name            = "icepress-scheduler"
    function_arn             = "arn:aws:lambda:eu-central-1:123456789012:function:icepress-scheduler"
    permissions_boundary_arn = null
    tags                     = {}
  }

  assert {
    condition     = aws_scheduler_schedule.this.target[0].arn == "arn:aws:lambda:eu-central-1:123456789012:function:icepress-scheduler" && aws_scheduler_schedule.this.state == "ENABLED"
    error_message = "the schedule must start the scheduler"
  }

  assert {
    condition     = length(data.aws_iam_policy_document.invoke.statement) == 1 && data.aws_iam_policy_document.invoke.statement[0].actions == toset(["lambda:InvokeFunction"]) && data.aws_iam_policy_document.invoke.statement[0].resources == toset(["arn:aws:lambda:eu-central-1:123456789012:function:icepress-scheduler"])
    error_message = "the schedule's role may invoke the scheduler and nothing else"
  }
}

run "alarms_can_be_left_out" {
  variables {
    alarms = false
  }

  assert {
    condition     = length(module.alarms) == 0
    error_message = "alarms = false must create none"
  }
}

run "wrong_input_is_refused" {
  command = plan

  variables {
    name                          = "Ice_Press"
    buckets                       = 0
    architecture                  = "arm"
    table_locations               = ["s3://lake/warehouse"]
    schedule_expression           = "every 5 minutes"
    optimizer_timeout_seconds     = 1000
    optimizer_maximum_concurrency = 1
    scheduler_maximum_concurrency = 1
    max_receive_count             = 4
    log_retention_days            = 31
    catalogs                      = { glue = { uri = "x" } }
  }

  expect_failures = [
    var.name,
    var.buckets,
    var.architecture,
    var.table_locations,
    var.schedule_expression,
    var.optimizer_timeout_seconds,
    var.optimizer_maximum_concurrency,
    var.scheduler_maximum_concurrency,
    var.max_receive_count,
    var.log_retention_days,
    var.catalogs,
  ]
}
