mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { id = "eu-west-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:mock" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-west-1:123456789012:mock", url = "https://sqs.eu-west-1.amazonaws.com/123456789012/mock" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/mock" }
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
  mock_resource "aws_sfn_state_machine" {
    defaults = { arn = "arn:aws:states:eu-west-1:123456789012:stateMachine:mock" }
  }
}

variables {
  package_dir   = "../../tests/packages"
  source_bucket = "surf-archive"
  mongodb_uri   = "mongodb+srv://user:secret@db.example/"
  producer_role = "surf-app"
  camera_id     = "hi-pipeline"
  alarm_email   = "operators@example.com"
}

run "the_example_deploys" {
  assert {
    condition = (
      aws_iam_role_policy_attachment.producer.role == "surf-app" &&
      jsondecode(aws_iam_policy.producer.policy).Statement[0].Action == ["sqs:SendMessage"] &&
      anytrue([for statement in jsondecode(aws_iam_policy.operator.policy).Statement : contains(statement.Action, "states:RedriveExecution")])
    )
    error_message = "The producer and the operators lack their policies."
  }

  assert {
    condition     = aws_sns_topic_subscription.outcomes.topic_arn == module.clipflow.topic_arn
    error_message = "The queue does not receive outcomes."
  }
}
