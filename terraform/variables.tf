variable "name_prefix" {
  description = "Start of every resource's name, so that several deployments share an account."
  type        = string
  default     = "clipflow"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,22}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix is 2 to 24 lower-case letters, digits and hyphens, begins with a letter and ends with no hyphen."
  }
}

variable "tags" {
  description = "Tags of every resource that can have them."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:")])
    error_message = "Tag keys that begin with aws: are reserved."
  }
}

# Functions

variable "package_dir" {
  description = "Folder with one <function>.zip a function, each holding the file bootstrap, and ffmpeg-layer.zip."
  type        = string
  nullable    = false

  validation {
    condition     = fileexists("${var.package_dir}/ffmpeg-layer.zip")
    error_message = "package_dir holds no ffmpeg-layer.zip: package the functions first."
  }
}

variable "architecture" {
  description = "Instruction set that the packages were built for: x86_64 or arm64."
  type        = string
  default     = "x86_64"
  nullable    = false

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture is x86_64 or arm64."
  }
}

variable "log_filter" {
  description = "What the functions log, as a tracing filter: a level, or targets with levels such as \"info,clipflow_core=debug\"."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = length(trimspace(var.log_filter)) > 0
    error_message = "log_filter is empty."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      var.log_retention_days,
    )
    error_message = "log_retention_days is one of the periods of CloudWatch Logs: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "tracing" {
  description = "Whether X-Ray traces the executions and the functions."
  type        = bool
  default     = true
  nullable    = false
}

variable "vpc" {
  description = "Where the functions that talk to MongoDB run, when it is only reachable inside a VPC. The subnets need a way to Secrets Manager, Step Functions, MediaConvert and SNS."
  type = object({
    subnet_ids         = set(string)
    security_group_ids = set(string)
  })
  default = null

  validation {
    condition     = var.vpc == null ? true : length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0
    error_message = "vpc names at least one subnet and one security group."
  }
}

# Trimming: how much a Lambda takes on, and from where MediaConvert does

variable "trim_memory_mb" {
  description = "Memory of trim in MB. 1769 MB give one vCPU, so the default is two."
  type        = number
  default     = 3538
  nullable    = false

  validation {
    condition     = var.trim_memory_mb >= 128 && var.trim_memory_mb <= 10240 && floor(var.trim_memory_mb) == var.trim_memory_mb
    error_message = "trim_memory_mb is a whole number from 128 to 10240."
  }
}

variable "trim_timeout_seconds" {
  description = "Seconds after which trim is stopped."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.trim_timeout_seconds >= 1 && var.trim_timeout_seconds <= 900 && floor(var.trim_timeout_seconds) == var.trim_timeout_seconds
    error_message = "trim_timeout_seconds is a whole number from 1 to 900, the longest that a Lambda runs."
  }
}

variable "trim_ephemeral_storage_mb" {
  description = "Size of /tmp of trim, and of those that read the same, in MB: the window of the source and the clip made of it lie there at the same time; so does an excerpt of a source that is no MP4."
  type        = number
  default     = 2048
  nullable    = false

  validation {
    condition     = var.trim_ephemeral_storage_mb >= 512 && var.trim_ephemeral_storage_mb <= 10240 && floor(var.trim_ephemeral_storage_mb) == var.trim_ephemeral_storage_mb
    error_message = "trim_ephemeral_storage_mb is a whole number from 512 to 10240."
  }
}

variable "max_trim_seconds" {
  description = "Clips that are encoded and longer than this many seconds go to MediaConvert."
  type        = number
  default     = 600
  nullable    = false

  validation {
    condition     = var.max_trim_seconds > 0
    error_message = "max_trim_seconds is greater than 0."
  }
}

variable "transcode_timeout_seconds" {
  description = "Seconds after which a clip that MediaConvert was to make is given up, its wait in the queue included."
  type        = number
  default     = 21600
  nullable    = false

  validation {
    condition     = var.transcode_timeout_seconds >= 60 && var.transcode_timeout_seconds <= 86400 && floor(var.transcode_timeout_seconds) == var.transcode_timeout_seconds
    error_message = "transcode_timeout_seconds is a whole number from 60 to 86400, the longest that an execution runs."
  }
}

variable "mediaconvert_queue" {
  description = "Name of a MediaConvert queue that exists already, such as one with reserved slots; null creates one that is paid on demand."
  type        = string
  default     = null

  validation {
    condition     = var.mediaconvert_queue == null ? true : can(regex("^[A-Za-z0-9_ -]{1,150}$", var.mediaconvert_queue))
    error_message = "mediaconvert_queue is the name of a queue, not its ARN."
  }
}

# Limits of a request

variable "max_clip_seconds" {
  description = "Clips longer than this many seconds are rejected as TooLong."
  type        = number
  default     = 10800
  nullable    = false

  validation {
    condition     = var.max_clip_seconds > 0
    error_message = "max_clip_seconds is greater than 0."
  }
}

variable "max_cost_usd" {
  description = "Clips whose estimate is above this many US dollars are rejected as TooExpensive."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.max_cost_usd > 0
    error_message = "max_cost_usd is greater than 0."
  }
}

# Recordings of cameras

variable "recordings" {
  description = <<-EOT
    Where cameras' recordings are, for requests by cameraId; null for a deployment without cameras.

    - bucket: one of source_buckets.
    - key_template: how recordings are named after the camera ({camera}) and the time at which they began, in UTC
      ({start:...} with %Y %m %d %H %M %S %3f, or %s for seconds since 1970). The keys of a camera must sort by time.
    - longest_seconds: the longest recording. One that a clip needs is looked for that long before the clip's start.
    - retention_hours: older clips are rejected as OutOfRange.
    - wait_seconds: how long a recording that is not there yet is waited for.
    - retry_seconds: how often it is looked for meanwhile.
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
    error_message = "recordings.key_template has {camera} before {start:...}: a listing would pass over all cameras' recordings otherwise."
  }

  # Each of %Y %m %d %H %M %S %3f at its first occurrence.
  validation {
    condition = var.recordings == null ? true : can(regex(
      "^(YmdHMS|(Y(m(d(H(M)?)?)?)?)?s)(3f)?$",
      join("", distinct(flatten(regexall("%(3f|[A-Za-z])", var.recordings.key_template)))),
    ))
    error_message = "recordings.key_template tells the time to the second, the larger parts before the smaller: keys that do not sort by time cannot be listed by it."
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
    error_message = "recordings.longest_seconds is a day at the most, and wait_seconds 12 hours: an execution runs no longer than a day."
  }
}

# Queue

variable "start_max_concurrency" {
  description = "Most invocations of start that the queue drives at the same time, from 2 to 1000; null leaves it to Lambda."
  type        = number
  default     = null

  validation {
    condition     = var.start_max_concurrency == null ? true : var.start_max_concurrency >= 2 && var.start_max_concurrency <= 1000 && floor(var.start_max_concurrency) == var.start_max_concurrency
    error_message = "start_max_concurrency is a whole number from 2 to 1000."
  }
}

# State machine

variable "definition_file" {
  description = "The state machine's definition, a template in Amazon States Language; null for the one of this repository."
  type        = string
  default     = null

  validation {
    condition     = var.definition_file == null ? true : fileexists(var.definition_file)
    error_message = "definition_file names no file."
  }
}

variable "log_execution_data" {
  description = "Whether the state machine's log entries about failures carry the input and output of the states."
  type        = bool
  default     = true
  nullable    = false
}

# Buckets

variable "source_buckets" {
  description = "Names of the buckets that sources may lie in. They are not created here."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.source_buckets) > 0
    error_message = "source_buckets names no bucket: every request would be rejected."
  }

  validation {
    condition     = alltrue([for bucket in var.source_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", bucket))])
    error_message = "source_buckets holds bucket names: 3 to 63 lower-case letters, digits, dots and hyphens."
  }
}

variable "source_kms_key_arns" {
  description = "ARNs of the KMS keys that objects in the source buckets are encrypted with, where they are not S3's own."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.source_kms_key_arns : can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/.+$", arn))])
    error_message = "source_kms_key_arns holds ARNs of keys: arn:aws:kms:<region>:<account>:key/<id>. IAM does not resolve aliases."
  }
}

variable "force_destroy" {
  description = "Whether destroying the deployment deletes the clips with their bucket."
  type        = bool
  default     = false
  nullable    = false
}

variable "abort_uploads_after_days" {
  description = "Days after which S3 drops the parts of uploads that were never completed; null keeps them. The provider waits almost a minute on this rule."
  type        = number
  default     = 1

  validation {
    condition     = var.abort_uploads_after_days == null ? true : var.abort_uploads_after_days >= 1 && floor(var.abort_uploads_after_days) == var.abort_uploads_after_days
    error_message = "abort_uploads_after_days is a whole number from 1, or null."
  }
}

variable "public_base_url" {
  description = "Start of the URLs in outcomes, such as a CDN in front of the clips; null for outcomes without URLs."
  type        = string
  default     = null

  validation {
    condition     = var.public_base_url == null ? true : can(regex("^https?://[^/?#]+(/[^?#]*)?$", var.public_base_url))
    error_message = "public_base_url is an http or https URL without query and fragment."
  }
}

# MongoDB

variable "mongodb_uri" {
  description = "The whole MongoDB URI with its credentials. It is written to Parameter Store, and neither to the plan nor to the state."
  type        = string
  sensitive   = true
  ephemeral   = true
  nullable    = false

  validation {
    condition     = can(regex("^mongodb([+]srv)?://", var.mongodb_uri))
    error_message = "mongodb_uri begins with mongodb:// or mongodb+srv://."
  }
}

variable "mongodb_uri_version" {
  description = "Number to change when mongodb_uri changes: Terraform does not remember the URI, so it cannot see the change itself."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.mongodb_uri_version >= 1 && floor(var.mongodb_uri_version) == var.mongodb_uri_version
    error_message = "mongodb_uri_version is a whole number from 1."
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
  description = "SNS topics that alarms are sent to; with none, there are no alarms."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:[^:]+:sns:[^:]+:[0-9]{12}:.+$", arn))])
    error_message = "alarm_topic_arns holds ARNs of SNS topics: arn:aws:sns:<region>:<account>:<name>."
  }
}
