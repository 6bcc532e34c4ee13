# Checks what is deployed, with a mocked provider: no account and no network.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    # Provider 6 deprecates the name.
    defaults = { id = "eu-west-1", name = "not-to-be-used" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }
  mock_resource "aws_lambda_alias" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:123456789012:function:mock:live" }
  }
  mock_resource "aws_lambda_layer_version" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:123456789012:layer:mock:1" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:mock" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:123456789012:mock", url = "https://sqs.eu-west-1.amazonaws.com/123456789012/mock" }
  }
  mock_resource "aws_sfn_state_machine" {
    defaults = { arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:mock" }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-west-1:123456789012:rule/mock" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:mock" }
  }
}

variables {
  name_prefix     = "surf"
  package_dir     = "tests/packages"
  definition_file = "tests/definition.asl.json"
  source_buckets  = ["surf-archive", "another-archive"]
  mongodb_uri     = "mongodb://user:secret@db.example/"
}

run "every_function_is_deployed_alike" {
  assert {
    condition = alltrue([
      for name, function in aws_lambda_function.this :
      function.function_name == "surf-${name}" && function.runtime == "provided.al2023" &&
      function.handler == "bootstrap" && function.publish && one(function.architectures) == "x86_64" &&
      function.environment[0].variables.CLIPFLOW_LOG == "info" && function.tracing_config[0].mode == "Active"
    ])
    error_message = "A function has the wrong name, runtime, handler, architecture, log filter or tracing mode, or is not published."
  }

  assert {
    condition = alltrue([
      for name, function in aws_lambda_function.this :
      function.logging_config[0].log_group == "/aws/lambda/surf-${name}" && function.logging_config[0].log_format == "JSON" &&
      aws_cloudwatch_log_group.function[name].retention_in_days == 30 && aws_lambda_alias.live[name].name == "live"
    ])
    error_message = "A function lacks its own JSON log group with a retention, or its alias live."
  }

  assert {
    condition = jsonencode({
      for name, check in aws_lambda_invocation.self_check : name => [check.function_name, check.qualifier, check.input, check.triggers]
      }) == jsonencode({
      for name, function in aws_lambda_function.this : name =>
      ["surf-${name}", function.version, "{\"selfCheck\":true}", { version = function.version }]
    })
    error_message = "Some new version of a function is not asked whether it starts."
  }

  assert {
    condition     = [for name, function in aws_lambda_function.this : name if length(function.layers) > 0] == ["probe", "thumbnail", "trim", "verify"]
    error_message = "The functions with the FFmpeg layer are not exactly probe, thumbnail, trim and verify."
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : length(function.vpc_config) == 0])
    error_message = "Without vpc, no function runs in one."
  }
}

run "functions_are_told_what_they_read" {
  assert {
    condition = jsonencode({ for name, function in aws_lambda_function.this : name => function.environment[0].variables }) == jsonencode({
      start = {
        CLIPFLOW_DESCRIBE_INTERVAL_MS = "1000"
        CLIPFLOW_LOG                  = "info"
        CLIPFLOW_STATE_MACHINE_ARN    = "arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip"
      }
      validate = {
        CLIPFLOW_LOG            = "info"
        CLIPFLOW_BUCKET         = "surf-clips-123456789012-eu-west-1"
        CLIPFLOW_DEFAULT_FORMAT = "mp4"
        CLIPFLOW_SOURCE_BUCKETS = "another-archive,surf-archive"
      }
      probe = {
        CLIPFLOW_HEVC_SMART_CUTS        = "true"
        CLIPFLOW_LOG                    = "info"
        CLIPFLOW_MAX_CLIP_SECONDS       = "10800"
        CLIPFLOW_MAX_COST_USD           = "5"
        CLIPFLOW_MAX_TRIM_SECONDS       = "600"
        CLIPFLOW_MAX_WHOLE_SOURCE_BYTES = "524288000"
        CLIPFLOW_SCRATCH_BYTES          = "2147483648"
        CLIPFLOW_TRIM_MEMORY_MB         = "3008"
        CLIPFLOW_TRIM_TIMEOUT_SECONDS   = "900"
      }
      trim = {
        CLIPFLOW_LOG           = "info"
        CLIPFLOW_BUCKET        = "surf-clips-123456789012-eu-west-1"
        CLIPFLOW_SCRATCH_BYTES = "2147483648"
      }
      verify = {
        CLIPFLOW_LOG           = "info"
        CLIPFLOW_BUCKET        = "surf-clips-123456789012-eu-west-1"
        CLIPFLOW_SCRATCH_BYTES = "2147483648"
      }
      thumbnail = {
        CLIPFLOW_LOG           = "info"
        CLIPFLOW_BUCKET        = "surf-clips-123456789012-eu-west-1"
        CLIPFLOW_SCRATCH_BYTES = "2147483648"
      }
      store = {
        CLIPFLOW_LOG                 = "info"
        CLIPFLOW_BUCKET              = "surf-clips-123456789012-eu-west-1"
        CLIPFLOW_MONGODB_URI_SECRET  = "surf/mongodb-uri"
        CLIPFLOW_MONGODB_DATABASE    = "clipflow"
        CLIPFLOW_MONGODB_URI_VERSION = "1"
      }
      notify = {
        CLIPFLOW_LOG       = "info"
        CLIPFLOW_TOPIC_ARN = "arn:aws:sns:eu-west-1:123456789012:surf-outcomes"
      }
      transcode = {
        CLIPFLOW_LOG                    = "info"
        CLIPFLOW_BUCKET                 = "surf-clips-123456789012-eu-west-1"
        CLIPFLOW_DEPLOYMENT             = "surf"
        CLIPFLOW_MAX_COST_USD           = "5"
        CLIPFLOW_MEDIACONVERT_ROLE_ARN  = "arn:aws:iam::123456789012:role/surf-mediaconvert-eu-west-1"
        CLIPFLOW_MEDIACONVERT_QUEUE_ARN = "arn:aws:mediaconvert:eu-west-1:123456789012:queues/surf"
      }
      resume = {
        CLIPFLOW_LOG    = "info"
        CLIPFLOW_BUCKET = "surf-clips-123456789012-eu-west-1"
      }
      report = {
        CLIPFLOW_LOG                    = "info"
        CLIPFLOW_BUCKET                 = "surf-clips-123456789012-eu-west-1"
        CLIPFLOW_MEDIACONVERT_QUEUE_ARN = "arn:aws:mediaconvert:eu-west-1:123456789012:queues/surf"
        CLIPFLOW_TOPIC_ARN              = "arn:aws:sns:eu-west-1:123456789012:surf-outcomes"
        CLIPFLOW_MONGODB_URI_SECRET     = "surf/mongodb-uri"
        CLIPFLOW_MONGODB_DATABASE       = "clipflow"
        CLIPFLOW_MONGODB_URI_VERSION    = "1"
      }
    })
    error_message = "The functions' variables are not the ones that the functions read."
  }
}

run "role_is_named_after_its_function" {
  assert {
    condition = alltrue([
      for name, role in aws_iam_role.function : role.name == "${aws_lambda_function.this[name].function_name}-eu-west-1"
    ])
    error_message = "The role's name differs from the one in a function's access errors (crates/aws/src/s3_error.rs)."
  }
}

run "roles_reach_only_what_is_named" {
  assert {
    condition = alltrue(flatten([
      for policy in concat([aws_iam_role_policy.state_machine, aws_iam_role_policy.mediaconvert], values(aws_iam_role_policy.function)) : [
        for statement in jsondecode(policy.policy).Statement : [
          for action in statement.Action : startswith(action, "xray:") || startswith(action, "logs:")
        ] if contains(statement.Resource, "*")
      ]
    ]))
    error_message = "A policy uses the resource * for an action other than X-Ray's and those of log deliveries."
  }

  assert {
    condition = alltrue(flatten([
      for policy in concat([aws_iam_role_policy.state_machine, aws_iam_role_policy.mediaconvert], values(aws_iam_role_policy.function)) : [
        for statement in jsondecode(policy.policy).Statement : [for action in statement.Action : !strcontains(action, "*")]
      ]
    ]))
    error_message = "A policy allows actions by a wildcard."
  }

  assert {
    condition = jsonencode({
      for name, policy in aws_iam_role_policy.function : name => sort(flatten([
        for statement in jsondecode(policy.policy).Statement : [
          for pair in setproduct(statement.Action, statement.Resource) : join(" ", pair)
        ] if !contains(statement.Action, "logs:PutLogEvents") && !contains(statement.Action, "xray:PutTraceSegments")
      ]))
      }) == jsonencode({
      start = [
        "sqs:DeleteMessage arn:aws:sqs:eu-west-1:123456789012:surf-requests",
        "sqs:GetQueueAttributes arn:aws:sqs:eu-west-1:123456789012:surf-requests",
        "sqs:ReceiveMessage arn:aws:sqs:eu-west-1:123456789012:surf-requests",
        "states:DescribeExecution arn:aws:states:eu-west-1:123456789012:execution:surf-clip:*",
        "states:StartExecution arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip",
      ]
      validate = []
      probe = [
        "s3:GetObject arn:aws:s3:::another-archive/*",
        "s3:GetObject arn:aws:s3:::surf-archive/*",
        "s3:ListBucket arn:aws:s3:::another-archive",
        "s3:ListBucket arn:aws:s3:::surf-archive",
      ]
      trim = [
        "s3:AbortMultipartUpload arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*",
        "s3:GetObject arn:aws:s3:::another-archive/*",
        "s3:GetObject arn:aws:s3:::surf-archive/*",
        "s3:GetObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*",
        "s3:ListBucket arn:aws:s3:::another-archive",
        "s3:ListBucket arn:aws:s3:::surf-archive",
        "s3:ListBucket arn:aws:s3:::surf-clips-123456789012-eu-west-1",
        "s3:PutObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*",
      ]
      verify = [
        "s3:GetObject arn:aws:s3:::another-archive/*",
        "s3:GetObject arn:aws:s3:::surf-archive/*",
        "s3:GetObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*",
        "s3:ListBucket arn:aws:s3:::another-archive",
        "s3:ListBucket arn:aws:s3:::surf-archive",
        "s3:ListBucket arn:aws:s3:::surf-clips-123456789012-eu-west-1",
      ]
      thumbnail = [
        "s3:AbortMultipartUpload arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*",
        "s3:GetObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*",
        "s3:ListBucket arn:aws:s3:::surf-clips-123456789012-eu-west-1",
        "s3:PutObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*",
      ]
      store  = ["secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-west-1:123456789012:secret:surf/mongodb-uri-??????"]
      notify = ["sns:Publish arn:aws:sns:eu-west-1:123456789012:surf-outcomes"]
      transcode = [
        "iam:PassRole arn:aws:iam::123456789012:role/surf-mediaconvert-eu-west-1",
        "mediaconvert:CreateJob arn:aws:mediaconvert:eu-west-1:123456789012:queues/surf",
        "mediaconvert:GetJob arn:aws:mediaconvert:eu-west-1:123456789012:jobs/*",
        "mediaconvert:SearchJobs arn:aws:mediaconvert:eu-west-1:123456789012:queues/surf",
        "mediaconvert:TagResource arn:aws:mediaconvert:eu-west-1:123456789012:jobs/*",
        "s3:GetObject arn:aws:s3:::another-archive/*",
        "s3:GetObject arn:aws:s3:::surf-archive/*",
        "s3:GetObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*",
        "s3:ListBucket arn:aws:s3:::another-archive",
        "s3:ListBucket arn:aws:s3:::surf-archive",
        "s3:ListBucket arn:aws:s3:::surf-clips-123456789012-eu-west-1",
        "s3:PutObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/tasks/*",
        "states:SendTaskSuccess arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip",
      ]
      resume = [
        "s3:GetObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*",
        "s3:GetObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/tasks/*",
        "s3:ListBucket arn:aws:s3:::surf-clips-123456789012-eu-west-1",
        "sqs:DeleteMessage arn:aws:sqs:eu-west-1:123456789012:surf-resume-events",
        "sqs:GetQueueAttributes arn:aws:sqs:eu-west-1:123456789012:surf-resume-events",
        "sqs:ReceiveMessage arn:aws:sqs:eu-west-1:123456789012:surf-resume-events",
        "states:SendTaskFailure arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip",
        "states:SendTaskHeartbeat arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip",
        "states:SendTaskSuccess arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip",
      ]
      report = [
        "mediaconvert:CancelJob arn:aws:mediaconvert:eu-west-1:123456789012:jobs/*",
        "mediaconvert:SearchJobs arn:aws:mediaconvert:eu-west-1:123456789012:queues/surf",
        "s3:GetObject arn:aws:s3:::surf-clips-123456789012-eu-west-1/tasks/*",
        "s3:ListBucket arn:aws:s3:::surf-clips-123456789012-eu-west-1",
        "secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-west-1:123456789012:secret:surf/mongodb-uri-??????",
        "sns:Publish arn:aws:sns:eu-west-1:123456789012:surf-outcomes",
        "sqs:DeleteMessage arn:aws:sqs:eu-west-1:123456789012:surf-report-events",
        "sqs:GetQueueAttributes arn:aws:sqs:eu-west-1:123456789012:surf-report-events",
        "sqs:ReceiveMessage arn:aws:sqs:eu-west-1:123456789012:surf-report-events",
        "states:DescribeExecution arn:aws:states:eu-west-1:123456789012:execution:surf-clip:*",
        "states:GetExecutionHistory arn:aws:states:eu-west-1:123456789012:execution:surf-clip:*",
      ]
    })
    error_message = "A function may do more than it needs."
  }
}

run "exactly_the_state_machine_asks_what_to_sample" {
  assert {
    condition = [
      for name, policy in merge({ clip = aws_iam_role_policy.state_machine }, aws_iam_role_policy.function) : name
      if strcontains(policy.policy, "xray:GetSamplingRules") && strcontains(policy.policy, "xray:GetSamplingTargets")
    ] == ["clip"]
    error_message = "The state machine cannot trace as AWS documents it, or functions have more access to X-Ray than they need."
  }
}

run "definition_names_aliases_and_limits" {
  assert {
    condition = jsondecode(aws_sfn_state_machine.clip.definition).States.Values.Output == {
      functions = [for _ in range(8) : "arn:aws:lambda:eu-west-1:123456789012:function:mock:live"]
      numbers   = [21600, 7200, 30, 0, 300]
    }
    error_message = "The definition's placeholders are not the aliases and limits."
  }

  assert {
    condition     = aws_sfn_state_machine.clip.type == "STANDARD" && aws_sfn_state_machine.clip.tracing_configuration[0].enabled
    error_message = "The state machine is not a traced Standard one."
  }
}

run "limits_of_the_engines_reach_everything_that_reads_them" {
  variables {
    trim_memory_mb            = 1769
    trim_timeout_seconds      = 300
    trim_ephemeral_storage_mb = 512
    max_trim_seconds          = 90.5
    transcode_timeout_seconds = 90
  }

  assert {
    condition = (
      aws_lambda_function.this["trim"].memory_size == 1769 && aws_lambda_function.this["trim"].timeout == 300 &&
      aws_lambda_function.this["trim"].ephemeral_storage[0].size == 512 &&
      aws_lambda_function.this["trim"].environment[0].variables.CLIPFLOW_SCRATCH_BYTES == "536870912" &&
      aws_lambda_function.this["probe"].environment[0].variables.CLIPFLOW_TRIM_MEMORY_MB == "1769" &&
      aws_lambda_function.this["probe"].environment[0].variables.CLIPFLOW_TRIM_TIMEOUT_SECONDS == "300" &&
      aws_lambda_function.this["probe"].environment[0].variables.CLIPFLOW_MAX_TRIM_SECONDS == "90.5" &&
      aws_lambda_function.this["probe"].environment[0].variables.CLIPFLOW_SCRATCH_BYTES == "536870912" &&
      jsondecode(aws_sfn_state_machine.clip.definition).States.Values.Output.numbers == [90, 89, 30, 0, 300]
    )
    error_message = "trim, probe's estimates and the definition disagree about the engines' limits."
  }
}

run "recordings_reach_what_looks_for_them" {
  variables {
    recordings = { bucket = "surf-archive", retry_seconds = 40 }
  }

  assert {
    condition = {
      for name, value in aws_lambda_function.this["probe"].environment[0].variables : name => value if startswith(name, "CLIPFLOW_RECORDINGS_")
      } == {
      CLIPFLOW_RECORDINGS_BUCKET            = "surf-archive"
      CLIPFLOW_RECORDINGS_KEY_TEMPLATE      = "recordings/{camera}/{start:%Y/%m/%d}/{camera}.{start:%Y%m%dT%H%M%S%3f}.mp4"
      CLIPFLOW_RECORDINGS_LONGEST_SECONDS   = "900"
      CLIPFLOW_RECORDINGS_RETENTION_SECONDS = "259200"
    }
    error_message = "probe does not know where recordings are."
  }

  assert {
    condition     = slice(jsondecode(aws_sfn_state_machine.clip.definition).States.Values.Output.numbers, 2, 5) == [40, 13, 400]
    error_message = "The wait for a recording is not a quarter of an hour at growing intervals."
  }
}

run "requests_outlast_a_burst_and_are_kept" {
  assert {
    condition = (
      jsondecode(aws_sqs_queue_redrive_policy.requests.redrive_policy).maxReceiveCount *
      aws_sqs_queue.requests.visibility_timeout_seconds >= 60 * 60
    )
    error_message = "A request is dropped while a burst throttles start."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dead_letters.redrive_allow_policy).sourceQueueArns == ["arn:aws:sqs:eu-west-1:123456789012:surf-requests"]
    error_message = "A queue other than the request queue may use the dead-letter queue."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.message_retention_seconds == 1209600
    error_message = "Dead letters are not kept for 14 days."
  }

  assert {
    condition     = aws_sqs_queue.requests.visibility_timeout_seconds >= 6 * aws_lambda_function.this["start"].timeout
    error_message = "A request can be delivered again while start is processing it."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.start.function_response_types == toset(["ReportBatchItemFailures"])
    error_message = "One bad request would fail the whole batch."
  }
}

run "events_of_this_deployment_reach_their_functions" {
  assert {
    condition = jsonencode({ for name, rule in aws_cloudwatch_event_rule.this : name => jsondecode(rule.event_pattern) }) == jsonencode({
      resume = {
        source      = ["aws.mediaconvert"]
        detail-type = ["MediaConvert Job State Change"]
        detail = {
          status       = ["PROGRESSING", "STATUS_UPDATE", "COMPLETE", "ERROR", "CANCELED"]
          userMetadata = { clipflow = ["surf"] }
        }
      }
      report = {
        source      = ["aws.states"]
        detail-type = ["Step Functions Execution Status Change"]
        detail = {
          stateMachineArn = ["arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip"]
          status          = ["FAILED", "TIMED_OUT", "ABORTED"]
        }
      }
    })
    error_message = "A rule matches events of other deployments."
  }

  assert {
    condition = alltrue([
      for name, target in aws_cloudwatch_event_target.this :
      target.arn == aws_sqs_queue.events[name].arn && aws_sqs_queue.events[name].name == "surf-${name}-events" &&
      aws_lambda_event_source_mapping.event[name].event_source_arn == aws_sqs_queue.events[name].arn &&
      aws_lambda_event_source_mapping.event[name].function_name == aws_lambda_alias.live[name].arn &&
      aws_lambda_event_source_mapping.event[name].batch_size == 1
    ])
    error_message = "A rule's events do not reach its function's alias one by one through its queue."
  }

  assert {
    condition = alltrue([
      for name in ["resume", "report"] :
      jsondecode(aws_sqs_queue.events[name].policy).Statement[0].Resource == "arn:aws:sqs:eu-west-1:123456789012:surf-${name}-events" &&
      jsondecode(aws_sqs_queue.events[name].policy).Statement[0].Condition.ArnEquals["aws:SourceArn"] == "arn:aws:events:eu-west-1:123456789012:rule/surf-${name}"
    ])
    error_message = "Someone other than its rule may send to a function's queue, or the rule may not."
  }
}

run "events_that_fail_are_tried_for_an_hour_and_kept" {
  assert {
    condition = alltrue([
      for name in ["resume", "report"] :
      aws_sqs_queue.events[name].visibility_timeout_seconds > aws_lambda_function.this[name].timeout &&
      aws_sqs_queue.events[name].visibility_timeout_seconds * jsondecode(aws_sqs_queue_redrive_policy.events[name].redrive_policy).maxReceiveCount == 3600
    ])
    error_message = "An event is delivered again while it is processed, or is not retried for an hour."
  }

  assert {
    condition = alltrue([
      for name in ["resume", "report"] :
      aws_cloudwatch_event_target.this[name].dead_letter_config[0].arn == aws_sqs_queue.event_dead_letters[name].arn &&
      jsondecode(aws_sqs_queue_redrive_policy.events[name].redrive_policy).deadLetterTargetArn == aws_sqs_queue.event_dead_letters[name].arn &&
      aws_sqs_queue.event_dead_letters[name].message_retention_seconds == 1209600 &&
      jsondecode(aws_sqs_queue.event_dead_letters[name].redrive_allow_policy).sourceQueueArns == ["arn:aws:sqs:eu-west-1:123456789012:surf-${name}-events"] &&
      jsondecode(aws_sqs_queue.event_dead_letters[name].policy).Statement[0].Condition.ArnEquals["aws:SourceArn"] == "arn:aws:events:eu-west-1:123456789012:rule/surf-${name}"
    ])
    error_message = "Events that EventBridge or Lambda gives up on do not reach the function's dead-letter queue."
  }
}

run "mediaconvert_reads_sources_and_writes_clips" {
  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.mediaconvert.policy).Statement : statement.Resource] == [
      ["arn:aws:s3:::another-archive/*", "arn:aws:s3:::surf-archive/*"],
      ["arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/*"],
    ]
    error_message = "MediaConvert's role has access to something else."
  }

  assert {
    condition     = aws_iam_role.mediaconvert.name == "surf-mediaconvert-eu-west-1" && aws_media_convert_queue.clips[0].name == "surf"
    error_message = "The role and the queue are not the ones in transcode's variables."
  }
}

run "an_existing_mediaconvert_queue_is_used" {
  variables {
    mediaconvert_queue = "reserved"
  }

  assert {
    condition = (
      length(aws_media_convert_queue.clips) == 0 &&
      endswith(aws_lambda_function.this["transcode"].environment[0].variables.CLIPFLOW_MEDIACONVERT_QUEUE_ARN, ":queues/reserved")
    )
    error_message = "A queue is created although one was named, or the named one is not used."
  }
}

run "clips_are_private_versioned_and_kept" {
  assert {
    condition = alltrue([
      for block in aws_s3_bucket_public_access_block.this :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ])
    error_message = "A bucket can be made public."
  }

  assert {
    condition     = !aws_s3_bucket.clips[0].force_destroy && aws_s3_bucket_versioning.clips[0].versioning_configuration[0].status == "Enabled"
    error_message = "Clips can be deleted with the deployment, or overwritten without a previous version."
  }

  assert {
    condition = {
      for rule in aws_s3_bucket_lifecycle_configuration.clips[0].rule : rule.id => flatten([
        rule.abort_incomplete_multipart_upload[*].days_after_initiation, rule.noncurrent_version_expiration[*].noncurrent_days,
        [for expiration in rule.expiration : expiration.days if rule.id == "expire-waiting-tasks"],
      ])
    } == { expire-waiting-tasks = [15], abort-unfinished-uploads = [1], expire-noncurrent-versions = [30] }
    error_message = "Unfinished uploads or overwritten clips are kept for longer or shorter than the variables say."
  }
}

run "buckets_refuse_requests_without_tls" {
  assert {
    condition = { for name, policy in aws_s3_bucket_policy.this : name => jsondecode(policy.policy).Statement } == {
      for name in ["clips", "packages"] : name => [{
        Sid       = "OnlyTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = ["arn:aws:s3:::surf-${name}-123456789012-eu-west-1", "arn:aws:s3:::surf-${name}-123456789012-eu-west-1/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }]
    }
    error_message = "A bucket answers requests without TLS."
  }
}

run "statements_of_others_join_the_policy_of_the_clips" {
  variables {
    clips_bucket_policy = "{\"Statement\": [{\"Sid\": \"Cdn\"}]}"
  }

  assert {
    condition = { for name, policy in aws_s3_bucket_policy.this : name => jsondecode(policy.policy).Statement[*].Sid } == {
      clips = ["OnlyTls", "Cdn"], packages = ["OnlyTls"],
    }
    error_message = "The statements are missing, replace the module's own, or reach the packages."
  }
}

run "a_bucket_that_exists_is_used_and_left_as_it_is" {
  variables {
    clips_bucket = "kept-clips"
  }

  assert {
    condition = (
      length(aws_s3_bucket.clips) + length(aws_s3_bucket_versioning.clips) + length(aws_s3_bucket_lifecycle_configuration.clips) == 0 &&
      keys(aws_s3_bucket_policy.this) == ["packages"] && keys(aws_s3_bucket_public_access_block.this) == ["packages"] &&
      keys(aws_s3_bucket_ownership_controls.this) == ["packages"] && keys(aws_s3_bucket_server_side_encryption_configuration.this) == ["packages"]
    )
    error_message = "The module creates or changes a clips bucket."
  }

  assert {
    condition = (
      output.bucket == "kept-clips" && aws_lambda_function.this["trim"].environment[0].variables.CLIPFLOW_BUCKET == "kept-clips" &&
      strcontains(aws_iam_role_policy.function["trim"].policy, "arn:aws:s3:::kept-clips/clips/*")
    )
    error_message = "The bucket is not used."
  }
}

run "the_name_of_a_destroyed_secret_is_free_at_once" {
  assert {
    condition     = aws_secretsmanager_secret.mongodb_uri.recovery_window_in_days == 0
    error_message = "The next deployment of the same name finds its secret scheduled for deletion."
  }
}

run "first_deployment_in_a_new_account_stays_within_its_quotas" {
  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.memory_size <= 3008])
    error_message = "A function takes more memory than a new account has: 3008 MB."
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : function.reserved_concurrent_executions == null])
    error_message = "A function reserves concurrency, but a new account has none to spare."
  }
}

run "packages_that_change_are_new_objects" {
  assert {
    condition     = aws_lambda_function.this["trim"].s3_key == "trim-${filesha256("tests/packages/trim.zip")}.zip"
    error_message = "The package's object is not named after its content."
  }
}

run "mongodb_is_checked_against_the_public_cas" {
  assert {
    condition     = length(aws_lambda_layer_version.mongodb_ca) == 0 && length(aws_s3_object.mongodb_ca) == 0
    error_message = "There is a layer for a CA bundle but no bundle."
  }
}

run "a_ca_bundle_is_a_layer_of_what_talks_to_mongodb" {
  variables {
    mongodb_ca_file = "tests/ca.pem"
  }

  # The archive was written by Python's zipfile, and its checksum contains CR LF.
  assert {
    condition     = aws_s3_object.mongodb_ca[0].content_base64 == filebase64("tests/ca-layer.zip")
    error_message = "The layer is not a zip archive of the bundle."
  }

  assert {
    condition     = aws_s3_object.mongodb_ca[0].key == "mongodb-ca-${filesha256("tests/ca.pem")}.zip"
    error_message = "The layer's object is not named after the bundle."
  }

  assert {
    condition = {
      for name, function in aws_lambda_function.this : name => function.environment[0].variables.CLIPFLOW_MONGODB_CA_FILE
      if contains(keys(function.environment[0].variables), "CLIPFLOW_MONGODB_CA_FILE")
    } == { report = "/opt/mongodb-ca.pem", store = "/opt/mongodb-ca.pem" }
    error_message = "The functions that know where the bundle is are not exactly report and store."
  }

  assert {
    condition     = [for name, function in aws_lambda_function.this : name if length(function.layers) > 0] == ["probe", "report", "store", "thumbnail", "trim", "verify"]
    error_message = "report or store lacks the layer, or another function has it."
  }
}

run "alarms_exist_where_somebody_listens" {
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.this) == 0
    error_message = "There are alarms although there are no topics."
  }
}

run "alarms_are_sent_to_the_topics" {
  variables {
    alarm_topic_arns = ["arn:aws:sns:eu-west-1:123456789012:operators"]
  }

  assert {
    condition = alltrue([
      for name in ["dead-letters", "executions-failed", "executions-timed-out", "jobs-waiting", "resume-dead-letters", "report-dead-letters"] :
      aws_cloudwatch_metric_alarm.this[name].alarm_actions == toset(["arn:aws:sns:eu-west-1:123456789012:operators"])
    ])
    error_message = "An alarm is missing or sent elsewhere."
  }
}

run "a_job_that_waits_sounds_the_alarm_before_it_is_given_up" {
  variables {
    alarm_topic_arns            = ["arn:aws:sns:eu-west-1:123456789012:operators"]
    transcode_heartbeat_seconds = 3600
  }

  # The metric is in milliseconds.
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["jobs-waiting"].threshold == 1800000 &&
      aws_cloudwatch_metric_alarm.this["jobs-waiting"].dimensions.Queue == "arn:aws:mediaconvert:eu-west-1:123456789012:queues/surf" &&
      jsondecode(aws_sfn_state_machine.clip.definition).States.Values.Output.numbers[1] == 3600
    )
    error_message = "The alarm does not belong to the heartbeat or to the queue."
  }
}

run "requests_start_as_fast_as_they_come" {
  assert {
    condition = (
      aws_lambda_event_source_mapping.start.batch_size == 10 &&
      !can(aws_lambda_function.this["start"].environment[0].variables.CLIPFLOW_START_INTERVAL_MS)
    )
    error_message = "Requests are throttled although no rate is set."
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.start.scaling_config[0].maximum_concurrency * 1000 ==
      10 * tonumber(aws_lambda_function.this["start"].environment[0].variables.CLIPFLOW_DESCRIBE_INTERVAL_MS)
    )
    error_message = "All environments of start together do not describe ten executions per second."
  }
}

# Two batches in flight, each of which takes its interval for every request: 2 * 60 / 0.8 s is 150 per minute.
run "starts_are_held_to_a_rate" {
  variables {
    max_starts_per_minute = 150
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.start.scaling_config[0].maximum_concurrency == 2 && aws_lambda_event_source_mapping.start.batch_size == 10 &&
      aws_lambda_function.this["start"].environment[0].variables.CLIPFLOW_START_INTERVAL_MS == "800"
    )
    error_message = "The rate is not 150 executions per minute."
  }
}

run "a_batch_at_the_lowest_rate_ends_before_start_times_out" {
  variables {
    max_starts_per_minute = 6
  }

  assert {
    condition = (
      aws_lambda_event_source_mapping.start.batch_size == 1 && aws_lambda_function.this["start"].timeout == 30 &&
      aws_lambda_function.this["start"].environment[0].variables.CLIPFLOW_START_INTERVAL_MS == "20000"
    )
    error_message = "A batch takes longer than start may."
  }
}

run "failures_by_the_thousand_share_few_connections" {
  assert {
    condition = {
      for name, mapping in aws_lambda_event_source_mapping.event : name => flatten(mapping.scaling_config[*].maximum_concurrency)
    } == { report = [10], resume = [] }
    error_message = "report's concurrency is not limited, or resume's is."
  }
}

run "only_what_talks_to_mongodb_runs_in_the_vpc" {
  variables {
    vpc = { subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = ["sg-1"] }
  }

  assert {
    condition     = [for name, function in aws_lambda_function.this : name if length(function.vpc_config) > 0] == ["report", "store"]
    error_message = "A function other than report and store, which talk to MongoDB, runs in the VPC."
  }

  assert {
    condition     = [for name, policy in aws_iam_role_policy.function : name if strcontains(policy.policy, "ec2:")] == ["report", "store"]
    error_message = "A function outside the VPC may create network interfaces."
  }
}

run "options_are_passed_on" {
  variables {
    architecture                 = "arm64"
    package_dir                  = "tests/packages-arm64"
    tracing                      = false
    abort_uploads_after_days     = null
    expire_noncurrent_after_days = null
    start_max_concurrency        = 20
    trim_reserved_concurrency    = 50
    permissions_boundary         = "arn:aws:iam::123456789012:policy/boundary"
    public_base_url              = "https://cdn.example/clips"
    source_kms_key_arns          = ["arn:aws:kms:eu-west-1:123456789012:key/0d7bd0e3"]
  }

  assert {
    condition     = alltrue([for function in aws_lambda_function.this : one(function.architectures) == "arm64"])
    error_message = "A function is built for another architecture."
  }

  assert {
    condition = (
      length(aws_sfn_state_machine.clip.tracing_configuration) == 0 &&
      alltrue([for function in aws_lambda_function.this : function.tracing_config[0].mode == "PassThrough"]) &&
      !anytrue([for policy in aws_iam_role_policy.function : strcontains(policy.policy, "xray")])
    )
    error_message = "Something is traced although tracing is off."
  }

  assert {
    condition     = join(" ", aws_s3_bucket_lifecycle_configuration.clips[0].rule[*].id) == "expire-waiting-tasks"
    error_message = "There is a lifecycle rule although none was requested."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.start.scaling_config[0].maximum_concurrency == 20
    error_message = "The limit on start's concurrency is not passed on."
  }

  assert {
    condition     = { for name, function in aws_lambda_function.this : name => function.reserved_concurrent_executions if function.reserved_concurrent_executions != null } == { trim = 50 }
    error_message = "The concurrency of a function other than trim is reserved."
  }

  assert {
    condition = alltrue([
      for role in concat([aws_iam_role.state_machine, aws_iam_role.mediaconvert], values(aws_iam_role.function)) :
      role.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary"
    ])
    error_message = "A role escapes the permissions boundary."
  }

  assert {
    condition     = aws_lambda_function.this["store"].environment[0].variables.CLIPFLOW_PUBLIC_BASE_URL == "https://cdn.example/clips"
    error_message = "store does not know the base URL."
  }

  assert {
    condition     = [for name, policy in aws_iam_role_policy.function : name if strcontains(policy.policy, "kms:Decrypt")] == ["probe", "transcode", "trim", "verify"]
    error_message = "The functions that may decrypt sources are not exactly probe, transcode, trim and verify."
  }
}
