# One standard queue per bucket, each with a dead-letter queue of its own. Messages carry the table as message group, so that
# one busy table does not hold up its bucket's others.

resource "aws_sqs_queue" "dead" {
  count = var.buckets

  name                      = "${var.name}-tasks-${count.index}-dlq"
  message_retention_seconds = var.dead_retention_seconds
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}

resource "aws_sqs_queue" "tasks" {
  count = var.buckets

  name                       = "${var.name}-tasks-${count.index}"
  visibility_timeout_seconds = var.visibility_timeout_seconds
  message_retention_seconds  = var.retention_seconds
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  tags                       = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[count.index].arn
    maxReceiveCount     = var.max_receive_count
  })
}

# What a tick hands to further runs of the scheduler. It needs no dead letters: what is not done within the hour, a later tick
# hands out anew.
resource "aws_sqs_queue" "errands" {
  name                       = "${var.name}-errands"
  visibility_timeout_seconds = var.errand_visibility_seconds
  message_retention_seconds  = 3600
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  tags                       = var.tags
}

# What deletes is on a queue of its own, which only the cleaner may read.
resource "aws_sqs_queue" "cleaner_dead" {
  count = var.cleaner ? 1 : 0

  name                      = "${var.name}-cleaner-dlq"
  message_retention_seconds = var.dead_retention_seconds
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}

resource "aws_sqs_queue" "cleaner" {
  count = var.cleaner ? 1 : 0

  name                       = "${var.name}-cleaner"
  visibility_timeout_seconds = var.cleaner_visibility_seconds
  message_retention_seconds  = var.retention_seconds
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = var.kms_key_arn == null ? true : null
  kms_master_key_id          = var.kms_key_arn
  tags                       = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.cleaner_dead[0].arn
    maxReceiveCount     = var.max_receive_count
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "cleaner_dead" {
  count = var.cleaner ? 1 : 0

  queue_url = aws_sqs_queue.cleaner_dead[0].id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.cleaner[0].arn]
  })
}

# A dead-letter queue takes messages from its own queue only.
resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  count = var.buckets

  queue_url = aws_sqs_queue.dead[count.index].id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.tasks[count.index].arn]
  })
}
