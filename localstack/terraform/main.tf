# infra/ as it is, on an emulator: only the provider differs. Every service that infra/ uses has its endpoint named here, since
# a service without one would be looked for at AWS.

terraform {
  required_version = ">= 1.5.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80"
    }
  }
}

provider "aws" {
  region                      = var.region
  access_key                  = var.account_id
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  s3_use_path_style           = true

  endpoints {
    cloudwatch = var.endpoint
    dynamodb   = var.endpoint
    glue       = var.endpoint
    iam        = var.endpoint
    kms        = var.endpoint
    lambda     = var.endpoint
    logs       = var.endpoint
    s3         = var.endpoint
    scheduler  = var.endpoint
    sns        = var.endpoint
    sqs        = var.endpoint
    sts        = var.endpoint
  }
}

resource "aws_sns_topic" "alarms" {
  name = "${var.name}-alarms"
}

module "icepress" {
  source = "../../infra"

  name            = var.name
  scheduler_zip   = var.scheduler_zip
  optimizer_zip   = var.optimizer_zip
  cleaner_zip     = var.cleaner_zip
  architecture    = var.architecture
  table_locations = var.table_locations
  buckets         = var.buckets
  alarm_topic_arn = aws_sns_topic.alarms.arn
  log_filter      = var.log_filter
  mode            = var.mode

  # One machine: fewer optimizers, each as long as it needs, a tick each minute, and no TLS on loopback.
  schedule_expression           = "rate(1 minute)"
  optimizer_maximum_concurrency = 2 * var.buckets
  optimizer_timeout_seconds     = 300
  require_tls                   = false
  deletion_protection           = false
  extra_environment             = var.extra_environment
}
