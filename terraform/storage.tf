resource "aws_s3_bucket" "clips" {
  bucket        = local.name.bucket
  force_destroy = var.force_destroy
  tags          = var.tags
}

resource "aws_s3_bucket_versioning" "clips" {
  bucket = aws_s3_bucket.clips.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket" "packages" {
  bucket        = local.name.packages
  force_destroy = true
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = { clips = aws_s3_bucket.clips.id, packages = aws_s3_bucket.packages.id }

  bucket = each.value

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = { clips = aws_s3_bucket.clips.id, packages = aws_s3_bucket.packages.id }

  bucket = each.value

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = { clips = aws_s3_bucket.clips.id, packages = aws_s3_bucket.packages.id }

  bucket = each.value

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "clips" {
  count = var.abort_uploads_after_days == null ? 0 : 1

  bucket = aws_s3_bucket.clips.id

  rule {
    id     = "abort-unfinished-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = var.abort_uploads_after_days
    }
  }
}
