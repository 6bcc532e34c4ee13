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
  mock_resource "aws_docdb_cluster" {
    defaults = { endpoint = "clipflow.cluster-abc.eu-west-1.docdb.amazonaws.com" }
  }
}

variables {
  package_dir       = "../../tests/packages"
  source_bucket     = "surf-archive"
  vpc_id            = "vpc-0a1b2c3d"
  subnet_ids        = ["subnet-0a1b2c3d", "subnet-1a2b3c4d"]
  ca_file           = "../../tests/ca.pem"
  database_password = "correct horse"
}

run "a_password_that_documentdb_refuses_is_refused" {
  command = plan

  expect_failures = [var.database_password]
}

run "the_example_deploys" {
  variables {
    database_password = "correct+horse"
  }

  assert {
    condition     = one([for parameter in aws_docdb_cluster_parameter_group.clips.parameter : parameter.value if parameter.name == "tls"]) == "enabled"
    error_message = "The database answers without TLS."
  }

  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.database.referenced_security_group_id == aws_security_group.functions.id &&
      aws_vpc_security_group_egress_rule.database.referenced_security_group_id == aws_security_group.database.id
    )
    error_message = "The functions do not reach the database."
  }
}
