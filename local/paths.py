"""Where things are. Everything made at run time is below `target/`, which git ignores."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / "local"
TERRAFORM = LOCAL / "terraform"
TARGET = ROOT / "target"

LAMBDA_PACKAGES = TARGET / "lambda"
"""The functions as deployed to AWS."""
DEMO = TARGET / "demo"

STATE = TARGET / "local"
LOGS = STATE / "logs"
LOCK = STATE / "lock"
VENV = STATE / "venv"
BIN = STATE / "bin"
"""`ffmpeg`, `ffprobe` and `mongod`, under the names that programs expect on their PATH."""
NODE = STATE / "node"
ARM64 = STATE / "arm64"
"""The toolchain for arm64 packages, and FFmpeg for arm64."""
CHECKOV = STATE / "checkov"
INTERPRETER = STATE / "interpreter"
"""The Step Functions interpreter, with its own Python."""
LINT = STATE / "lint"
"""The tools that check this folder."""
DENY = STATE / "deny"
"""The tool that checks Rust's dependencies."""
PEER = STATE / "peer"
"""The program against which exact cuts are measured."""
STACK_PACKAGES = STATE / "lambda"
"""The functions as the local stack runs them."""
TEMPORARY = STATE / "tmp"
SNAPSHOT = STATE / "snapshot"
"""The initial data of a stack: its services' data right after the deployment, and Terraform's
state."""
DATA = STATE / "data"
"""The data of the running stack, in the same layout as SNAPSHOT."""
CONTROL = STATE / "control"
"""The pipe from which the supervisor of the services reads its orders."""
SERVICES = STATE / "services.json"
"""What runs: written by the supervisor."""
PORTS = STATE / "ports.json"
STACK = STATE / "stack.json"
"""What a program needs to use the stack: exists exactly while the stack is ready."""


def relative(path: Path) -> str:
    """`path` relative to the current folder, for people."""
    return os.path.relpath(path)
