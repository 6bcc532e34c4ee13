locals {
  # The variables that a property of a function in local.functions sets, besides its own variables.
  function_environment = {
    for name, function in local.functions : name => merge(
      { CLIPFLOW_LOG = var.log_filter },
      function.environment,
      function.ffmpeg ? { CLIPFLOW_SCRATCH_BYTES = function.scratch_mb * 1024 * 1024 } : {},
      function.mongodb ? {
        CLIPFLOW_MONGODB_URI_SECRET = local.name.mongodb_uri
        CLIPFLOW_MONGODB_DATABASE   = var.mongodb_database
        # Nothing reads this. It replaces running environments when the URI changes, because they cache the old one.
        CLIPFLOW_MONGODB_URI_VERSION = aws_secretsmanager_secret_version.mongodb_uri.secret_string_wo_version
      } : {},
      function.mongodb && var.mongodb_ca_file != null ? { CLIPFLOW_MONGODB_CA_FILE = "/opt/${local.ca_file_name}" } : {},
    )
  }
}

# Packages are uploaded through S3: the provider uploads files to Lambda one function after the other, but creates
# functions whose code is in S3 concurrently. Their names contain their hashes, so that a changed package is a new
# object.
resource "aws_s3_object" "package" {
  for_each = setunion(keys(local.functions), ["ffmpeg-layer"])

  bucket = aws_s3_bucket.packages.id
  key    = "${each.key}-${filesha256("${var.package_dir}/${each.key}.zip")}.zip"
  source = "${var.package_dir}/${each.key}.zip"
}

resource "aws_lambda_layer_version" "ffmpeg" {
  layer_name               = "${var.name_prefix}-ffmpeg"
  description              = "ffmpeg and ffprobe in /opt/bin."
  s3_bucket                = aws_s3_object.package["ffmpeg-layer"].bucket
  s3_key                   = aws_s3_object.package["ffmpeg-layer"].key
  compatible_architectures = [var.architecture]
  compatible_runtimes      = ["provided.al2023"]
}

resource "aws_cloudwatch_log_group" "function" {
  # checkov:skip=CKV_AWS_158: Logs hold neither media nor secrets, and CloudWatch encrypts them with its own key.
  # checkov:skip=CKV_AWS_338: log_retention_days sets the period.
  for_each = local.functions

  name              = "/aws/lambda/${var.name_prefix}-${each.key}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_115: Reserved concurrency starves the other functions of a new account, which has ten in all; trim_reserved_concurrency sets it.
  # checkov:skip=CKV_AWS_116: No invocation is asynchronous, and the queues that invoke functions have dead-letter queues.
  # checkov:skip=CKV_AWS_173: No environment variable is secret, and Lambda encrypts them with its own key.
  # checkov:skip=CKV_AWS_272: The packages come from a bucket that only the deployment writes.
  for_each = local.functions

  function_name = "${var.name_prefix}-${each.key}"
  description   = each.value.description
  role          = aws_iam_role.function[each.key].arn
  s3_bucket     = aws_s3_object.package[each.key].bucket
  s3_key        = aws_s3_object.package[each.key].key
  runtime       = "provided.al2023"
  handler       = "bootstrap"
  architectures = [var.architecture]
  layers = concat(
    each.value.ffmpeg ? [aws_lambda_layer_version.ffmpeg.arn] : [],
    each.value.mongodb ? aws_lambda_layer_version.mongodb_ca[*].arn : [],
  )
  memory_size = each.value.memory_mb
  timeout     = each.value.timeout_seconds
  publish     = true
  tags        = var.tags

  reserved_concurrent_executions = each.value.reserved

  environment {
    variables = local.function_environment[each.key]
  }

  ephemeral_storage {
    size = each.value.scratch_mb
  }

  # Lambda filters no levels; log_filter alone decides.
  logging_config {
    log_format            = "JSON"
    log_group             = aws_cloudwatch_log_group.function[each.key].name
    application_log_level = "TRACE"
  }

  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  dynamic "vpc_config" {
    for_each = each.value.mongodb && var.vpc != null ? [var.vpc] : []

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  # The first invocation needs the permissions, and functions in a VPC need them to be created at all.
  depends_on = [aws_iam_role_policy.function]
}

# To Step Functions, a function that does not start has the same error as one that was killed. So each new version is
# asked whether it starts, and a release goes live only if all of its functions do.
resource "aws_lambda_invocation" "self_check" {
  for_each = local.functions

  function_name = aws_lambda_function.this[each.key].function_name
  qualifier     = aws_lambda_function.this[each.key].version
  input         = jsonencode({ selfCheck = true })
  triggers      = { version = aws_lambda_function.this[each.key].version }
}

# Callers invoke functions through this alias, so that a fixed function takes effect in redriven executions.
resource "aws_lambda_alias" "live" {
  for_each = local.functions

  name             = "live"
  function_name    = aws_lambda_function.this[each.key].function_name
  function_version = aws_lambda_function.this[each.key].version

  depends_on = [aws_lambda_invocation.self_check]
}
