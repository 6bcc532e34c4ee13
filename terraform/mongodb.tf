resource "aws_secretsmanager_secret" "mongodb_uri" {
  name                    = local.name.mongodb_uri
  description             = "The MongoDB URI that clips' documents are written to."
  recovery_window_in_days = var.force_destroy ? 0 : 30
  tags                    = var.tags
}

resource "aws_secretsmanager_secret_version" "mongodb_uri" {
  secret_id                = aws_secretsmanager_secret.mongodb_uri.id
  secret_string_wo         = var.mongodb_uri
  secret_string_wo_version = var.mongodb_uri_version
}

# The indexes are made here and not on a cold start. Whatever changes about store, the database and its URI included,
# publishes a version.
resource "aws_lambda_invocation" "indexes" {
  function_name = aws_lambda_function.this["store"].function_name
  qualifier     = aws_lambda_alias.live["store"].name
  input         = jsonencode({ ensureIndexes = true })
  triggers      = { version = aws_lambda_alias.live["store"].function_version }
}
