# What a person should hear of: tasks that failed for good, plans that repeat themselves, messages that nobody could answer, and a scheduler that fails.

locals {
  actions = var.topic_arn == null ? [] : [var.topic_arn]
}

# The optimizer says it in its log, once a task. A failed task is answered, so that it is no dead letter: the alarm is lit while
# tasks fail, and goes out by itself.
resource "aws_cloudwatch_log_metric_filter" "failed_tasks" {
  name           = "${var.name}-failed-tasks"
  log_group_name = var.optimizer_log_group_name
  pattern        = "{ $.fields.message = \"task failed for good\" }"

  metric_transformation {
    name      = "FailedTasks"
    namespace = "Icepress/${var.name}"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "failed_tasks" {
  alarm_name          = "${var.name}-failed-tasks"
  alarm_description   = "Tasks failed for good; icepress tables --state failing shows which tables, icepress explain why"
  namespace           = aws_cloudwatch_log_metric_filter.failed_tasks.metric_transformation[0].namespace
  metric_name         = aws_cloudwatch_log_metric_filter.failed_tasks.metric_transformation[0].name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions
  tags                = var.tags
}

# A plan that would do again what the last run did: an error of Icepress, which such a table's owner should report. The scheduler
# leaves such work alone and says it in its log.
resource "aws_cloudwatch_log_metric_filter" "repeats" {
  name           = "${var.name}-repeats"
  log_group_name = var.scheduler_log_group_name
  pattern        = "{ $.fields.message = \"repeats itself\" }"

  metric_transformation {
    name      = "Repeats"
    namespace = "Icepress/${var.name}"
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "repeats" {
  alarm_name          = "${var.name}-repeats"
  alarm_description   = "A plan would do again what the last run did, and is left alone: an error of Icepress; icepress tables --state failing shows the table, icepress explain what to report"
  namespace           = aws_cloudwatch_log_metric_filter.repeats.metric_transformation[0].namespace
  metric_name         = aws_cloudwatch_log_metric_filter.repeats.metric_transformation[0].name
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
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

resource "aws_cloudwatch_metric_alarm" "scheduler_errors" {
  alarm_name          = "${var.name}-scheduler-errors"
  alarm_description   = "The scheduler failed in ${var.scheduler_error_periods} periods of ${var.scheduler_error_period_seconds} s, one after another"
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  statistic           = "Sum"
  period              = var.scheduler_error_period_seconds
  evaluation_periods  = var.scheduler_error_periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.actions
  ok_actions          = local.actions
  tags                = var.tags

  dimensions = {
    FunctionName = var.scheduler_function_name
  }
}
