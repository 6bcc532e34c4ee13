"""Where things lie. Everything that is made at run time is below `target/`, which git ignores."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / "local"
TERRAFORM = LOCAL / "terraform"
TARGET = ROOT / "target"

LAMBDA_PACKAGES = TARGET / "lambda"
"""The functions as they are deployed to AWS."""
DEMO = TARGET / "demo"

STATE = TARGET / "local"
LOGS = STATE / "logs"
LOCK = STATE / "lock"
VENV = STATE / "venv"
BIN = STATE / "bin"
"""`ffmpeg`, `ffprobe` and `mongod`, under the names that programs look for on their PATH."""
NODE = STATE / "node"
ARM64 = STATE / "arm64"
"""What builds the packages for arm64, and FFmpeg for it."""
CHECKOV = STATE / "checkov"
INTERPRETER = STATE / "interpreter"
"""The interpreter of Step Functions, with a Python of its own."""
LINT = STATE / "lint"
"""The tools that check this folder."""
DENY = STATE / "deny"
"""The tool that checks Rust's dependencies."""
PEER = STATE / "peer"
"""The program that exact cuts are measured against."""
STACK_PACKAGES = STATE / "lambda"
"""The functions as the local stack runs them."""
TEMPORARY = STATE / "tmp"
SNAPSHOT = STATE / "snapshot"
"""What a stack starts from: the data of its services right after the deployment, and Terraform's
state."""
DATA = STATE / "data"
"""The data of the running stack, in the same layout as SNAPSHOT."""
CONTROL = STATE / "control"
"""The pipe by which the supervisor of the services takes its orders."""
SERVICES = STATE / "services.json"
"""Who runs: written by the supervisor."""
PORTS = STATE / "ports.json"
STACK = STATE / "stack.json"
"""What a program needs to use the stack: there exactly while the stack is ready."""


def relative(path: Path) -> str:
    """`path` as a person in the current folder would write it."""
    return os.path.relpath(path)
