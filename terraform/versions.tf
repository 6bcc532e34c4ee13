terraform {
  # 1.11 is the first release with write-only arguments, which keep the MongoDB URI out of the state.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Tested with 5.100. Version 6 is untested: the module uses nothing that its upgrade guide removes or deprecates.
      version = ">= 5.100, < 7"
    }
  }
}
