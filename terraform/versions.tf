terraform {
  # 1.11 is the first release with write-only arguments, which keep the MongoDB URI out of the state.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
