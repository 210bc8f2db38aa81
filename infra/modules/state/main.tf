# What Icepress remembers: one DynamoDB table for leases, table state, processes and tasks, and one for the commit lock.
# Both are on demand: an idle system pays for storage alone.

resource "aws_dynamodb_table" "state" {
  name                        = var.state_table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  attribute {
    name = "due_bucket"
    type = "S"
  }

  attribute {
    name = "due_at"
    type = "N"
  }

  # Sparse: only rows that wait for something carry the two attributes, so asking for what is due reads nothing else.
  global_secondary_index {
    name            = "due"
    hash_key        = "due_bucket"
    range_key       = "due_at"
    projection_type = "ALL"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

# The layout of Iceberg's Java `DynamoDbLockManager`, so that Spark and Flink writers and Icepress exclude each other.
# No expiry of rows: a lock that vanished on a timer would let two writers in.
resource "aws_dynamodb_table" "lock" {
  count = var.create_lock_table ? 1 : 0

  name                        = var.lock_table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "entityId"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "entityId"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

data "aws_dynamodb_table" "lock" {
  count = var.create_lock_table ? 0 : 1
  name  = var.lock_table_name
}
