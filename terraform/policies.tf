# Ready-made policy documents for users of the deployment. They are outputs, to be attached by the caller.

locals {
  producer_policy = {
    Version = "2012-10-17"
    Statement = [
      { Sid = "SendRequests", Effect = "Allow", Action = ["sqs:SendMessage"], Resource = [local.arn.requests] },
    ]
  }

  dead_letter_arns = concat([local.arn.dead_letters], values(local.event_dead_letter_arns))
  replay_arns      = concat([local.arn.requests], values(local.event_queue_arns))

  # Parts of an upload are encrypted with the bucket's key and read again when they are put together.
  encrypt_uploads = length(var.source_kms_key_arns) == 0 ? [] : [
    {
      Sid      = "EncryptUploads"
      Effect   = "Allow"
      Action   = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource = sort(var.source_kms_key_arns)
    },
  ]

  # What the command clipflow calls.
  operator_policy = {
    Version = "2012-10-17"
    Statement = concat([
      { Sid = "ListAndStart", Effect = "Allow", Action = ["states:ListExecutions", "states:StartExecution"], Resource = [local.arn.state_machine] },
      {
        Sid    = "ShowRedriveAndStop"
        Effect = "Allow"
        Action = [
          "states:DescribeExecution", "states:DescribeStateMachineForExecution", "states:GetExecutionHistory",
          "states:RedriveExecution", "states:StopExecution",
        ]
        Resource = [local.arn.executions]
      },
      {
        Sid    = "ReadAndDropDeadLetters"
        Effect = "Allow"
        Action = [
          "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes",
          "sqs:StartMessageMoveTask", "sqs:ListMessageMoveTasks",
        ]
        Resource = local.dead_letter_arns
      },
      {
        Sid      = "CountAndReplay"
        Effect   = "Allow"
        Action   = ["sqs:GetQueueAttributes", "sqs:SendMessage"]
        Resource = local.replay_arns
      },
      # A metric has no ARN.
      { Sid = "SeeTheAgeOfMessages", Effect = "Allow", Action = ["cloudwatch:GetMetricData"], Resource = ["*"] },
      { Sid = "PlayClips", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${local.arn.bucket}/*"] },
      # HeadObject is s3:GetObject, and all calls of a multipart upload but its end by an abort are s3:PutObject.
      {
        Sid      = "UploadSources"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
        Resource = [for arn in local.arn.sources : "${arn}/uploads/*"]
      },
    ], local.encrypt_uploads)
  }
}
