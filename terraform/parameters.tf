resource "aws_ssm_parameter" "mongodb_uri" {
  name             = local.name.mongodb_uri
  description      = "The MongoDB URI that clips' documents are written to."
  type             = "SecureString"
  value_wo         = var.mongodb_uri
  value_wo_version = var.mongodb_uri_version
  tags             = var.tags
}

# The indexes are made here, once a release or database, and not on a cold start.
resource "aws_lambda_invocation" "indexes" {
  function_name = aws_lambda_function.this["store"].function_name
  qualifier     = aws_lambda_alias.live["store"].name
  input         = jsonencode({ ensureIndexes = true })

  triggers = {
    package     = aws_lambda_function.this["store"].s3_key
    database    = var.mongodb_database
    uri_version = var.mongodb_uri_version
  }

  depends_on = [aws_ssm_parameter.mongodb_uri]
}
