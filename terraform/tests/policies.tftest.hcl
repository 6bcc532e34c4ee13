# Computes what the policies for users of the deployment allow: every call that they might make, on every resource of
# the deployment and of others, is checked against every statement. The policies have no wildcards in actions, no
# conditions and no denials, which the first run checks. So a call is allowed if one statement has its action and a
# pattern that matches its resource.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
}

variables {
  name_prefix     = "surf"
  package_dir     = "tests/packages"
  definition_file = "tests/definition.asl.json"
  source_buckets  = ["surf-archive"]
  mongodb_uri     = "mongodb://db.example/"

  source_kms_key_arns = ["arn:aws:kms:eu-west-1:123456789012:key/0d7bd0e3"]
}

run "policies_are_simple_enough_to_be_computed" {
  command = plan

  assert {
    condition = alltrue(flatten([
      for policy in [output.producer_policy, output.operator_policy] : [
        for statement in jsondecode(policy).Statement :
        sort(keys(statement)) == tolist(["Action", "Effect", "Resource", "Sid"]) && statement.Effect == "Allow" && !anytrue([for action in statement.Action : strcontains(action, "*")])
      ]
    ]))
    error_message = "A statement has an element that this file does not evaluate."
  }
}

run "what_each_may_do" {
  command = plan

  module {
    source = "./tests/evaluate"
  }

  variables {
    policies = {
      producer = run.policies_are_simple_enough_to_be_computed.producer_policy
      operator = run.policies_are_simple_enough_to_be_computed.operator_policy
    }
  }

  assert {
    condition     = length(output.unknown_patterns) == 0
    error_message = "A policy names resources that tests/evaluate does not know: ${jsonencode(output.unknown_patterns)}"
  }

  assert {
    condition     = output.allowed.producer == tolist(["sqs:SendMessage requests"])
    error_message = "A producer may do more than send requests: ${jsonencode(output.allowed.producer)}"
  }

  assert {
    # Metrics have no ARN, so the operator may read those of all queues.
    condition = tolist([for call in output.allowed.operator : call if !startswith(call, "cloudwatch:GetMetricData ")]) == tolist(sort(concat(
      [for action in ["ListExecutions", "StartExecution"] : "states:${action} state_machine"],
      [for action in ["DescribeExecution", "DescribeStateMachineForExecution", "GetExecutionHistory", "RedriveExecution", "StopExecution"] : "states:${action} execution"],
      [
        for pair in setproduct(
          ["ReceiveMessage", "ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "StartMessageMoveTask", "ListMessageMoveTasks"],
          ["dead_letters", "report_dead_letters", "resume_dead_letters"],
        ) : "sqs:${pair[0]} ${pair[1]}"
      ],
      [
        for pair in setproduct(["GetQueueAttributes", "SendMessage"], ["requests", "report_events", "resume_events"]) :
        "sqs:${pair[0]} ${pair[1]}"
      ],
      ["s3:GetObject clip"],
      # What enqueue needs to upload a file as a source, in parts, to an encrypted bucket.
      [for action in ["GetObject", "PutObject", "AbortMultipartUpload"] : "s3:${action} upload"],
      [for action in ["GenerateDataKey", "Decrypt"] : "kms:${action} key"],
    )))
    error_message = "An operator may do something else than list, show, measure, play, redrive, stop, replay and upload: ${jsonencode(output.allowed.operator)}"
  }
}

run "without_keys_nothing_is_said_of_them" {
  command = plan

  variables {
    source_kms_key_arns = []
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(output.operator_policy).Statement :
      length(statement.Resource) > 0 && !anytrue([for action in statement.Action : startswith(action, "kms:")])
    ])
    error_message = "A statement names no resource, or a key that there is not."
  }
}
