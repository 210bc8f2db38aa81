# All metrics at a glance. What is drawn is made of the catalogue of metrics, as infra/metrics.md is.

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = templatefile("${path.module}/cloudwatch.json.tftpl", { name = var.name, region = var.region })
}
