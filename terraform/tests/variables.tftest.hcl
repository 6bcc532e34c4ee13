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
    package_dir         = "tests/nowhere"
    definition_file     = "tests/nowhere.json"
    mediaconvert_queue  = "arn:aws:mediaconvert:eu-west-1:123456789012:queues/surf"
    architecture        = "riscv64"
    log_filter          = " "
    source_buckets      = ["Surf_Archive"]
    public_base_url     = "cdn.example"
    mongodb_uri         = "postgres://db.example/"
    mongodb_database    = "clip.flow"
    alarm_topic_arns    = ["operators"]
    source_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:alias/sources"]
  }

  expect_failures = [
    var.name_prefix, var.tags, var.package_dir, var.definition_file, var.mediaconvert_queue, var.architecture, var.log_filter, var.source_buckets,
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
    transcode_timeout_seconds = 59
    max_clip_seconds          = 0
    max_cost_usd              = 0
    start_max_concurrency     = 1
    abort_uploads_after_days  = 0
    mongodb_uri_version       = 0
  }

  expect_failures = [
    var.log_retention_days, var.trim_memory_mb, var.trim_timeout_seconds, var.trim_ephemeral_storage_mb, var.max_trim_seconds,
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
  }

  expect_failures = [
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
    abort_uploads_after_days  = 1.5
    mongodb_uri_version       = 1.5
  }

  expect_failures = [
    var.trim_memory_mb, var.trim_timeout_seconds, var.trim_ephemeral_storage_mb, var.transcode_timeout_seconds,
    var.start_max_concurrency, var.abort_uploads_after_days, var.mongodb_uri_version,
  ]
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
