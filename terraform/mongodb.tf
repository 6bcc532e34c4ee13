resource "aws_secretsmanager_secret" "mongodb_uri" {
  # checkov:skip=CKV_AWS_149: The key aws/secretsmanager encrypts it. A key of your own adds a permission to every reader.
  # checkov:skip=CKV2_AWS_57: Terraform sets the URI. Whoever rotates the password applies again.
  name        = local.name.mongodb_uri
  description = "The MongoDB URI that clips' documents are written to."
  tags        = var.tags

  # Secrets Manager reserves the name of a deleted secret for this long. The next deployment needs the name, and sets
  # the URI again.
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "mongodb_uri" {
  secret_id                = aws_secretsmanager_secret.mongodb_uri.id
  secret_string_wo         = var.mongodb_uri
  secret_string_wo_version = var.mongodb_uri_version
}

# The indexes are created here and not on a cold start. Any change to store, including the database and its URI,
# publishes a version.
resource "aws_lambda_invocation" "indexes" {
  function_name = aws_lambda_function.this["store"].function_name
  qualifier     = aws_lambda_alias.live["store"].name
  input         = jsonencode({ ensureIndexes = true })
  triggers      = { version = aws_lambda_alias.live["store"].function_version }
}

# The CA bundle is a layer of the functions that talk to MongoDB. A layer is a zip archive, and the AWS provider cannot
# make one. An archive of one uncompressed file is that file between a few fixed fields, its checksum and its size; gzip
# output ends with the last two, in zip's format. ISO-8859-1 maps every byte to the character with that number, so the
# archive is built as text. PEM is ASCII, and every `replace` below works on code points: a checksum can contain CR LF,
# which `substr` and `length` count as one character.
locals {
  ca_file_name = "mongodb-ca.pem"
  ca_pem       = var.mongodb_ca_file == null ? "" : replace(file(var.mongodb_ca_file), "\r", "")

  ca_gzip     = base64gzip(local.ca_pem)
  ca_trailer  = textdecodebase64(substr(local.ca_gzip, length(local.ca_gzip) - 16, 16), "ISO-8859-1")
  ca_checksum = replace(local.ca_trailer, "/(?s)^.*(.{4}).{4}$/", "$1")
  ca_size     = replace(local.ca_trailer, "/(?s)^.*(.{4})$/", "$1")

  # Zip's numbers have two or four bytes, little-endian.
  zip_16 = { for name, number in local.zip_numbers : name => join("", slice(local.zip_bytes[name], 0, 2)) }
  zip_32 = { for name, number in local.zip_numbers : name => join("", local.zip_bytes[name]) }
  zip_numbers = {
    zero         = 0
    one          = 1
    version      = 20
    made_by      = 3 * 256 + 20 # Unix
    date         = 33           # 1 January 1980, so that equal bundles are equal archives
    name_length  = length(local.ca_file_name)
    mode         = 33188 * 65536 # a regular file that everyone may read
    entry_length = 46 + length(local.ca_file_name)
    entry_at     = 30 + length(local.ca_file_name) + length(local.ca_pem)
  }
  zip_bytes = {
    for name, number in local.zip_numbers : name => [
      for place in [1, 256, 65536, 16777216] : jsondecode(format("\"\\u%04x\"", floor(number / place) % 256))
    ]
  }
  # What the archive says about its file at the front and again at the end: no flags, stored, date, checksum, two sizes.
  zip_facts = join("", [
    local.zip_16.version, local.zip_16.zero, local.zip_16.zero, local.zip_16.zero, local.zip_16.date,
    local.ca_checksum, local.ca_size, local.ca_size, local.zip_16.name_length, local.zip_16.zero,
  ])
  ca_layer = join("", [
    "PK\u0003\u0004", local.zip_facts, local.ca_file_name, local.ca_pem,
    "PK\u0001\u0002", local.zip_16.made_by, local.zip_facts, local.zip_16.zero, local.zip_16.zero, local.zip_16.zero,
    local.zip_32.mode, local.zip_32.zero, local.ca_file_name,
    "PK\u0005\u0006", local.zip_16.zero, local.zip_16.zero, local.zip_16.one, local.zip_16.one,
    local.zip_32.entry_length, local.zip_32.entry_at, local.zip_16.zero,
  ])
}

resource "aws_s3_object" "mongodb_ca" {
  count = var.mongodb_ca_file == null ? 0 : 1

  bucket         = aws_s3_bucket.packages.id
  key            = "mongodb-ca-${sha256(local.ca_pem)}.zip"
  content_base64 = textencodebase64(local.ca_layer, "ISO-8859-1")
}

resource "aws_lambda_layer_version" "mongodb_ca" {
  count = length(aws_s3_object.mongodb_ca)

  layer_name  = "${var.name_prefix}-mongodb-ca"
  description = "The CA certificates that MongoDB's is checked against."
  s3_bucket   = aws_s3_object.mongodb_ca[0].bucket
  s3_key      = aws_s3_object.mongodb_ca[0].key
}
