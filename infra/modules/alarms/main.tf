# Two things a person should hear of: a task that failed for good, and a scheduler that fails.

locals {
  actions = var.topic_arn == null ? [] : [var.topic_arn]
}

# One a bucket: an alarm over a sum of metrics costs the same, holds ten of them at most, and would not say which bucket.
resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  count = length(var.dead_queue_names)

  alarm_name          = "${var.name}-dead-letters-${count.index}"
  alarm_description   = "Tasks of bucket ${count.index} failed for good; look at the queue ${var.dead_queue_names[count.index]}, then send them back"
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
