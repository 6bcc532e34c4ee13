# What the module refuses, before anything is planned.

mock_provider "aws" {}

variables {
  package_dir     = "tests/packages"
  definition_file = "tests/definition.asl.json"
  source_buckets  = ["surf-archive"]
  mongodb_uri     = "mongodb://db.example/"
}

run "names_and_texts_out_of_form_are_refused" {
  command = plan

  variables {
    name_prefix         = "Clip_Flow"
    tags                = { "aws:owner" = "surf" }
    definition_file     = "tests/nowhere.json"
    mediaconvert_queue  = "arn:aws:mediaconvert:eu-west-1:123456789012:queues/surf"
    architecture        = "riscv64"
    default_format      = "avi"
    log_filter          = " "
    source_buckets      = ["Surf_Archive"]
    public_base_url     = "cdn.example"
    mongodb_uri         = "postgres://db.example/"
    mongodb_database    = "clip.flow"
    alarm_topic_arns    = ["operators"]
    source_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:alias/sources"]
    clips_bucket_policy = "{}"
    mongodb_ca_file     = "tests/ca-layer.zip"

    permissions_boundary = "boundary"
  }

  expect_failures = [
    var.clips_bucket_policy, var.mongodb_ca_file, var.permissions_boundary,
    var.name_prefix, var.tags, var.definition_file, var.mediaconvert_queue, var.architecture, var.default_format, var.log_filter, var.source_buckets,
    var.public_base_url, var.mongodb_uri, var.mongodb_database, var.alarm_topic_arns, var.source_kms_key_arns,
  ]
}

run "numbers_below_their_range_are_refused" {
  command = plan

  variables {
    log_retention_days        = 0
    trim_memory_mb            = 127
    trim_timeout_seconds      = 0
    trim_ephemeral_storage_mb = 511
    max_trim_seconds          = 0
    max_whole_source_mb       = -1
    transcode_timeout_seconds = 59
    max_clip_seconds          = 0
    max_cost_usd              = 0
    start_max_concurrency     = 1
    report_max_concurrency    = 1
    trim_reserved_concurrency = 0
    abort_uploads_after_days  = 0
    mongodb_uri_version       = 0

    transcode_heartbeat_seconds  = 179
    expire_noncurrent_after_days = 0
  }

  expect_failures = [
    var.report_max_concurrency, var.trim_reserved_concurrency, var.transcode_heartbeat_seconds,
    var.expire_noncurrent_after_days,
    var.log_retention_days, var.trim_memory_mb, var.trim_timeout_seconds, var.trim_ephemeral_storage_mb, var.max_trim_seconds, var.max_whole_source_mb,
    var.transcode_timeout_seconds,
    var.max_clip_seconds, var.max_cost_usd, var.start_max_concurrency, var.abort_uploads_after_days, var.mongodb_uri_version,
  ]
}

run "numbers_above_their_range_are_refused" {
  command = plan

  variables {
    log_retention_days        = 31
    trim_memory_mb            = 10241
    trim_timeout_seconds      = 901
    trim_ephemeral_storage_mb = 10241
    transcode_timeout_seconds = 86401
    start_max_concurrency     = 1001
    report_max_concurrency    = 1001

    transcode_heartbeat_seconds = 86401
  }

  expect_failures = [
    var.report_max_concurrency, var.transcode_heartbeat_seconds,
    var.log_retention_days, var.trim_memory_mb, var.trim_timeout_seconds, var.trim_ephemeral_storage_mb, var.transcode_timeout_seconds,
    var.start_max_concurrency,
  ]
}

run "fractions_are_refused_where_aws_takes_whole_numbers" {
  command = plan

  variables {
    trim_memory_mb            = 1769.5
    trim_timeout_seconds      = 60.5
    trim_ephemeral_storage_mb = 512.5
    transcode_timeout_seconds = 600.5
    start_max_concurrency     = 2.5
    report_max_concurrency    = 2.5
    trim_reserved_concurrency = 1.5
    abort_uploads_after_days  = 1.5
    mongodb_uri_version       = 1.5

    transcode_heartbeat_seconds  = 600.5
    expire_noncurrent_after_days = 1.5
  }

  expect_failures = [
    var.report_max_concurrency, var.trim_reserved_concurrency, var.transcode_heartbeat_seconds,
    var.expire_noncurrent_after_days,
    var.trim_memory_mb, var.trim_timeout_seconds, var.trim_ephemeral_storage_mb, var.transcode_timeout_seconds,
    var.start_max_concurrency, var.abort_uploads_after_days, var.mongodb_uri_version,
  ]
}

# A variable that another variable's check reads is refused first: Terraform then skips that other check.
run "a_folder_without_packages_and_a_bucket_out_of_form_are_refused" {
  command = plan

  variables {
    package_dir  = "tests/nowhere"
    clips_bucket = "Kept_Clips"
  }

  expect_failures = [var.package_dir, var.clips_bucket]
}

run "packages_for_another_architecture_are_refused" {
  command = plan

  variables {
    architecture = "arm64"
  }

  expect_failures = [var.architecture]
}

run "a_rate_of_starts_below_its_range_is_refused" {
  command = plan

  variables {
    max_starts_per_minute = 5
  }

  expect_failures = [var.max_starts_per_minute]
}

run "a_rate_of_starts_above_its_range_is_refused" {
  command = plan

  variables {
    max_starts_per_minute = 6001
  }

  expect_failures = [var.max_starts_per_minute]
}

run "a_rate_of_starts_with_a_fraction_is_refused" {
  command = plan

  variables {
    max_starts_per_minute = 60.5
  }

  expect_failures = [var.max_starts_per_minute]
}

run "a_rate_and_a_concurrency_of_starts_exclude_each_other" {
  command = plan

  variables {
    max_starts_per_minute = 60
    start_max_concurrency = 20
  }

  expect_failures = [var.max_starts_per_minute]
}

run "a_policy_for_the_bucket_of_somebody_else_is_refused" {
  command = plan

  variables {
    clips_bucket        = "kept-clips"
    clips_bucket_policy = "{\"Statement\": [{\"Sid\": \"Cdn\"}]}"
  }

  expect_failures = [var.clips_bucket_policy]
}

run "a_private_key_is_refused_as_a_ca_bundle" {
  command = plan

  variables {
    mongodb_ca_file = "tests/ca-with-key.pem"
  }

  expect_failures = [var.mongodb_ca_file]
}

run "a_deployment_without_sources_is_refused" {
  command = plan

  variables {
    source_buckets = []
  }

  expect_failures = [var.source_buckets]
}

run "a_vpc_without_subnets_is_refused" {
  command = plan

  variables {
    vpc = { subnet_ids = [], security_group_ids = ["sg-1"] }
  }

  expect_failures = [var.vpc]
}

run "recordings_in_a_bucket_that_is_no_source_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "elsewhere" }
  }

  expect_failures = [var.recordings]
}

run "recordings_without_a_camera_in_their_keys_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", key_template = "recordings/{start:%Y%m%dT%H%M%S}.mp4" }
  }

  expect_failures = [var.recordings]
}

run "recordings_by_day_and_then_by_camera_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", key_template = "{start:%Y%m%d}/{camera}/{start:%H%M%S}.mp4" }
  }

  expect_failures = [var.recordings]
}

run "recordings_whose_keys_do_not_sort_by_time_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", key_template = "{camera}/{start:%d.%m.%Y-%H%M%S}.mp4" }
  }

  expect_failures = [var.recordings]
}

run "recordings_whose_keys_do_not_tell_the_second_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", key_template = "{camera}/{start:%Y%m%dT%H%M}.mp4" }
  }

  expect_failures = [var.recordings]
}

run "recordings_with_an_unknown_placeholder_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", key_template = "{camera}/{spot}/{start:%s}.mp4" }
  }

  expect_failures = [var.recordings]
}

run "recordings_that_are_never_looked_for_again_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", retry_seconds = 0 }
  }

  expect_failures = [var.recordings]
}

run "recordings_that_are_waited_for_longer_than_an_execution_runs_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", wait_seconds = 90000 }
  }

  expect_failures = [var.recordings]
}

run "waits_of_more_attempts_than_an_execution_should_have_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", wait_seconds = 43200, retry_seconds = 11 }
  }

  expect_failures = [var.recordings]
}

run "waits_of_400_attempts_are_accepted" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", wait_seconds = 42328, retry_seconds = 11 }
  }
}

run "recordings_with_times_outside_of_start_are_refused" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", key_template = "{camera}/%Y/{start:%s}.mp4" }
  }

  expect_failures = [var.recordings]
}

run "recordings_by_seconds_since_1970_are_accepted" {
  command = plan

  variables {
    recordings = { bucket = "surf-archive", key_template = "{camera}/{start:%Y-%m/%s%3f}.mp4" }
  }
}
