# What a person should hear of: each promise that is not kept. Every alarm names its section of infra/runbooks.md.

locals {
  actions = var.topic_arn == null ? [] : [var.topic_arn]

  # What the functions tell of themselves (infra/metrics.md), by the whole deployment or one of its stages and reasons.
  ours = merge(
    var.schedule_enabled ? {
      nothing-swept = {
        runbook    = "nothing-swept"
        text       = "No bucket was looked after to its end for two periods of ${var.schedule_period_seconds} s"
        metric     = "BucketsCompleted"
        statistic  = "Sum"
        comparison = "LessThanThreshold"
        threshold  = 1
        period     = var.schedule_period_seconds
        periods    = 2
        missing    = "breaching"
        dimensions = {}
      }
    } : {},
    {
      bucket-starves = {
        runbook    = "bucket-starves"
        text       = "A bucket of tables was not swept to its end for more than ${local.longest_rest} s"
        metric     = "BucketRestSeconds"
        statistic  = "Maximum"
        comparison = "GreaterThanThreshold"
        threshold  = local.longest_rest
        period     = var.schedule_period_seconds
        periods    = 2
        missing    = "notBreaching"
        dimensions = {}
      }
      due-too-old = {
        runbook    = "too-old"
        text       = "A table has been due for more than ${var.too_old_hours.due} h"
        metric     = "OldestDueSeconds"
        statistic  = "Maximum"
        comparison = "GreaterThanThreshold"
        threshold  = var.too_old_hours.due * 3600
        period     = var.schedule_period_seconds
        periods    = 2
        missing    = "notBreaching"
        dimensions = {}
      }
      failed-tasks = {
        runbook    = "failed-tasks"
        text       = "Tasks failed for good; icepress tables --state failing shows which tables, icepress explain why"
        metric     = "TasksFailed"
        statistic  = "Sum"
        comparison = "GreaterThanThreshold"
        threshold  = 0
        period     = 300
        periods    = 1
        missing    = "notBreaching"
        dimensions = {}
      }
      # An error of Icepress, which such a table's owner should report.
      repeats = {
        runbook    = "repeats"
        text       = "A plan would do again what the last run did, and is left alone: an error of Icepress; icepress tables --state failing shows the table, icepress explain what to report"
        metric     = "PlansRepeated"
        statistic  = "Sum"
        comparison = "GreaterThanThreshold"
        threshold  = 0
        period     = 300
        periods    = 1
        missing    = "notBreaching"
        dimensions = {}
      }
      listing-failures = {
        runbook    = "listing-failures"
        text       = "Databases could not be listed in two periods, one after another: what changes in them is not seen"
        metric     = "ListingFailures"
        statistic  = "Sum"
        comparison = "GreaterThanThreshold"
        threshold  = 0
        period     = var.schedule_period_seconds
        periods    = 2
        missing    = "notBreaching"
        dimensions = {}
      }
      throttled-requests = {
        runbook    = "throttled"
        text       = "A catalog, a storage or the state asked for fewer requests ${local.throttled_requests} times and more in three quarters of an hour, one after another"
        metric     = "Waits"
        statistic  = "Sum"
        comparison = "GreaterThanThreshold"
        threshold  = local.throttled_requests
        period     = 900
        periods    = 3
        missing    = "notBreaching"
        dimensions = { Reason = "requests" }
      }
    },
    {
      for stage, hours in {
        queued     = var.too_old_hours.queued
        running    = var.too_old_hours.running
        committing = var.too_old_hours.committing
        } : "${stage}-too-old" => {
        runbook    = "too-old"
        text       = "A process that is ${stage} was begun more than ${hours} h ago"
        metric     = "OldestProcessSeconds"
        statistic  = "Maximum"
        comparison = "GreaterThanThreshold"
        threshold  = hours * 3600
        period     = 900
        periods    = 2
        missing    = "notBreaching"
        dimensions = { Stage = stage }
      }
    },
    var.daily_dollars == null ? {} : {
      budget = {
        runbook    = "budget"
        text       = "Rewrites of one day cost more than $${var.daily_dollars}"
        metric     = "ActualDollars"
        statistic  = "Sum"
        comparison = "GreaterThanThreshold"
        threshold  = var.daily_dollars
        period     = 86400
        periods    = 1
        missing    = "notBreaching"
        dimensions = {}
      }
    },
  )

  # A bucket in which nothing happens is swept each quarter of an hour, or as often as anybody comes.
  longest_rest = 3600 + 2 * var.schedule_period_seconds

  # Waits for somebody who asks for fewer requests, in a quarter of an hour.
  throttled_requests = 20

  # What Lambda tells of the functions.
  lambda = merge(
    {
      scheduler-errors = {
        runbook    = "scheduler-errors"
        text       = "The scheduler failed in ${var.scheduler_error_periods} periods of ${var.scheduler_error_period_seconds} s, one after another"
        metric     = "Errors"
        statistic  = "Sum"
        threshold  = 0
        period     = var.scheduler_error_period_seconds
        periods    = var.scheduler_error_periods
        dimensions = { FunctionName = var.scheduler_function_name }
      }
    },
    {
      for function, of in var.functions : "${function}-throttles" => {
        runbook    = "throttled"
        text       = "Lambda refused to run ${of.name} in three quarters of an hour, one after another: the account's runs at once are used up"
        metric     = "Throttles"
        statistic  = "Sum"
        threshold  = 0
        period     = 900
        periods    = 3
        dimensions = { FunctionName = of.name }
      }
    },
    {
      for function, of in var.functions : "${function}-duration" => {
        runbook    = "duration"
        text       = "A run of ${of.name} took ${floor(local.nearly * 100)} % of its ${of.timeout_seconds} s and more"
        metric     = "Duration"
        statistic  = "Maximum"
        threshold  = floor(local.nearly * of.timeout_seconds * 1000)
        period     = 300
        periods    = 1
        dimensions = { FunctionName = of.name }
      }
    },
  )

  # Of a run's time: work is planned to end before, and given back by then.
  nearly = 0.98

  promises = merge(
    {
      for name, alarm in local.ours : name => merge(alarm, {
        namespace  = "Icepress"
        dimensions = merge({ Deployment = var.name }, alarm.dimensions)
      })
    },
    {
      for name, alarm in local.lambda : name => merge(alarm, {
        namespace  = "AWS/Lambda"
        comparison = "GreaterThanThreshold"
        missing    = "notBreaching"
      })
    },
  )

  # Where a section of the runbooks is.
  runbooks = "Runbook: infra/runbooks.md#"
}

resource "aws_cloudwatch_metric_alarm" "promise" {
  for_each = local.promises

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.text}. ${local.runbooks}${each.value.runbook}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = local.actions
  ok_actions          = local.actions
  tags                = var.tags
}

# One a bucket: an alarm over a sum of metrics costs the same, holds ten of them at most, and would not say which bucket.
resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  count = length(var.dead_queue_names)

  alarm_name          = "${var.name}-dead-letters-${count.index}"
  alarm_description   = "Optimizers died over messages of bucket ${count.index}, or could not answer them; see their log, then send back what lies in ${var.dead_queue_names[count.index]}: icepress redrive. ${local.runbooks}dead-letters"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions
  tags                = var.tags

  dimensions = {
    QueueName = var.dead_queue_names[count.index]
  }
}

resource "aws_cloudwatch_metric_alarm" "cleaner_dead_letters" {
  count = length(var.cleaner_dead_queue_names)

  alarm_name          = "${var.name}-cleaner-dead-letters"
  alarm_description   = "Cleaners died over messages, or could not answer them; see their log, then send back what lies in ${var.cleaner_dead_queue_names[count.index]}: icepress redrive. ${local.runbooks}dead-letters"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions
  tags                = var.tags

  dimensions = {
    QueueName = var.cleaner_dead_queue_names[count.index]
  }
}

# Each had a resource of its own.
moved {
  from = aws_cloudwatch_metric_alarm.failed_tasks
  to   = aws_cloudwatch_metric_alarm.sum["failed-tasks"]
}

moved {
  from = aws_cloudwatch_metric_alarm.repeats
  to   = aws_cloudwatch_metric_alarm.sum["repeats"]
}

moved {
  from = aws_cloudwatch_metric_alarm.scheduler_errors
  to   = aws_cloudwatch_metric_alarm.sum["scheduler-errors"]
}

moved {
  from = aws_cloudwatch_metric_alarm.sum
  to   = aws_cloudwatch_metric_alarm.promise
}
