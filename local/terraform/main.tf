# The deployment of the local stack: the same module as on AWS, plus its surroundings: a source bucket, and a subscriber
# that stores the outcomes.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  backend "local" {}
}

variable "endpoint" {
  description = "URL of the AWS APIs."
  type        = string
}

variable "region" {
  description = "The region that the AWS APIs play."
  type        = string
}

variable "package_dir" {
  description = "Folder with the packed functions and the FFmpeg layer."
  type        = string
}

variable "architecture" {
  description = "Instruction set of this machine: x86_64 or arm64."
  type        = string
}

variable "mongodb_uri" {
  description = "URI of the stack's mongod."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "mongodb_port" {
  description = "Port of the stack's mongod: the URI differs exactly when the port does."
  type        = number
}

provider "aws" {
  region                      = var.region
  access_key                  = "test"
  secret_key                  = "test"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true

  endpoints {
    cloudwatch     = var.endpoint
    events         = var.endpoint
    iam            = var.endpoint
    lambda         = var.endpoint
    logs           = var.endpoint
    s3             = var.endpoint
    sfn            = var.endpoint
    sns            = var.endpoint
    sqs            = var.endpoint
    secretsmanager = var.endpoint
    sts            = var.endpoint
  }
}

module "clipflow" {
  source = "../../terraform"

  package_dir  = var.package_dir
  architecture = var.architecture
  # The second one does not exist: a request for it is allowed, and rejected because of that.
  source_buckets      = [aws_s3_bucket.sources.id, "clipflow-absent"]
  mongodb_uri         = var.mongodb_uri
  mongodb_uri_version = var.mongodb_port
  # Low, so that a clip of half a minute counts as long.
  max_trim_seconds = 20
  # One vCPU's worth: several clips are cut in parallel.
  trim_memory_mb = 1769
  # The clips' bucket, which the emulated S3 lets everyone read.
  public_base_url = "${var.endpoint}/clipflow-clips-000000000000-${var.region}"
  # A missing recording arrives within seconds, or never.
  recordings = {
    bucket        = aws_s3_bucket.sources.id
    wait_seconds  = 30
    retry_seconds = 2
  }
  # It always exists, even in the stand-in.
  mediaconvert_queue = "Default"
  # Nothing here lives for a day, and the provider waits almost a minute for the rule.
  abort_uploads_after_days     = null
  expire_noncurrent_after_days = null
  force_destroy                = true
}

resource "aws_s3_bucket" "sources" {
  bucket        = "clipflow-sources"
  force_destroy = true
}

# The rule for events of the stand-in for MediaConvert. Only AWS may send events from aws.mediaconvert, so the module's
# own rule never matches here; this one differs only in the source.
resource "aws_cloudwatch_event_rule" "mediaconvert" {
  name = "clipflow-local-mediaconvert"
  event_pattern = jsonencode({
    source      = ["local.mediaconvert"]
    detail-type = ["MediaConvert Job State Change"]
    detail = {
      status       = ["PROGRESSING", "STATUS_UPDATE", "COMPLETE", "ERROR", "CANCELED"]
      userMetadata = { clipflow = [module.clipflow.name_prefix] }
    }
  })
}

resource "aws_cloudwatch_event_target" "mediaconvert" {
  rule = aws_cloudwatch_event_rule.mediaconvert.name
  arn  = "arn:aws:sqs:${var.region}:000000000000:${module.clipflow.name_prefix}-resume-events"
}

resource "aws_sqs_queue" "subscriber" {
  name = "clipflow-subscriber"
}

resource "aws_sns_topic_subscription" "subscriber" {
  topic_arn = module.clipflow.topic_arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.subscriber.arn
}

output "deployment" {
  description = "The module's outputs, and the surroundings."
  value = merge(module.clipflow, {
    source_bucket        = aws_s3_bucket.sources.id
    subscriber_queue_url = aws_sqs_queue.subscriber.url
  })
}
