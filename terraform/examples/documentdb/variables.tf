variable "name_prefix" {
  description = "Prefix of every resource's name, and the name of the database cluster."
  type        = string
  default     = "clipflow"
}

variable "package_dir" {
  description = "Folder that \"make package\" writes."
  type        = string
  default     = "../../../target/lambda"
}

variable "source_bucket" {
  description = "Name of the existing bucket that sources are in."
  type        = string
}

variable "vpc_id" {
  description = "ID of the existing VPC that the database is in."
  type        = string
}

variable "subnet_ids" {
  description = "IDs of private subnets of the VPC, in at least two availability zones. They need a route to AWS: a NAT gateway, or VPC endpoints of Secrets Manager, Step Functions, MediaConvert and SNS."
  type        = set(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "DocumentDB needs subnets in two availability zones."
  }
}

variable "ca_file" {
  description = "Path of Amazon's CA bundle, from https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem."
  type        = string
  default     = "global-bundle.pem"
}

variable "database_password" {
  description = "Password of the database user. Set it by the environment variable TF_VAR_database_password."
  type        = string
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = can(regex("^[!#-.0-?A-~]{8,100}$", var.database_password))
    error_message = "database_password is 8 to 100 printable ASCII characters without /, \", @ and spaces."
  }
}

variable "database_password_version" {
  description = "Version of database_password. Change it whenever the password changes."
  type        = number
  default     = 1
}

variable "database_instance_class" {
  description = "Instance class of the database."
  type        = string
  default     = "db.t3.medium"
}

variable "database_instances" {
  description = "Number of database instances. Two survive the loss of an availability zone."
  type        = number
  default     = 2

  validation {
    condition     = var.database_instances >= 1 && var.database_instances <= 16 && floor(var.database_instances) == var.database_instances
    error_message = "database_instances is a whole number from 1 to 16."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the database. If not, destroying the deployment deletes it without a snapshot."
  type        = bool
  default     = true
}
