locals {
  # What an event source mapping does with its queue, with its function's role.
  receive = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]

  # What functions may do, by the names that local.functions uses.
  permissions = {
    receive_requests = [
      { Action = local.receive, Resource = [local.arn.requests] },
    ]
    start_executions = [
      { Action = ["states:StartExecution"], Resource = [local.arn.state_machine] },
    ]
    describe_executions = [
      { Action = ["states:DescribeExecution"], Resource = [local.arn.executions] },
    ]
    # Without s3:ListBucket, S3 answers 403 for an object that does not exist.
    read_sources = concat(
      [
        { Action = ["s3:GetObject"], Resource = [for arn in local.arn.sources : "${arn}/*"] },
        { Action = ["s3:ListBucket"], Resource = local.arn.sources },
      ],
      local.decrypt_sources,
    )
    read_clips = [
      { Action = ["s3:GetObject"], Resource = ["${local.arn.bucket}/clips/*"] },
      { Action = ["s3:ListBucket"], Resource = [local.arn.bucket] },
    ]
    write_clips = [
      { Action = ["s3:PutObject", "s3:AbortMultipartUpload"], Resource = ["${local.arn.bucket}/clips/*"] },
    ]
    publish_outcomes = [
      { Action = ["sns:Publish"], Resource = [local.arn.topic] },
    ]
    # Without it, S3 answers 403 for an object that does not exist.
    list_clips = [
      { Action = ["s3:ListBucket"], Resource = [local.arn.bucket] },
    ]
    # The objects that say which task waits for a job that a rerun has taken over.
    read_tasks = [
      { Action = ["s3:GetObject"], Resource = ["${local.arn.bucket}/tasks/*"] },
    ]
    write_tasks = [
      { Action = ["s3:PutObject"], Resource = ["${local.arn.bucket}/tasks/*"] },
    ]
    # Jobs use no template and no preset, so CreateJob needs only the queue.
    submit_jobs = [
      { Action = ["mediaconvert:CreateJob", "mediaconvert:SearchJobs"], Resource = [local.arn.mediaconvert_queue] },
      {
        Action   = ["mediaconvert:GetJob", "mediaconvert:TagResource"]
        Resource = [local.arn.mediaconvert_jobs]
      },
      {
        Action    = ["iam:PassRole"]
        Resource  = [local.arn.mediaconvert_role]
        Condition = { StringEquals = { "iam:PassedToService" = "mediaconvert.amazonaws.com" } }
      },
      # If a job has already made the clip, the task is completed without another one.
      { Action = ["states:SendTaskSuccess"], Resource = [local.arn.state_machine] },
    ]
    # Searches are limited to the queue by their arguments. The jobs to cancel are not known beforehand.
    cancel_jobs = [
      { Action = ["mediaconvert:SearchJobs"], Resource = [local.arn.mediaconvert_queue] },
      { Action = ["mediaconvert:CancelJob"], Resource = [local.arn.mediaconvert_jobs] },
    ]
    read_executions = [
      { Action = ["states:DescribeExecution", "states:GetExecutionHistory"], Resource = [local.arn.executions] },
    ]
    complete_tasks = [
      {
        Action   = ["states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"]
        Resource = [local.arn.state_machine]
      },
    ]
    # AWS appends six characters to a secret's ARN. It is encrypted with aws/secretsmanager, whose key policy lets every
    # reader of the secret decrypt it.
    read_mongodb_uri = [
      { Action = ["secretsmanager:GetSecretValue"], Resource = [local.arn.mongodb_uri] },
    ]
    # EC2 evaluates these for the network interfaces that Lambda creates; their resources are not known beforehand.
    attach_to_vpc = [
      {
        Action = [
          "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSubnets", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
        ],
        Resource = ["*"]
      },
    ]
  }

  decrypt_sources = length(var.source_kms_key_arns) == 0 ? [] : [
    { Action = ["kms:Decrypt"], Resource = sort(var.source_kms_key_arns) },
  ]

  # X-Ray has no resources to name. Lambda does its own sampling; Step Functions asks X-Ray what to sample.
  trace = {
    for name, actions in {
      function      = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
      state_machine = ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"]
    } : name => var.tracing ? [{ Action = actions, Resource = ["*"] }] : []
  }

  function_permissions = {
    for name, function in local.functions : name => concat(
      function.permissions,
      function.mongodb ? ["read_mongodb_uri"] : [],
      function.mongodb && var.vpc != null ? ["attach_to_vpc"] : [],
    )
  }
}

resource "aws_iam_role" "function" {
  for_each = local.functions

  # Roles are global: the region distinguishes deployments with the same name in two regions.
  name        = "${var.name_prefix}-${each.key}-${local.region}"
  description = each.value.description
  tags        = var.tags

  permissions_boundary = var.permissions_boundary

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  for_each = local.functions

  name = "function"
  role = aws_iam_role.function[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in concat(
        [
          {
            Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
            Resource = ["arn:${local.partition}:logs:${local.regional}:log-group:/aws/lambda/${var.name_prefix}-${each.key}:*"]
          },
        ],
        local.trace.function,
        flatten([for name in local.function_permissions[each.key] : local.permissions[name]]),
        [for name, arn in local.event_queue_arns : { Action = local.receive, Resource = [arn] } if name == each.key],
      ) : merge({ Effect = "Allow" }, statement)
    ]
  })
}

resource "aws_iam_role" "state_machine" {
  name        = "${local.name.state_machine}-${local.region}"
  description = "The state machine invokes its functions."
  tags        = var.tags

  permissions_boundary = var.permissions_boundary

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "states.amazonaws.com" }
      Condition = { ArnLike = { "aws:SourceArn" = local.arn.state_machine } }
    }]
  })
}

resource "aws_iam_role_policy" "state_machine" {
  name = "state-machine"
  role = aws_iam_role.state_machine.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in concat(
        [
          {
            Action   = ["lambda:InvokeFunction"]
            Resource = [for name, function in local.functions : aws_lambda_alias.live[name].arn if function.state]
          },
          # Log deliveries have no resources to name either.
          {
            Action = [
              "logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery", "logs:DeleteLogDelivery",
              "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups",
            ]
            Resource = ["*"]
          },
        ],
        local.trace.state_machine,
      ) : merge({ Effect = "Allow" }, statement)
    ]
  })
}

resource "aws_iam_role" "mediaconvert" {
  name        = local.name.mediaconvert
  description = "MediaConvert reads sources and writes clips."
  tags        = var.tags

  permissions_boundary = var.permissions_boundary

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "mediaconvert.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "mediaconvert" {
  name = "mediaconvert"
  role = aws_iam_role.mediaconvert.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in concat(
        [{ Action = ["s3:GetObject"], Resource = [for arn in local.arn.sources : "${arn}/*"] }],
        local.decrypt_sources,
        local.permissions.write_clips,
      ) :
      merge({ Effect = "Allow" }, statement)
    ]
  })
}
