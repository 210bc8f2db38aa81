# The least that works: every Glue table under one bucket.

provider "aws" {
  region = var.region
}

module "icepress" {
  source = "../.."

  scheduler_zip   = var.scheduler_zip
  optimizer_zip   = var.optimizer_zip
  table_locations = [var.warehouse_bucket]
}
