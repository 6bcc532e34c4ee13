data "aws_partition" "current" {}
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  partition = data.aws_partition.current.partition
  # Provider 6 deprecates `name`, and provider 5 has no `region`.
  region     = data.aws_region.current.id
  account_id = data.aws_caller_identity.current.account_id

  # ARNs are composed from names if a reference would be a cycle (start needs the state machine, which needs the other
  # functions) or would make one resource wait for another unnecessarily.
  regional = "${local.region}:${local.account_id}"
  name = {
    state_machine = "${var.name_prefix}-clip"
    requests      = "${var.name_prefix}-requests"
    dead_letters  = "${var.name_prefix}-requests-dead"
    topic         = "${var.name_prefix}-outcomes"
    bucket        = coalesce(var.clips_bucket, "${var.name_prefix}-clips-${local.account_id}-${local.region}")
    packages      = "${var.name_prefix}-packages-${local.account_id}-${local.region}"
    mongodb_uri   = "${var.name_prefix}/mongodb-uri"
    mediaconvert  = "${var.name_prefix}-mediaconvert-${local.region}"
  }
  arn = {
    state_machine = "arn:${local.partition}:states:${local.regional}:stateMachine:${local.name.state_machine}"
    requests      = "arn:${local.partition}:sqs:${local.regional}:${local.name.requests}"
    dead_letters  = "arn:${local.partition}:sqs:${local.regional}:${local.name.dead_letters}"
    topic         = "arn:${local.partition}:sns:${local.regional}:${local.name.topic}"
    bucket        = "arn:${local.partition}:s3:::${local.name.bucket}"
    sources       = [for bucket in sort(var.source_buckets) : "arn:${local.partition}:s3:::${bucket}"]
    mongodb_uri   = "arn:${local.partition}:secretsmanager:${local.regional}:secret:${local.name.mongodb_uri}-??????"
    executions    = "arn:${local.partition}:states:${local.regional}:execution:${local.name.state_machine}:*"

    mediaconvert_role  = "arn:${local.partition}:iam::${local.account_id}:role/${local.name.mediaconvert}"
    mediaconvert_queue = "arn:${local.partition}:mediaconvert:${local.regional}:queues/${coalesce(var.mediaconvert_queue, var.name_prefix)}"
    mediaconvert_jobs  = "arn:${local.partition}:mediaconvert:${local.regional}:jobs/*"
  }

  # Each entry defines the function, its role, log group and alias. `permissions` names entries of local.permissions.
  # The state machine invokes functions with `state`, EventBridge those with an `event_pattern`. The last lines contain
  # the defaults.
  functions = {
    for name, function in {
      start = {
        description     = "Starts one execution a request."
        state           = false
        timeout_seconds = 30
        permissions     = ["receive_requests", "start_executions", "describe_executions"]
        environment = merge(
          {
            CLIPFLOW_STATE_MACHINE_ARN    = local.arn.state_machine
            CLIPFLOW_DESCRIBE_INTERVAL_MS = local.describe_interval_ms
          },
          local.start_interval_ms == null ? {} : { CLIPFLOW_START_INTERVAL_MS = local.start_interval_ms },
        )
      }
      validate = {
        description = "Turns a request into its canonical form, or rejects it."
        environment = {
          CLIPFLOW_BUCKET         = local.name.bucket
          CLIPFLOW_DEFAULT_FORMAT = var.default_format
          CLIPFLOW_SOURCE_BUCKETS = join(",", sort(var.source_buckets))
        }
      }
      probe = {
        description     = "Finds the sources, reads their headers and estimates what the clip takes."
        ffmpeg          = true
        memory_mb       = 1024
        timeout_seconds = 60
        scratch_mb      = var.trim_ephemeral_storage_mb
        permissions     = ["read_sources"]
        environment = merge(
          {
            CLIPFLOW_HEVC_SMART_CUTS        = var.hevc_smart_cuts
            CLIPFLOW_MAX_CLIP_SECONDS       = var.max_clip_seconds
            CLIPFLOW_MAX_COST_USD           = var.max_cost_usd
            CLIPFLOW_MAX_TRIM_SECONDS       = var.max_trim_seconds
            CLIPFLOW_MAX_WHOLE_SOURCE_BYTES = var.max_whole_source_mb * 1024 * 1024
            CLIPFLOW_TRIM_MEMORY_MB         = var.trim_memory_mb
            CLIPFLOW_TRIM_TIMEOUT_SECONDS   = var.trim_timeout_seconds
          },
          var.recordings == null ? {} : {
            CLIPFLOW_RECORDINGS_BUCKET            = var.recordings.bucket
            CLIPFLOW_RECORDINGS_KEY_TEMPLATE      = var.recordings.key_template
            CLIPFLOW_RECORDINGS_LONGEST_SECONDS   = var.recordings.longest_seconds
            CLIPFLOW_RECORDINGS_RETENTION_SECONDS = var.recordings.retention_hours * 3600
          },
        )
      }
      trim = {
        description     = "Cuts the clip with FFmpeg."
        ffmpeg          = true
        memory_mb       = var.trim_memory_mb
        timeout_seconds = var.trim_timeout_seconds
        scratch_mb      = var.trim_ephemeral_storage_mb
        reserved        = var.trim_reserved_concurrency
        permissions     = ["read_sources", "read_clips", "write_clips"]
        environment     = { CLIPFLOW_BUCKET = local.name.bucket }
      }
      transcode = {
        description     = "Submits the clip to MediaConvert."
        timeout_seconds = 30
        permissions     = ["read_sources", "read_clips", "submit_jobs", "write_tasks"]
        environment = {
          CLIPFLOW_BUCKET                 = local.name.bucket
          CLIPFLOW_DEPLOYMENT             = var.name_prefix
          CLIPFLOW_MAX_COST_USD           = var.max_cost_usd
          CLIPFLOW_MEDIACONVERT_ROLE_ARN  = local.arn.mediaconvert_role
          CLIPFLOW_MEDIACONVERT_QUEUE_ARN = local.arn.mediaconvert_queue
        }
      }
      resume = {
        description     = "Hands the end of a MediaConvert job to the execution that waits for it."
        state           = false
        timeout_seconds = 30
        permissions     = ["read_clips", "read_tasks", "complete_tasks"]
        environment     = { CLIPFLOW_BUCKET = local.name.bucket }
        event_pattern = {
          source      = ["aws.mediaconvert"]
          detail-type = ["MediaConvert Job State Change"]
          detail = {
            status       = ["PROGRESSING", "STATUS_UPDATE", "COMPLETE", "ERROR", "CANCELED"]
            userMetadata = { clipflow = [var.name_prefix] }
          }
        }
      }
      verify = {
        description     = "Compares the delivered clip with the request, and decodes a little of it."
        ffmpeg          = true
        memory_mb       = 1769
        timeout_seconds = 85
        scratch_mb      = var.trim_ephemeral_storage_mb
        permissions     = ["read_sources", "read_clips"]
        environment     = { CLIPFLOW_BUCKET = local.name.bucket }
      }
      thumbnail = {
        description     = "Makes thumbnails and the preview of the delivered clip."
        ffmpeg          = true
        memory_mb       = 1769
        timeout_seconds = 300
        scratch_mb      = max(1024, var.trim_ephemeral_storage_mb)
        permissions     = ["read_clips", "write_clips"]
        environment     = { CLIPFLOW_BUCKET = local.name.bucket }
      }
      store = {
        description     = "Writes the clip's document to MongoDB."
        mongodb         = true
        timeout_seconds = 30
        environment = merge(
          { CLIPFLOW_BUCKET = local.name.bucket },
          var.public_base_url == null ? {} : { CLIPFLOW_PUBLIC_BASE_URL = var.public_base_url },
        )
      }
      notify = {
        description     = "Publishes the outcome."
        timeout_seconds = 30
        permissions     = ["publish_outcomes"]
        environment     = { CLIPFLOW_TOPIC_ARN = local.arn.topic }
      }
      report = {
        description     = "Tells MongoDB and the topic of an execution that failed, and cancels its MediaConvert job."
        state           = false
        mongodb         = true
        timeout_seconds = 30
        max_concurrency = var.report_max_concurrency
        permissions     = ["read_executions", "publish_outcomes", "cancel_jobs", "list_clips", "read_tasks"]
        environment = {
          CLIPFLOW_BUCKET                 = local.name.bucket
          CLIPFLOW_MEDIACONVERT_QUEUE_ARN = local.arn.mediaconvert_queue
          CLIPFLOW_TOPIC_ARN              = local.arn.topic
        }
        event_pattern = {
          source      = ["aws.states"]
          detail-type = ["Step Functions Execution Status Change"]
          detail = {
            stateMachineArn = [local.arn.state_machine]
            status          = ["FAILED", "TIMED_OUT", "ABORTED"]
          }
        }
      }
    } :
    name => merge(
      {
        state           = true
        event_pattern   = null
        ffmpeg          = false
        mongodb         = false
        memory_mb       = 256
        timeout_seconds = 15
        scratch_mb      = 512
        reserved        = null
        max_concurrency = null
        permissions     = []
      },
      function,
    )
  }
}
