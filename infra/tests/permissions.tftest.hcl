# What the two roles may do, judged on the policies as AWS will get them: the real provider writes them, and no call is made.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "123456789012"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = true
}

override_data {
  target = data.aws_caller_identity.current
  values = {
    account_id = "123456789012"
  }
}

variables {
  state_table_arn    = "arn:aws:dynamodb:eu-central-1:123456789012:table/icepress-state"
  lock_table_arn     = "arn:aws:dynamodb:eu-central-1:123456789012:table/icepress-locks"
  queue_arns         = ["arn:aws:sqs:eu-central-1:123456789012:icepress-tasks-0", "arn:aws:sqs:eu-central-1:123456789012:icepress-tasks-1"]
  dead_queue_arns    = ["arn:aws:sqs:eu-central-1:123456789012:icepress-tasks-0-dlq", "arn:aws:sqs:eu-central-1:123456789012:icepress-tasks-1-dlq"]
  errands_queue_arn  = "arn:aws:sqs:eu-central-1:123456789012:icepress-errands"
  cleaner_queue_arns = ["arn:aws:sqs:eu-central-1:123456789012:icepress-cleaner"]
  payload_bucket_arn = "arn:aws:s3:::icepress-payload"
  table_locations    = ["lake/warehouse/", "marts"]
  glue_databases     = ["raw"]
  kms_key_arn        = null
  table_kms_key_arns = []
}

run "policies" {
  command = apply

  module {
    source = "./modules/permissions"
  }

  assert {
    condition = length(flatten([
      for policy in [output.optimizer_policy_json, output.scheduler_policy_json] : [
        for statement in jsondecode(policy).Statement : [
          for action in flatten([statement.Action]) : action
          if statement.Effect == "Allow" && can(regex("(?i)^s3:(\\*|delete|putlifecycle)|^\\*", action))
        ]
      ]
    ])) == 0
    error_message = "a function is allowed to delete objects"
  }

  assert {
    condition = alltrue([
      for policy in [output.optimizer_policy_json, output.scheduler_policy_json] : anytrue([
        for statement in jsondecode(policy).Statement :
        statement.Effect == "Deny" && statement.Resource == "*" && contains(flatten([statement.Action]), "s3:DeleteObject*") && !can(statement.Condition)
      ])
    ])
    error_message = "deleting objects is not denied outright to both functions"
  }

  assert {
    condition = length(flatten([
      for policy in [output.optimizer_policy_json, output.scheduler_policy_json] : [
        for statement in jsondecode(policy).Statement : [
          for action in flatten([statement.Action]) : action
          if statement.Effect == "Allow" && (can(regex("\\*", action)) || contains(flatten([statement.Resource]), "*"))
        ]
      ]
    ])) == 0
    error_message = "a function is allowed a wildcard action, or an action on everything"
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.cleaner_policy_json).Statement : lookup(statement, "Resource", "")
      if statement.Effect == "Allow" && anytrue([for action in flatten([statement.Action]) : can(regex("(?i)^s3:delete", action))])
    ])) == toset(["arn:aws:s3:::lake/warehouse/*", "arn:aws:s3:::marts/*"])
    error_message = "the cleaner must delete under the tables' locations, and nowhere else"
  }

  assert {
    condition = length(flatten([
      for statement in jsondecode(output.cleaner_policy_json).Statement : [
        for action in flatten([statement.Action]) : action
        if statement.Effect == "Allow" && (can(regex("\\*", action)) || contains(flatten([lookup(statement, "Resource", "")]), "*"))
      ]
    ])) == 0
    error_message = "the cleaner is allowed a wildcard action, or an action on everything"
  }

  assert {
    condition = anytrue([
      for statement in jsondecode(output.cleaner_policy_json).Statement :
      statement.Effect == "Deny" && contains(flatten([statement.Action]), "s3:DeleteObjectVersion*") && lookup(statement, "Resource", "") == "*"
    ])
    error_message = "the cleaner must never delete a version of an object"
  }

  assert {
    condition = length(setsubtract(["glue:GetDatabases", "glue:GetTables", "s3:ListBucket"], flatten([
      for statement in jsondecode(output.cleaner_policy_json).Statement : statement.Action if statement.Effect == "Allow"
    ]))) == 0
    error_message = "the cleaner must find out where all tables lie, and what lies in their folders"
  }

  assert {
    condition     = !can(regex("ObjectTagging|Inventories", output.cleaner_policy_json))
    error_message = "the cleaner may tag objects, or read inventories, without being asked to"
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.cleaner_policy_json).Statement : lookup(statement, "Resource", "")
      if statement.Effect == "Allow" && anytrue([for action in flatten([statement.Action]) : can(regex("^sqs:", action))])
    ])) == toset(var.cleaner_queue_arns)
    error_message = "the cleaner must see its own queue and no other"
  }

  assert {
    condition = length(flatten([
      for statement in jsondecode(output.optimizer_policy_json).Statement : [
        for resource in flatten([statement.Resource]) : resource
        if statement.Effect == "Allow" && contains(var.cleaner_queue_arns, resource)
      ]
    ])) == 0
    error_message = "the optimizer must not see the cleaner's queue"
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.optimizer_policy_json).Statement : statement.Resource
      if statement.Effect == "Allow" && contains(flatten([statement.Action]), "s3:PutObject")
      ])) == toset([
      "arn:aws:s3:::icepress-payload/*",
      "arn:aws:s3:::lake/warehouse/*",
      "arn:aws:s3:::marts/*",
    ])
    error_message = "the optimizer must write under the table locations and the payloads, and nowhere else"
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.scheduler_policy_json).Statement : statement.Resource
      if statement.Effect == "Allow" && contains(flatten([statement.Action]), "s3:PutObject")
      ])) == toset([
      "arn:aws:s3:::icepress-payload/*",
      "arn:aws:s3:::lake/warehouse/metadata/*",
      "arn:aws:s3:::lake/warehouse/*/metadata/*",
      "arn:aws:s3:::marts/metadata/*",
      "arn:aws:s3:::marts/*/metadata/*",
    ])
    error_message = "the scheduler must write metadata and payloads only, never data files"
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.scheduler_policy_json).Statement : statement.Action
      if statement.Effect == "Allow" && anytrue([for resource in flatten([statement.Resource]) : contains(var.queue_arns, resource)])
    ])) == toset(["sqs:SendMessage", "sqs:GetQueueAttributes"])
    error_message = "the scheduler sends to the task queues and sees how much lies in them, and that is all it does with them"
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.scheduler_policy_json).Statement : statement.Resource
      if statement.Effect == "Allow" && contains(flatten([statement.Action]), "sqs:ReceiveMessage")
    ])) == toset([var.errands_queue_arn])
    error_message = "the scheduler must take errands, and no tasks"
  }

  assert {
    condition = length([
      for statement in jsondecode(output.optimizer_policy_json).Statement : statement
      if statement.Effect == "Allow" && contains(flatten([statement.Resource]), var.errands_queue_arn)
    ]) == 0
    error_message = "an optimizer has no errands"
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.optimizer_policy_json).Statement : statement.Resource
      if statement.Effect == "Allow" && contains(flatten([statement.Action]), "glue:UpdateTable")
      ])) == toset([
      "arn:aws:glue:eu-central-1:123456789012:catalog",
      "arn:aws:glue:eu-central-1:123456789012:database/raw",
      "arn:aws:glue:eu-central-1:123456789012:table/raw/*",
    ])
    error_message = "the optimizer must update tables of the named Glue databases only"
  }
}

run "own_key" {
  command = apply

  module {
    source = "./modules/permissions"
  }

  variables {
    kms_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/own"
    table_kms_key_arns = ["arn:aws:kms:eu-central-1:123456789012:key/lake"]
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.optimizer_policy_json).Statement : statement.Resource
      if contains(flatten([statement.Action]), "kms:GenerateDataKey*")
    ])) == toset(["arn:aws:kms:eu-central-1:123456789012:key/own", "arn:aws:kms:eu-central-1:123456789012:key/lake"])
    error_message = "the functions must be able to use the keys, and only these"
  }
}

run "table_buckets" {
  command = apply

  module {
    source = "./modules/permissions"
  }

  variables {
    table_bucket_arns = ["arn:aws:s3tables:eu-central-1:123456789012:bucket/lake"]
  }

  assert {
    condition = alltrue([
      for policy in [output.optimizer_policy_json, output.scheduler_policy_json] : toset(flatten([
        for statement in jsondecode(policy).Statement : statement.Resource
        if statement.Effect == "Allow" && contains(flatten([statement.Action]), "s3tables:UpdateTableMetadataLocation")
        ])) == toset([
        "arn:aws:s3tables:eu-central-1:123456789012:bucket/lake",
        "arn:aws:s3tables:eu-central-1:123456789012:bucket/lake/table/*",
      ])
    ])
    error_message = "both functions must commit to the table buckets of the catalogs, and to no others"
  }
}

run "every_bucket" {
  command = apply

  module {
    source = "./modules/permissions"
  }

  variables {
    table_locations = ["*"]
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.optimizer_policy_json).Statement : statement.Resource
      if statement.Effect == "Allow" && contains(flatten([statement.Action]), "s3:PutObject")
    ])) == toset(["arn:aws:s3:::icepress-payload/*", "arn:aws:s3:::*/*"])
    error_message = "* must mean every bucket"
  }

  assert {
    condition = anytrue([
      for statement in jsondecode(output.optimizer_policy_json).Statement :
      statement.Effect == "Deny" && statement.Resource == "*" && contains(flatten([statement.Action]), "s3:DeleteObject*")
    ])
    error_message = "deleting must stay denied whatever the locations"
  }
}

run "other_catalogs" {
  command = apply

  module {
    source = "./modules/permissions"
  }

  variables {
    catalog_table_arns = ["arn:aws:dynamodb:eu-central-1:123456789012:table/iceberg"]
    assumed_role_arns  = ["arn:aws:iam::210987654321:role/upkeep"]
  }

  assert {
    condition = alltrue([
      for policy in [output.optimizer_policy_json, output.scheduler_policy_json] : toset(flatten([
        for statement in jsondecode(policy).Statement : flatten([statement.Resource]) if contains(flatten([statement.Action]), "sts:AssumeRole")
      ])) == toset(["arn:aws:iam::210987654321:role/upkeep"])
    ])
    error_message = "the functions may become others than the roles that were named, or not these"
  }

  assert {
    condition = alltrue([
      for policy in [output.optimizer_policy_json, output.scheduler_policy_json] : toset(flatten([
        for statement in jsondecode(policy).Statement : flatten([statement.Action]) if contains(flatten([statement.Resource]), "arn:aws:dynamodb:eu-central-1:123456789012:table/iceberg")
      ])) == toset(["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem"])
    ])
    error_message = "the catalog's rows may be made or deleted, or not be moved"
  }
}

run "secrets_and_what_is_written_besides" {
  command = apply

  module {
    source = "./modules/permissions"
  }

  variables {
    secret_arns         = ["arn:aws:secretsmanager:eu-central-1:123456789012:secret:lake-AbCdEf"]
    parameter_arns      = ["arn:aws:ssm:eu-central-1:123456789012:parameter/prod/token"]
    secret_kms_key_arns = ["arn:aws:kms:eu-central-1:123456789012:key/secrets"]
    write_extras        = ["s3:PutObjectTagging"]
  }

  assert {
    condition = alltrue([
      for policy in [output.optimizer_policy_json, output.scheduler_policy_json] : toset([
        for statement in jsondecode(policy).Statement : "${join(",", flatten([statement.Action]))} ${join(",", flatten([statement.Resource]))}"
        if can(regex("secretsmanager|ssm|key/secrets", jsonencode(statement)))
        ]) == toset([
        "secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-central-1:123456789012:secret:lake-AbCdEf",
        "ssm:GetParameter arn:aws:ssm:eu-central-1:123456789012:parameter/prod/token",
        "kms:Decrypt arn:aws:kms:eu-central-1:123456789012:key/secrets",
      ])
    ])
    error_message = "a function may read other secrets than the ones that were named, or do more with them than read"
  }

  assert {
    condition = alltrue([
      for policy in [output.optimizer_policy_json, output.scheduler_policy_json] : length([
        for statement in jsondecode(policy).Statement : statement
        if contains(flatten([statement.Action]), "s3:PutObjectTagging") && startswith(statement.Sid, "WriteTable")
      ]) == 1
    ])
    error_message = "objects with tags can't be written, or more than a table's may get them"
  }
}

run "inventories_and_marks" {
  command = apply

  module {
    source = "./modules/permissions"
  }

  variables {
    inventory_locations = ["audits/of/lake/all", "audits/of/marts/all"]
    marks_orphans       = true
  }

  assert {
    condition = toset([
      for statement in jsondecode(output.cleaner_policy_json).Statement : "${join(",", sort(flatten([statement.Action])))} ${join(",", sort(flatten([statement.Resource])))}"
      if contains(["ReadInventories", "FindInventories", "MarkOrphans"], lookup(statement, "Sid", ""))
      ]) == toset([
      "s3:GetObject arn:aws:s3:::audits/of/lake/all/*,arn:aws:s3:::audits/of/marts/all/*",
      "s3:ListBucket arn:aws:s3:::audits",
      "s3:DeleteObjectTagging,s3:GetObjectTagging,s3:PutObjectTagging arn:aws:s3:::lake/warehouse/*,arn:aws:s3:::marts/*",
    ])
    error_message = "the cleaner must read its inventories and tag objects of tables, and no others"
  }

  assert {
    condition = alltrue([
      for policy in [output.optimizer_policy_json, output.scheduler_policy_json] : !can(regex("audits|ObjectTagging", policy))
    ])
    error_message = "nobody but the cleaner has a use for inventories and marks"
  }
}
