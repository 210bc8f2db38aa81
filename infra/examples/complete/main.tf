# A production set-up: two warehouses, Spark writers with a lock table of their own, a key of one's own, alarms by mail.

provider "aws" {
  region = var.region

  default_tags {
    tags = { service = "icepress" }
  }
}

data "aws_caller_identity" "current" {}

resource "aws_kms_key" "icepress" {
  description             = "Icepress: state, queues and payloads"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

data "aws_iam_policy_document" "key" {
  # The account's administrators; the functions' roles get their use of the key by their own policies.
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }

  # Alarms are sent to a topic that is encrypted with this key.
  statement {
    sid       = "Alarms"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }
  }
}

resource "aws_sns_topic" "alarms" {
  name              = "icepress-alarms"
  kms_master_key_id = aws_kms_key.icepress.arn
}

resource "aws_sns_topic_subscription" "mail" {
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_mail
}

module "icepress" {
  source = "../.."

  name          = "icepress-prod"
  scheduler_zip = var.scheduler_zip
  optimizer_zip = var.optimizer_zip
  architecture  = "arm64"

  table_locations    = ["example-raw/warehouse", "example-marts"]
  glue_databases     = ["raw", "marts"]
  table_kms_key_arns = var.table_kms_key_arns

  # What is raw is only observed yet: `icepress --deployed report` says what would be done.
  mode = { default = "observe", database = { "glue.marts" = "maintain" } }

  # Spark and Flink take their locks here already; Icepress joins them.
  commit_lock              = true
  existing_lock_table_name = var.lock_table_name

  buckets                       = 8
  schedule_expression           = "rate(2 minutes)"
  optimizer_maximum_concurrency = 100

  kms_key_arn        = aws_kms_key.icepress.arn
  alarm_topic_arn    = aws_sns_topic.alarms.arn
  log_retention_days = 90
}
