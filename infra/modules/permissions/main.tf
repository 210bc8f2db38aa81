# What each function may do, a policy each: nothing in any names a service, a table, a queue or a prefix that it does not use.
# Neither scheduler nor optimizer may delete an object, since a rewrite that went wrong must not be able to. The cleaner's role alone
# may, and only under the tables' locations.

data "aws_partition" "current" {}
data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  partition   = data.aws_partition.current.partition
  glue_prefix = "arn:${local.partition}:glue:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}"

  glue_resources = concat(
    ["${local.glue_prefix}:catalog"],
    [for database in var.glue_databases : "${local.glue_prefix}:database/${database}"],
    [for database in var.glue_databases : "${local.glue_prefix}:table/${database}/*"],
  )

  # To find all tables, load them and move their pointers.
  glue_of_all_tables = [
    "glue:GetCatalog",
    "glue:GetDatabase",
    "glue:GetDatabases",
    "glue:GetTable",
    "glue:GetTables",
    "glue:UpdateTable",
  ]

  locations = [for location in var.table_locations : trimsuffix(location, "/")]

  location_buckets = distinct([
    for location in local.locations : "arn:${local.partition}:s3:::${split("/", location)[0]}"
  ])

  location_objects = [for location in local.locations : "arn:${local.partition}:s3:::${location}/*"]

  # Manifests, manifest lists and metadata files, whether the location is a warehouse, a database or one table.
  location_metadata = flatten([
    for location in local.locations : [
      "arn:${local.partition}:s3:::${location}/metadata/*",
      "arn:${local.partition}:s3:::${location}/*/metadata/*",
    ]
  ])

  # Transactions are authorised by the actions they consist of, ConditionCheckItem among them.
  row_actions = [
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
  ]
}

data "aws_iam_policy_document" "common" {
  statement {
    sid       = "StateRows"
    actions   = local.row_actions
    resources = [var.state_table_arn]
  }

  statement {
    sid       = "StateDueIndex"
    actions   = ["dynamodb:Query"]
    resources = ["${var.state_table_arn}/index/due"]
  }

  statement {
    sid       = "CommitLock"
    actions   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [var.lock_table_arn]
  }

  statement {
    sid       = "Payloads"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${var.payload_bucket_arn}/*"]
  }

  statement {
    sid       = "ReadTables"
    actions   = ["s3:GetObject"]
    resources = local.location_objects
  }

  # Without it S3 says "forbidden" of an object that is not there, and a vanished file could not be told from a missing permission.
  # It covers the whole bucket: S3 knows no prefix when it decides between the two answers.
  statement {
    sid       = "TellMissingFromForbidden"
    actions   = ["s3:ListBucket"]
    resources = concat(local.location_buckets, [var.payload_bucket_arn])
  }

  # Iceberg's own catalog on DynamoDB: rows are read and moved, never made and never deleted.
  dynamic "statement" {
    for_each = length(var.catalog_table_arns) == 0 ? [] : [var.catalog_table_arns]

    content {
      sid       = "CatalogRows"
      actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.catalog_table_arns) == 0 ? [] : [var.catalog_table_arns]

    content {
      sid       = "CatalogListing"
      actions   = ["dynamodb:Query"]
      resources = [for arn in statement.value : "${arn}/index/namespace-identifier"]
    }
  }

  # Catalogs of other accounts, each as the role that it names; the role's own account has to trust this one.
  dynamic "statement" {
    for_each = length(var.assumed_role_arns) == 0 ? [] : [var.assumed_role_arns]

    content {
      sid       = "WorkAsOthers"
      actions   = ["sts:AssumeRole", "sts:TagSession"]
      resources = statement.value
    }
  }

  # Secrets that catalogs name instead of writing them down, read once at a function's start.
  dynamic "statement" {
    for_each = length(var.secret_arns) == 0 ? [] : [var.secret_arns]

    content {
      sid       = "ReadSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.parameter_arns) == 0 ? [] : [var.parameter_arns]

    content {
      sid       = "ReadParameters"
      actions   = ["ssm:GetParameter"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.secret_kms_key_arns) == 0 ? [] : [var.secret_kms_key_arns]

    content {
      sid       = "SecretKeys"
      actions   = ["kms:Decrypt"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "OwnKey"
      actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = length(var.table_kms_key_arns) == 0 ? [] : [var.table_kms_key_arns]

    content {
      sid       = "TableKeys"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
      resources = statement.value
    }
  }

  # Its REST endpoint asks for these, and for the data in the functions' own name.
  dynamic "statement" {
    for_each = length(var.table_bucket_arns) > 0 ? [concat(var.table_bucket_arns, [for arn in var.table_bucket_arns : "${arn}/table/*"])] : []
    content {
      sid = "TableBuckets"
      actions = [
        "s3tables:GetNamespace",
        "s3tables:GetTable",
        "s3tables:GetTableBucket",
        "s3tables:GetTableData",
        "s3tables:GetTableMetadataLocation",
        "s3tables:ListNamespaces",
        "s3tables:ListTables",
        "s3tables:PutTableData",
        "s3tables:UpdateTableMetadataLocation",
      ]
      resources = statement.value
    }
  }

}

# Said as a denial too, so that no policy that somebody attaches later undoes it by accident.
data "aws_iam_policy_document" "never_delete" {
  statement {
    sid    = "NeverDelete"
    effect = "Deny"
    actions = [
      "s3:DeleteBucket*",
      "s3:DeleteObject*",
      "s3:PutLifecycleConfiguration",
    ]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "scheduler" {
  source_policy_documents = [
    data.aws_iam_policy_document.common.json,
    data.aws_iam_policy_document.never_delete.json,
  ]

  statement {
    sid       = "QueueTasks"
    actions   = ["sqs:SendMessage"]
    resources = concat(var.queue_arns, var.cleaner_queue_arns)
  }

  # What is not in the queues any more is sent again, and nothing else.
  statement {
    sid       = "SeeBacklog"
    actions   = ["sqs:GetQueueAttributes"]
    resources = concat(var.queue_arns, var.dead_queue_arns, var.cleaner_queue_arns)
  }

  statement {
    sid = "HandOut"
    actions = [
      "sqs:ChangeMessageVisibility",
      "sqs:DeleteMessage",
      "sqs:GetQueueAttributes",
      "sqs:ReceiveMessage",
      "sqs:SendMessage",
    ]
    resources = [var.errands_queue_arn]
  }

  # UpdateTable, because the next scheduler commits what optimizers finished and nobody committed.
  statement {
    sid       = "Catalog"
    actions   = local.glue_of_all_tables
    resources = local.glue_resources
  }

  statement {
    sid       = "WriteTableMetadata"
    actions   = concat(["s3:AbortMultipartUpload", "s3:PutObject"], var.write_extras)
    resources = local.location_metadata
  }
}

data "aws_iam_policy_document" "optimizer" {
  source_policy_documents = [
    data.aws_iam_policy_document.common.json,
    data.aws_iam_policy_document.never_delete.json,
  ]

  statement {
    sid = "WorkTasks"
    actions = [
      "sqs:ChangeMessageVisibility",
      "sqs:DeleteMessage",
      "sqs:GetQueueAttributes",
      "sqs:ReceiveMessage",
      "sqs:SendMessage",
    ]
    resources = var.queue_arns
  }

  statement {
    sid       = "Catalog"
    actions   = ["glue:GetCatalog", "glue:GetDatabase", "glue:GetTable", "glue:UpdateTable"]
    resources = local.glue_resources
  }

  statement {
    sid       = "WriteTables"
    actions   = concat(["s3:AbortMultipartUpload", "s3:PutObject"], var.write_extras)
    resources = local.location_objects
  }
}

data "aws_iam_policy_document" "cleaner" {
  source_policy_documents = [data.aws_iam_policy_document.common.json]

  dynamic "statement" {
    for_each = length(var.cleaner_queue_arns) == 0 ? [] : [var.cleaner_queue_arns]

    content {
      sid = "WorkTasks"
      actions = [
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
      ]
      resources = statement.value
    }
  }

  # All tables are asked where they lie before any file is taken for nobody's.
  statement {
    sid       = "Catalog"
    actions   = local.glue_of_all_tables
    resources = local.glue_resources
  }

  # What Glue keeps of a table's entry from before metadata files that are gone.
  statement {
    sid       = "ForgetTableVersions"
    actions   = ["glue:DeleteTableVersion", "glue:GetTableVersions"]
    resources = concat(local.glue_resources, [for database in var.glue_databases : "${local.glue_prefix}:tableVersion/${database}/*"])
  }

  # The metadata that lets go of snapshots, and beside it the list of what is to be deleted.
  statement {
    sid       = "WriteTableMetadata"
    actions   = concat(["s3:AbortMultipartUpload", "s3:PutObject"], var.write_extras)
    resources = local.location_metadata
  }

  statement {
    sid       = "DeleteFilesOfTables"
    actions   = ["s3:DeleteObject"]
    resources = local.location_objects
  }

  # What lies under the tables' locations, as S3 itself has written it down.
  dynamic "statement" {
    for_each = length(var.inventory_locations) == 0 ? [] : [var.inventory_locations]

    content {
      sid       = "ReadInventories"
      actions   = ["s3:GetObject"]
      resources = [for location in statement.value : "arn:${local.partition}:s3:::${location}/*"]
    }
  }

  dynamic "statement" {
    for_each = length(var.inventory_locations) == 0 ? [] : [var.inventory_locations]

    content {
      sid       = "FindInventories"
      actions   = ["s3:ListBucket"]
      resources = distinct([for location in statement.value : "arn:${local.partition}:s3:::${split("/", location)[0]}"])
    }
  }

  # Files that nothing refers to are marked by a tag before they go, and the tag is taken off what is needed again.
  dynamic "statement" {
    for_each = var.marks_orphans ? [local.location_objects] : []

    content {
      sid       = "MarkOrphans"
      actions   = ["s3:DeleteObjectTagging", "s3:GetObjectTagging", "s3:PutObjectTagging"]
      resources = statement.value
    }
  }

  # Older versions of objects stay, where a bucket keeps them, and so does everything that is no table's.
  statement {
    sid    = "NeverMore"
    effect = "Deny"
    actions = [
      "s3:DeleteBucket*",
      "s3:DeleteObjectVersion*",
      "s3:PutLifecycleConfiguration",
    ]
    resources = ["*"]
  }

  statement {
    sid           = "NeverElsewhere"
    effect        = "Deny"
    actions       = ["s3:DeleteObject"]
    not_resources = local.location_objects
  }
}
