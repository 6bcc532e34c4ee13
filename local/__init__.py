"""The whole system on one machine: real parts, no cloud account, no containers. See README.md in
this folder."""
