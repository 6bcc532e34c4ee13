# Evaluates policies that only allow: which of many calls each of them permits.

variable "policies" {
  description = "Policy documents, as JSON, by name."
  type        = map(string)
}

locals {
  resources = {
    requests            = "arn:aws:sqs:eu-west-1:123456789012:surf-requests"
    dead_letters        = "arn:aws:sqs:eu-west-1:123456789012:surf-requests-dead"
    resume_events       = "arn:aws:sqs:eu-west-1:123456789012:surf-resume-events"
    resume_dead_letters = "arn:aws:sqs:eu-west-1:123456789012:surf-resume-dead"
    report_events       = "arn:aws:sqs:eu-west-1:123456789012:surf-report-events"
    report_dead_letters = "arn:aws:sqs:eu-west-1:123456789012:surf-report-dead"
    state_machine       = "arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip"
    execution           = "arn:aws:states:eu-west-1:123456789012:execution:surf-clip:dawn-patrol-0042-68fc94578ef3"
    topic               = "arn:aws:sns:eu-west-1:123456789012:surf-outcomes"
    secret              = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:surf/mongodb-uri-AbCdEf"
    function            = "arn:aws:lambda:eu-west-1:123456789012:function:surf-trim:live"
    mediaconvert_job    = "arn:aws:mediaconvert:eu-west-1:123456789012:jobs/1700000000000-abc123"
    source              = "arn:aws:s3:::surf-archive/hi-pipeline.mp4"
    upload              = "arn:aws:s3:::surf-archive/uploads/68fc94578ef3.mp4"
    upload_of_others    = "arn:aws:s3:::surf-archive-2/uploads/68fc94578ef3.mp4"
    key                 = "arn:aws:kms:eu-west-1:123456789012:key/0d7bd0e3"
    other_key           = "arn:aws:kms:eu-west-1:123456789012:key/1e8ce1f4"
    clip                = "arn:aws:s3:::surf-clips-123456789012-eu-west-1/clips/a/b/clip.mp4"
    role                = "arn:aws:iam::123456789012:role/surf-mediaconvert-eu-west-1"
    other_queue         = "arn:aws:sqs:eu-west-1:123456789012:surf2-requests"
    other_machine       = "arn:aws:states:eu-west-1:123456789012:stateMachine:surf-clip2"
    other_execution     = "arn:aws:states:eu-west-1:123456789012:execution:surf-clip2:dawn-patrol-0042-68fc94578ef3"
    other_account       = "arn:aws:sqs:eu-west-1:210987654321:surf-requests"
    other_region        = "arn:aws:sqs:us-east-1:123456789012:surf-requests"
  }

  # The actions in the policies, and others that might get in by mistake.
  actions = distinct(concat(flatten([for statements in local.statements : statements[*].actions]), [
    "iam:PassRole", "lambda:InvokeFunction", "lambda:UpdateFunctionCode", "mediaconvert:CancelJob", "mediaconvert:CreateJob",
    "s3:DeleteObject", "s3:GetObject", "s3:PutObject", "secretsmanager:GetSecretValue", "sns:Publish", "sns:Subscribe",
    "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:DeleteQueue", "sqs:GetQueueAttributes", "sqs:ListMessageMoveTasks",
    "sqs:PurgeQueue", "sqs:ReceiveMessage", "sqs:SendMessage", "sqs:SetQueueAttributes", "sqs:StartMessageMoveTask",
    "states:DeleteStateMachine", "states:DescribeExecution", "states:GetExecutionHistory", "states:ListExecutions",
    "states:RedriveExecution", "states:SendTaskFailure", "states:SendTaskSuccess", "states:StartExecution", "states:StopExecution",
    "states:UpdateStateMachine",
  ]))

  # A policy's patterns as regular expressions: * is any text, ? any character.
  statements = {
    for name, policy in var.policies : name => [
      for statement in jsondecode(policy).Statement : {
        actions  = statement.Action
        patterns = [for arn in statement.Resource : "^${replace(replace(replace(arn, ".", "\\."), "*", ".*"), "?", ".")}$"]
      }
    ]
  }
}

output "unknown_patterns" {
  description = "Patterns of resources that match none of local.resources, so that nobody looked at what they allow."
  value = [
    for pattern in distinct(flatten([for statements in local.statements : statements[*].patterns])) : pattern
    if !anytrue([for arn in values(local.resources) : can(regex(pattern, arn))])
  ]
}

output "allowed" {
  description = "By policy, the calls that it allows, each as an action and a key of local.resources."
  value = {
    for name, statements in local.statements : name => sort([
      for call in setproduct(local.actions, keys(local.resources)) : join(" ", call)
      if anytrue([
        for statement in statements :
        contains(statement.actions, call[0]) && anytrue([for pattern in statement.patterns : can(regex(pattern, local.resources[call[1]]))])
      ])
    ])
  }
}
