variable "name_prefix" {
  description = "Prefix of every resource's name."
  type        = string
  default     = "clipflow"
}

variable "package_dir" {
  description = "Folder that \"make package\" writes."
  type        = string
  default     = "../../../target/lambda"
}

variable "source_bucket" {
  description = "Name of the existing bucket that holds the videos and the cameras' recordings."
  type        = string
}

variable "mongodb_uri" {
  description = "MongoDB URI with its credentials. Set it by the environment variable TF_VAR_mongodb_uri."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "producer_role" {
  description = "Name of the existing IAM role of the program that sends requests."
  type        = string
}

variable "camera_id" {
  description = "Camera whose clips the queue of outcomes receives."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,50}$", var.camera_id))
    error_message = "camera_id is part of a queue's name: 1 to 50 letters, digits, hyphens and underscores."
  }
}

variable "alarm_email" {
  description = "Address that receives the alarms. AWS asks it to confirm."
  type        = string

  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email is an e-mail address."
  }
}
