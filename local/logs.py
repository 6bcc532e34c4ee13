"""The logs of the functions and of the services."""

import contextlib
from pathlib import Path
from typing import Any

from . import packages, paths, services, stack
from .console import Failure

_SERVICES = ("ministack", "mongod", "supervisor")


def collect(found: dict[str, Any]) -> None:
    """Writes each function's log to a separate file, so that it can be read after the stack is
    gone."""
    import botocore.exceptions

    client = services.client("logs", found["endpoint"])
    for name, group in found["log_group_names"].items():
        with contextlib.suppress(
            botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        ):
            pages = client.get_paginator("filter_log_events").paginate(logGroupName=group)
            lines = [event["message"].rstrip() for page in pages for event in page["events"]]
            if lines:
                _file(name).parent.mkdir(parents=True, exist_ok=True)
                _file(name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def show(name: str | None) -> int:
    """Prints the log of one function or service, or of all functions; returns the exit code.

    # Errors
    Failure if there is no such log."""
    found = stack.load()
    if found:
        packages.use()
        collect(found)
    files = [_file(name)] if name else sorted(_file("x").parent.glob("*.log"))
    if name in _SERVICES:
        files = [paths.LOGS / f"{name}.log"]
    if not all(file.exists() for file in files):
        known = sorted(file.stem for file in _file("x").parent.glob("*.log"))
        raise Failure(f"there is no log of {name}; there are {', '.join([*_SERVICES, *known])}")
    for file in files:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            print(line if name else f"{file.stem:10} {line}")
    return 0


def _file(function: str) -> Path:
    return paths.LOGS / "functions" / f"{function}.log"
