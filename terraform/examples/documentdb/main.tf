# Documents in Amazon DocumentDB, which is reachable only from a VPC, and whose certificate is signed by Amazon's own
# CA.
#
#   curl -O https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
#   TF_VAR_database_password='…' terraform apply -var vpc_id=vpc-… -var 'subnet_ids=["subnet-…","subnet-…"]' …

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

locals {
  user = "clipflow"
  port = 27017
}

module "clipflow" {
  source = "../.."

  name_prefix    = var.name_prefix
  package_dir    = var.package_dir
  source_buckets = [var.source_bucket]

  # DocumentDB has no retryable writes, which drivers turn on by default.
  mongodb_uri         = "mongodb://${local.user}:${urlencode(var.database_password)}@${aws_docdb_cluster.clips.endpoint}:${local.port}/?tls=true&replicaSet=rs0&retryWrites=false"
  mongodb_uri_version = var.database_password_version
  mongodb_ca_file     = var.ca_file

  vpc = {
    subnet_ids         = var.subnet_ids
    security_group_ids = [aws_security_group.functions.id]
  }

  # The deployment ends with an invocation that creates the indexes.
  depends_on = [aws_docdb_cluster_instance.clips]
}

resource "aws_security_group" "functions" {
  # checkov:skip=CKV2_AWS_5: The module attaches it to the functions that use the database.
  name        = "${var.name_prefix}-functions"
  description = "Functions that use the database."
  vpc_id      = var.vpc_id
}

resource "aws_security_group" "database" {
  name        = "${var.name_prefix}-database"
  description = "The database, which only the functions reach."
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  security_group_id            = aws_security_group.database.id
  description                  = "MongoDB's protocol from the functions."
  referenced_security_group_id = aws_security_group.functions.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_vpc_security_group_egress_rule" "database" {
  security_group_id            = aws_security_group.functions.id
  description                  = "MongoDB's protocol to the database."
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_vpc_security_group_egress_rule" "aws" {
  security_group_id = aws_security_group.functions.id
  description       = "HTTPS to Secrets Manager, Step Functions, MediaConvert and SNS."
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_docdb_subnet_group" "clips" {
  name       = var.name_prefix
  subnet_ids = var.subnet_ids
}

resource "aws_docdb_cluster_parameter_group" "clips" {
  name        = var.name_prefix
  family      = "docdb5.0"
  description = "TLS only, with audit log."

  parameter {
    name  = "tls"
    value = "enabled"
  }

  parameter {
    name  = "audit_logs"
    value = "enabled"
  }
}

resource "aws_docdb_cluster" "clips" {
  # checkov:skip=CKV_AWS_182: The key aws/rds encrypts it. A key of your own is a matter of kms_key_id.
  cluster_identifier              = var.name_prefix
  engine_version                  = "5.0.0"
  master_username                 = local.user
  master_password_wo              = var.database_password
  master_password_wo_version      = var.database_password_version
  db_subnet_group_name            = aws_docdb_subnet_group.clips.name
  db_cluster_parameter_group_name = aws_docdb_cluster_parameter_group.clips.name
  vpc_security_group_ids          = [aws_security_group.database.id]
  port                            = local.port
  storage_encrypted               = true
  backup_retention_period         = 7
  enabled_cloudwatch_logs_exports = ["audit", "profiler"]
  deletion_protection             = var.deletion_protection
  skip_final_snapshot             = !var.deletion_protection
  final_snapshot_identifier       = var.deletion_protection ? "${var.name_prefix}-final" : null
}

resource "aws_docdb_cluster_instance" "clips" {
  # checkov:skip=CKV_AWS_354: Performance Insights is off.
  count = var.database_instances

  identifier         = "${var.name_prefix}-${count.index}"
  cluster_identifier = aws_docdb_cluster.clips.id
  instance_class     = var.database_instance_class
}
