variable "name_prefix" {
  description = "Prefix of every resource's name. It keeps several deployments in one account apart."
  type        = string
  default     = "clipflow"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix has 2 to 24 lower-case letters, digits and hyphens. It starts with a letter and does not end with a hyphen."
  }
}

variable "tags" {
  description = "Tags of every resource that supports them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "AWS reserves tag keys that start with aws:."
  }
}

variable "permissions_boundary" {
  description = "ARN of an IAM policy that limits every role of the deployment. Null sets no boundary."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null ? true : can(regex("^arn:[^:]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary))
    error_message = "permissions_boundary is the ARN of a policy: arn:aws:iam::<account>:policy/<name>."
  }
}

# Functions

variable "package_dir" {
  description = "Folder that \"make package\" writes: <function>.zip for each function, ffmpeg-layer.zip, and the file architecture."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists("${var.package_dir}/ffmpeg-layer.zip")
    error_message = "package_dir has no ffmpeg-layer.zip. Run \"make package\" first."
  }
}

variable "architecture" {
  description = "Instruction set of the functions: x86_64 or arm64. The packages must be built for it."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture is x86_64 or arm64."
  }

  validation {
    condition     = try(trimspace(file("${var.package_dir}/architecture")), "") == var.architecture
    error_message = "The packages in package_dir are built for ${try(trimspace(file("${var.package_dir}/architecture")), "an unknown architecture")}. Build them with \"make package ARCHITECTURE=${var.architecture}\"."
  }
}

variable "log_filter" {
  description = "Filter for the functions' logs: a level, or targets with levels such as \"info,trim=debug\"."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = length(trimspace(var.log_filter)) > 0
    error_message = "log_filter is empty."
  }
}

variable "log_retention_days" {
  description = "How many days CloudWatch keeps the logs."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      var.log_retention_days,
    )
    error_message = "log_retention_days is a period that CloudWatch Logs offers: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "tracing" {
  description = "Whether X-Ray traces executions and functions."
  type        = bool
  default     = true
  nullable    = false
}

variable "vpc" {
  description = "Subnets and security groups of the functions that use MongoDB, for a database that only a VPC can reach. The subnets need a route to Secrets Manager, Step Functions, MediaConvert and SNS. Null runs the functions outside of a VPC."
  type = object({
    subnet_ids         = set(string)
    security_group_ids = set(string)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0
    error_message = "vpc needs at least one subnet and one security group."
  }
}

# Trimming: what the Lambda function does itself, and what MediaConvert does

variable "trim_memory_mb" {
  description = "Memory of trim in MB. CPU grows with memory: 1769 MB have one vCPU, so 3538 MB encode in 15 % less time than 3008 MB. New AWS accounts allow at most 3008 MB, others 10240 MB."
  type        = number
  default     = 3008
  nullable    = false

  validation {
    condition     = var.trim_memory_mb >= 128 && var.trim_memory_mb <= 10240 && floor(var.trim_memory_mb) == var.trim_memory_mb
    error_message = "trim_memory_mb is a whole number from 128 to 10240."
  }
}

variable "trim_timeout_seconds" {
  description = "Seconds after which Lambda stops trim."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.trim_timeout_seconds >= 1 && var.trim_timeout_seconds <= 900 && floor(var.trim_timeout_seconds) == var.trim_timeout_seconds
    error_message = "trim_timeout_seconds is a whole number from 1 to 900, Lambda's maximum."
  }
}

variable "trim_ephemeral_storage_mb" {
  description = "Size of /tmp in MB, for trim and the functions that read the same data. It holds the part of the source that the clip needs, and the clip."
  type        = number
  default     = 2048
  nullable    = false

  validation {
    condition     = var.trim_ephemeral_storage_mb >= 512 && var.trim_ephemeral_storage_mb <= 10240 && floor(var.trim_ephemeral_storage_mb) == var.trim_ephemeral_storage_mb
    error_message = "trim_ephemeral_storage_mb is a whole number from 512 to 10240."
  }
}

variable "trim_reserved_concurrency" {
  description = "Concurrent invocations that Lambda reserves for trim, which are also its maximum. AWS keeps 100 of the account's quota unreserved, so a new account, whose quota is 10, can reserve none. Null reserves none."
  type        = number
  default     = null

  validation {
    condition     = var.trim_reserved_concurrency == null ? true : var.trim_reserved_concurrency >= 1 && floor(var.trim_reserved_concurrency) == var.trim_reserved_concurrency
    error_message = "trim_reserved_concurrency is a whole number from 1, or null."
  }
}

variable "max_trim_seconds" {
  description = "Longest clip in seconds that trim encodes. MediaConvert makes longer ones."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.max_trim_seconds > 0
    error_message = "max_trim_seconds is greater than 0."
  }
}

variable "max_whole_source_mb" {
  description = "Largest source in MB that is read from its start because nothing in it leads to a time: Matroska without cues, fragmented MP4 without an index, AVI, FLV, MPEG-PS. Larger ones are rejected as UnsupportedMedia. At most half of trim_ephemeral_storage_mb counts."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = var.max_whole_source_mb >= 0 && floor(var.max_whole_source_mb) == var.max_whole_source_mb
    error_message = "max_whole_source_mb is a whole number, 0 or more."
  }
}

variable "transcode_timeout_seconds" {
  description = "Seconds after which an execution gives up on a MediaConvert job, including the job's wait in the queue."
  type        = number
  default     = 21600
  nullable    = false

  validation {
    condition     = var.transcode_timeout_seconds >= 60 && var.transcode_timeout_seconds <= 86400 && floor(var.transcode_timeout_seconds) == var.transcode_timeout_seconds
    error_message = "transcode_timeout_seconds is a whole number from 60 to 86400, the longest that an execution runs."
  }
}

variable "transcode_heartbeat_seconds" {
  description = "Seconds without an event after which an execution gives up on a MediaConvert job. A job that waits in its queue sends no events, so this is also the longest wait. A running job sends an event every minute. It has no effect if it is not below transcode_timeout_seconds."
  type        = number
  default     = 7200
  nullable    = false

  validation {
    condition     = var.transcode_heartbeat_seconds >= 180 && var.transcode_heartbeat_seconds <= 86400 && floor(var.transcode_heartbeat_seconds) == var.transcode_heartbeat_seconds
    error_message = "transcode_heartbeat_seconds is a whole number from 180, three times the interval of a running job's events, to 86400."
  }
}

variable "mediaconvert_queue" {
  description = "Name of an existing MediaConvert queue, for example one with reserved slots. Null creates an on-demand queue."
  type        = string
  default     = null

  validation {
    condition     = var.mediaconvert_queue == null ? true : can(regex("^[A-Za-z0-9_ -]{1,150}$", var.mediaconvert_queue))
    error_message = "mediaconvert_queue is the name of a queue, not its ARN."
  }
}

# Limits of a request

variable "max_clip_seconds" {
  description = "Longest clip in seconds. Requests for longer clips are rejected as TooLong."
  type        = number
  default     = 10800
  nullable    = false

  validation {
    condition     = var.max_clip_seconds > 0
    error_message = "max_clip_seconds is greater than 0."
  }
}

variable "max_cost_usd" {
  description = "Highest estimated cost of a clip in US dollars. Requests for more expensive clips are rejected as TooExpensive."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.max_cost_usd > 0
    error_message = "max_cost_usd is greater than 0."
  }
}

variable "default_format" {
  description = <<-EOT
    The format of exact clips whose request has no output.format: "mp4" (H.264, which plays everywhere), "source" (H.264 or
    HEVC, as the source is, and H.264 where its pictures cannot be kept), "hevc" or "webm".
  EOT
  type        = string
  default     = "mp4"
  nullable    = false

  validation {
    condition     = contains(["mp4", "source", "hevc", "webm"], var.default_format)
    error_message = "default_format must be mp4, source, hevc or webm."
  }
}

variable "hevc_smart_cuts" {
  description = <<-EOT
    Whether exact clips of HEVC (output.format "hevc" or "source") copy the pictures of an HEVC source and encode only those at their
    ends. Such a clip has two sets of parameters in its sample entry, which the standard allows. FFmpeg and libde265 play
    it. If a player does not, set this to false; clips of HEVC are then encoded whole.
  EOT
  type        = bool
  default     = true
  nullable    = false
}

# Camera recordings

variable "recordings" {
  description = <<-EOT
    Where camera recordings are, for requests by cameraId. Null is a deployment without cameras.

    - bucket: the bucket of the recordings, one of source_buckets.
    - key_template: pattern of the recordings' keys. {camera} is the camera's ID. {start:...} is the time at which the
      recording starts, in UTC, with %Y %m %d %H %M %S %3f, or %s for seconds since 1970. A camera's keys must sort by
      time.
    - longest_seconds: length of the longest recording. The search for a clip's recordings starts this long before the
      clip.
    - retention_hours: age of the oldest recordings. Requests for older clips are rejected as OutOfRange.
    - wait_seconds: how long an execution waits for a recording that does not exist yet.
    - retry_seconds: the first interval at which it looks for the recording while it waits. Each interval is 1.1 times the
      one before it, up to ten times the first. A wait has at most 400 attempts. Each is a state transition, 0.01 USD for
      400, and three of the 25,000 events that an execution can have.
  EOT
  type = object({
    bucket          = string
    key_template    = optional(string, "recordings/{camera}/{start:%Y/%m/%d}/{camera}.{start:%Y%m%dT%H%M%S%3f}.mp4")
    longest_seconds = optional(number, 900)
    retention_hours = optional(number, 72)
    wait_seconds    = optional(number, 900)
    retry_seconds   = optional(number, 30)
  })
  default = null

  validation {
    condition     = var.recordings == null ? true : contains(var.source_buckets, var.recordings.bucket)
    error_message = "recordings.bucket is one of source_buckets."
  }

  validation {
    condition = var.recordings == null ? true : can(regex(
      "^[!-$&-z|~]*$", replace(var.recordings.key_template, "/{camera}|{start:([!-$&-z|~]|%([YmdHMSs]|3f))+}/", ""),
    ))
    error_message = "recordings.key_template is printable ASCII with {camera} and {start:...}, which takes %Y %m %d %H %M %S %3f and %s."
  }

  validation {
    condition     = var.recordings == null ? true : can(regex("^[^{]*{camera}.*{start:", var.recordings.key_template))
    error_message = "recordings.key_template has {camera} before {start:...}. Otherwise a search lists the recordings of all cameras."
  }

  # Checks each of %Y %m %d %H %M %S %3f at its first occurrence.
  validation {
    condition = var.recordings == null ? true : can(regex(
      "^(YmdHMS|(Y(m(d(H(M)?)?)?)?)?s)(3f)?$",
      join("", distinct(flatten(regexall("%(3f|[A-Za-z])", var.recordings.key_template)))),
    ))
    error_message = "recordings.key_template gives the time to the second, with larger units first. A search needs keys that sort by time."
  }

  validation {
    condition = var.recordings == null ? true : alltrue([
      for number in [
        var.recordings.longest_seconds, var.recordings.retention_hours, var.recordings.wait_seconds, var.recordings.retry_seconds,
      ] : number >= 1 && floor(number) == number
    ])
    error_message = "recordings.longest_seconds, retention_hours, wait_seconds and retry_seconds are whole numbers from 1."
  }

  validation {
    condition     = var.recordings == null ? true : var.recordings.longest_seconds <= 86400 && var.recordings.wait_seconds <= 43200
    error_message = "recordings.longest_seconds is at most a day, and wait_seconds at most 12 hours. An execution runs for at most a day."
  }

  validation {
    condition     = var.recordings == null ? true : var.recordings.wait_seconds <= 3848 * var.recordings.retry_seconds
    error_message = "recordings.wait_seconds is at most 3,848 times retry_seconds: 400 attempts. Every attempt is a billed state transition and adds three events to the execution's history, which can have 25,000."
  }
}

# Bursts

variable "max_starts_per_minute" {
  description = "Approximate maximum number of executions that start in a minute. The queue keeps the other requests, for up to 14 days. Null starts executions as fast as requests arrive. It cannot be set together with start_max_concurrency."
  type        = number
  default     = null

  validation {
    condition     = var.max_starts_per_minute == null ? true : var.max_starts_per_minute >= 6 && var.max_starts_per_minute <= 6000 && floor(var.max_starts_per_minute) == var.max_starts_per_minute
    error_message = "max_starts_per_minute is a whole number from 6 to 6000."
  }

  validation {
    condition     = var.max_starts_per_minute == null || var.start_max_concurrency == null
    error_message = "max_starts_per_minute and start_max_concurrency cannot both be set."
  }
}

variable "start_max_concurrency" {
  description = "Maximum number of concurrent invocations of start, from 2 to 1000. Null is 10, which is enough for the quotas of Step Functions. The more there are, the less often each of them asks Step Functions how an earlier execution of a request ended."
  type        = number
  default     = null

  validation {
    condition     = var.start_max_concurrency == null ? true : var.start_max_concurrency >= 2 && var.start_max_concurrency <= 1000 && floor(var.start_max_concurrency) == var.start_max_concurrency
    error_message = "start_max_concurrency is a whole number from 2 to 1000."
  }
}

variable "report_max_concurrency" {
  description = "Maximum number of concurrent invocations of report, from 2 to 1000. Each holds connections to MongoDB, and executions can fail by the thousand at the same time. Null leaves the number to Lambda."
  type        = number
  default     = 10

  validation {
    condition     = var.report_max_concurrency == null ? true : var.report_max_concurrency >= 2 && var.report_max_concurrency <= 1000 && floor(var.report_max_concurrency) == var.report_max_concurrency
    error_message = "report_max_concurrency is a whole number from 2 to 1000."
  }
}

# State machine

variable "definition_file" {
  description = "Path of the state machine's definition, a template in Amazon States Language. Null uses the definition in this repository."
  type        = string
  default     = null

  validation {
    condition     = var.definition_file == null ? true : fileexists(var.definition_file)
    error_message = "definition_file does not exist."
  }
}

variable "log_execution_data" {
  description = "Whether the state machine's log of failures includes the input and output of states."
  type        = bool
  default     = true
  nullable    = false
}

# Buckets

variable "source_buckets" {
  description = "Names of the existing buckets that sources may be in."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.source_buckets) > 0
    error_message = "source_buckets is empty, so every request would be rejected."
  }

  validation {
    condition     = alltrue([for bucket in var.source_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", bucket))])
    error_message = "source_buckets holds bucket names: 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "source_kms_key_arns" {
  description = "ARNs of the KMS keys that encrypt objects in the source buckets. S3's own key needs no entry."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.source_kms_key_arns : can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/.+$", arn))])
    error_message = "source_kms_key_arns holds ARNs of keys: arn:aws:kms:<region>:<account>:key/<id>. IAM does not resolve aliases."
  }
}

variable "clips_bucket" {
  description = "Name of an existing bucket in the same region for the clips. Destroying the deployment keeps it, and this module does not change its settings. Null creates a bucket."
  type        = string
  default     = null

  validation {
    condition     = var.clips_bucket == null ? true : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.clips_bucket))
    error_message = "clips_bucket is a bucket name: 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "clips_bucket_policy" {
  description = "Policy document, as JSON, whose statements join the policy of the bucket that this module creates. For example, it lets a CDN read the clips. The policy always refuses requests without TLS."
  type        = string
  default     = null

  validation {
    condition     = var.clips_bucket_policy == null ? true : can(jsondecode(var.clips_bucket_policy).Statement[0])
    error_message = "clips_bucket_policy is a policy document in JSON with a list of statements."
  }

  validation {
    condition     = var.clips_bucket_policy == null || var.clips_bucket == null
    error_message = "clips_bucket_policy is for the bucket that this module creates. The owner of clips_bucket sets that bucket's policy."
  }
}

variable "force_destroy" {
  description = "Whether destroying the deployment deletes the clips. If not, destroying stops at a bucket that holds clips. A change takes effect with the next apply, which must come before the destroy."
  type        = bool
  default     = false
  nullable    = false
}

variable "abort_uploads_after_days" {
  description = "Days after which S3 deletes the parts of uploads that were never completed. Null keeps them."
  type        = number
  default     = 1

  validation {
    condition     = var.abort_uploads_after_days == null ? true : var.abort_uploads_after_days >= 1 && floor(var.abort_uploads_after_days) == var.abort_uploads_after_days
    error_message = "abort_uploads_after_days is a whole number from 1, or null."
  }
}

variable "expire_noncurrent_after_days" {
  description = "Days after which S3 deletes versions of clips that were overwritten or deleted. Null keeps them."
  type        = number
  default     = 30

  validation {
    condition     = var.expire_noncurrent_after_days == null ? true : var.expire_noncurrent_after_days >= 1 && floor(var.expire_noncurrent_after_days) == var.expire_noncurrent_after_days
    error_message = "expire_noncurrent_after_days is a whole number from 1, or null."
  }
}

variable "public_base_url" {
  description = "Base of the URLs in outcomes, for example a CDN in front of the clips. Null leaves URLs out."
  type        = string
  default     = null

  validation {
    condition     = var.public_base_url == null ? true : can(regex("^https?://[^/?#]+(/[^?#]*)?$", var.public_base_url))
    error_message = "public_base_url is an http or https URL without query and fragment."
  }
}

# MongoDB

variable "mongodb_uri" {
  description = "MongoDB URI with its credentials. Terraform writes it to Secrets Manager, and neither to its plan nor to its state. Amazon DocumentDB needs retryWrites=false in it."
  type        = string
  sensitive   = true
  ephemeral   = true
  nullable    = false

  validation {
    condition     = can(regex("^mongodb([+]srv)?://", var.mongodb_uri))
    error_message = "mongodb_uri starts with mongodb:// or mongodb+srv://."
  }
}

variable "mongodb_uri_version" {
  description = "Version of mongodb_uri. Change it whenever mongodb_uri changes, because Terraform does not store the URI and cannot see a change."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.mongodb_uri_version >= 1 && floor(var.mongodb_uri_version) == var.mongodb_uri_version
    error_message = "mongodb_uri_version is a whole number from 1."
  }
}

variable "mongodb_ca_file" {
  description = "Path of a PEM file with the CA certificates that MongoDB's certificate is checked against. Null uses the public CAs. Amazon DocumentDB needs Amazon's bundle: https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem."
  type        = string
  default     = null

  validation {
    condition     = var.mongodb_ca_file == null ? true : try(strcontains(file(var.mongodb_ca_file), "-----BEGIN CERTIFICATE-----"), false)
    error_message = "mongodb_ca_file is the path of a PEM file with certificates."
  }

  validation {
    condition     = var.mongodb_ca_file == null ? true : !try(strcontains(file(var.mongodb_ca_file), "PRIVATE KEY-----"), false)
    error_message = "mongodb_ca_file holds a private key. It needs the CA certificates only."
  }

  validation {
    condition     = var.mongodb_ca_file == null ? true : try(can(regex("^[\\x00-\\x7f]*$", file(var.mongodb_ca_file))), true)
    error_message = "mongodb_ca_file is ASCII, its comments included."
  }
}

variable "mongodb_database" {
  description = "Name of the MongoDB database."
  type        = string
  default     = "clipflow"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,63}$", var.mongodb_database))
    error_message = "mongodb_database is 1 to 63 letters, digits, underscores and hyphens."
  }
}

# Alarms

variable "alarm_topic_arns" {
  description = "ARNs of the SNS topics that receive alarms. An empty list creates no alarms."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:[^:]+:sns:[^:]+:[0-9]{12}:.+$", arn))])
    error_message = "alarm_topic_arns holds ARNs of SNS topics: arn:aws:sns:<region>:<account>:<name>."
  }
}
