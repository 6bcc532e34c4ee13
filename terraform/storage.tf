locals {
  # The buckets that this module creates.
  buckets = merge({ packages = aws_s3_bucket.packages }, { for bucket in aws_s3_bucket.clips : "clips" => bucket })
}

resource "aws_s3_bucket" "clips" {
  # checkov:skip=CKV_AWS_18: Server access logs need a bucket that a module cannot choose.
  # checkov:skip=CKV_AWS_144: Replication needs a bucket in another region that a module cannot choose.
  # checkov:skip=CKV_AWS_145: S3's own key encrypts the clips, so that readers need no permission for a key.
  # checkov:skip=CKV2_AWS_62: Outcomes are announced by SNS.
  count = var.clips_bucket == null ? 1 : 0

  bucket        = local.name.bucket
  force_destroy = var.force_destroy
  tags          = var.tags
}

resource "aws_s3_bucket_versioning" "clips" {
  count = length(aws_s3_bucket.clips)

  bucket = aws_s3_bucket.clips[0].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket" "packages" {
  # checkov:skip=CKV_AWS_18: Only Lambda reads the packages, when the deployment changes.
  # checkov:skip=CKV_AWS_21: A package's name holds its hash, so that nothing is overwritten.
  # checkov:skip=CKV_AWS_144: The packages can be built and uploaded again.
  # checkov:skip=CKV_AWS_145: The packages are not secret.
  # checkov:skip=CKV2_AWS_61: Terraform deletes the packages that it replaces.
  # checkov:skip=CKV2_AWS_62: Nobody waits for a package.
  bucket        = local.name.packages
  force_destroy = true
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.buckets

  bucket = each.value.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets

  bucket = each.value.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.buckets

  bucket = each.value.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [for suffix in ["", "/*"] : "arn:${local.partition}:s3:::${each.value.bucket}${suffix}"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      each.key == "clips" && var.clips_bucket_policy != null ? jsondecode(var.clips_bucket_policy).Statement : [],
    )
  })

  # S3 refuses a policy while it changes the public access block.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "clips" {
  # checkov:skip=CKV_AWS_300: abort_uploads_after_days sets the period.
  count = length(aws_s3_bucket.clips)

  bucket = aws_s3_bucket.clips[0].id

  # A task can be redriven for 14 days. After that, nothing waits for its job.
  rule {
    id     = "expire-waiting-tasks"
    status = "Enabled"

    filter {
      prefix = "tasks/"
    }

    expiration {
      days = 15
    }
  }

  dynamic "rule" {
    for_each = var.abort_uploads_after_days == null ? [] : [var.abort_uploads_after_days]

    content {
      id     = "abort-unfinished-uploads"
      status = "Enabled"

      filter {}

      abort_incomplete_multipart_upload {
        days_after_initiation = rule.value
      }
    }
  }

  dynamic "rule" {
    for_each = var.expire_noncurrent_after_days == null ? [] : [var.expire_noncurrent_after_days]

    content {
      id     = "expire-noncurrent-versions"
      status = "Enabled"

      filter {}

      noncurrent_version_expiration {
        noncurrent_days = rule.value
      }

      # A deleted object leaves a marker, which is useless once its versions are gone.
      expiration {
        expired_object_delete_marker = true
      }
    }
  }

  # Rules about versions are refused before versioning is enabled.
  depends_on = [aws_s3_bucket_versioning.clips]
}
