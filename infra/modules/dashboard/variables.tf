variable "name" {
  description = "Name of the deployment, and of its dashboard."
  type        = string
}

variable "region" {
  description = "Region that the metrics are in."
  type        = string
}
