# What a person should hear of: tasks that failed for good, plans that repeat themselves, messages that nobody could answer, and a scheduler that fails.

locals {
  actions = var.topic_arn == null ? [] : [var.topic_arn]
}

# What the functions say in their logs, once a table or a task. Nothing of it stays in a queue, so the alarm is lit while it is said,
# and goes out by itself.
locals {
  said = {
    failed-tasks = {
      words       = "task failed for good"
      metric      = "FailedTasks"
      log_group   = var.optimizer_log_group_name
      description = "Tasks failed for good; icepress tables --state failing shows which tables, icepress explain why"
    }
    # An error of Icepress, which such a table's owner should report.
    repeats = {
      words       = "repeats itself"
      metric      = "Repeats"
      log_group   = var.scheduler_log_group_name
      description = "A plan would do again what the last run did, and is left alone: an error of Icepress; icepress tables --state failing shows the table, icepress explain what to report"
    }
  }

  alarms = merge(
    {
      for name, said in local.said : name => {
        description = said.description
        namespace   = aws_cloudwatch_log_metric_filter.said[name].metric_transformation[0].namespace
        metric      = aws_cloudwatch_log_metric_filter.said[name].metric_transformation[0].name
        period      = 300
        periods     = 1
        dimensions  = null
      }
    },
    {
      scheduler-errors = {
        description = "The scheduler failed in ${var.scheduler_error_periods} periods of ${var.scheduler_error_period_seconds} s, one after another"
        namespace   = "AWS/Lambda"
        metric      = "Errors"
        period      = var.scheduler_error_period_seconds
        periods     = var.scheduler_error_periods
        dimensions  = { FunctionName = var.scheduler_function_name }
      }
    },
  )
}

# The cleaner says it in the same words, and is counted together with the optimizer.
resource "aws_cloudwatch_log_metric_filter" "failed_cleaning" {
  count = length(var.cleaner_log_group_names)

  name           = "${var.name}-failed-cleaning"
  log_group_name = var.cleaner_log_group_names[count.index]
  pattern        = "{ $.fields.message = \"${local.said["failed-tasks"].words}\" }"

  metric_transformation {
    name      = local.said["failed-tasks"].metric
    namespace = "Icepress/${var.name}"
    value     = "1"
  }
}

resource "aws_cloudwatch_log_metric_filter" "said" {
  for_each = local.said

  name           = "${var.name}-${each.key}"
  log_group_name = each.value.log_group
  pattern        = "{ $.fields.message = \"${each.value.words}\" }"

  metric_transformation {
    name      = each.value.metric
    namespace = "Icepress/${var.name}"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "sum" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = "Sum"
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions
  tags                = var.tags
}

# One a bucket: an alarm over a sum of metrics costs the same, holds ten of them at most, and would not say which bucket.
resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  count = length(var.dead_queue_names)

  alarm_name          = "${var.name}-dead-letters-${count.index}"
  alarm_description   = "Optimizers died over messages of bucket ${count.index}, or could not answer them; see their log, then send back what lies in ${var.dead_queue_names[count.index]}: icepress redrive"
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
  alarm_description   = "Cleaners died over messages, or could not answer them; see their log, then send back what lies in ${var.cleaner_dead_queue_names[count.index]}: icepress redrive"
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
  from = aws_cloudwatch_log_metric_filter.failed_tasks
  to   = aws_cloudwatch_log_metric_filter.said["failed-tasks"]
}

moved {
  from = aws_cloudwatch_log_metric_filter.repeats
  to   = aws_cloudwatch_log_metric_filter.said["repeats"]
}

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
