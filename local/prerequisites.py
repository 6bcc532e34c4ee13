"""What must already be on the machine, checked before anything starts."""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys

from .console import Failure

_MINIMUM_PYTHON = (3, 11)
_MINIMUM_TERRAFORM = (1, 11)


def check() -> None:
    """Checks everything and reports all that is missing at once, with how to get it.

    # Errors
    Failure if something is missing."""
    _require("the stack", [*_machine(), *_python(), *_rust(), *_terraform()])


def check_for_fuzzing() -> None:
    """Checks what fuzzing needs, as `check` does for the stack.

    # Errors
    Failure if something is missing."""
    _require("fuzzing", [*_machine(), *_python(), *_rust(), *_cpp()])


def architecture() -> str:
    """This machine's architecture by Lambda's name: `x86_64` or `arm64`."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def terraform_environment() -> dict[str, str]:
    """The environment for Terraform, without a reference to a missing CLI configuration, which it
    would refuse."""
    environment = dict(os.environ)
    if not os.path.exists(environment.get("TF_CLI_CONFIG_FILE", "/")):
        del environment["TF_CLI_CONFIG_FILE"]
    return environment


def _require(what: str, missing: list[str]) -> None:
    if missing:
        raise Failure(
            f"this machine lacks what {what} needs:\n"
            + "\n".join(f"  - {each}" for each in missing)
        )


def _machine() -> list[str]:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        found = f"{sys.platform} on {platform.machine()}"
        return [
            f"Linux on x86_64, which the pinned FFmpeg and mongod are built for (this is {found})"
        ]
    return []


def _python() -> list[str]:
    if sys.version_info < _MINIMUM_PYTHON:
        return [f"Python 3.11 or newer (this is {platform.python_version()})"]
    if not importlib.util.find_spec("ensurepip"):
        return ["Python's venv module with pip (Debian and Ubuntu: apt-get install python3-venv)"]
    return []


def _rust() -> list[str]:
    missing = []
    if not shutil.which("cargo"):
        missing.append("cargo, Rust's build tool (https://rustup.rs)")
    if not shutil.which("cc"):
        missing.append(
            "cc, a C compiler and linker (Debian and Ubuntu: apt-get install gcc libc6-dev)"
        )
    return missing


def _cpp() -> list[str]:
    # The same way as the build of libFuzzer finds it.
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler):
        return []
    return [
        f"{compiler}, a C++ compiler, which libFuzzer is built with (Debian: apt-get install g++)"
    ]


def _terraform() -> list[str]:
    how = "Terraform 1.11 or newer (https://developer.hashicorp.com/terraform/install)"
    if not shutil.which("terraform"):
        return [how]
    try:
        answer = subprocess.run(
            ["terraform", "version"],
            env=terraform_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return [f"{how}: the one on the PATH does not run ({error})"]
    found = re.search(r"v(\d+)\.(\d+)", answer)
    if not found or (int(found[1]), int(found[2])) < _MINIMUM_TERRAFORM:
        return [f"{how}: the one on the PATH is {answer.splitlines()[0] if answer else 'silent'}"]
    return []
