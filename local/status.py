"""Prints what runs, and where."""

from typing import Any

from . import services, stack


def describe(found: dict[str, Any]) -> str:
    """The addresses of a stack, for people."""
    rows = {
        "AWS APIs": f"{found['endpoint']} (region {found['region']}, access and secret key: test)",
        "MediaConvert": f"{found['mediaconvert_endpoint']} (a stand-in)",
        "MongoDB": f"{found['mongodb_uri']} (database {found['mongodb_database']})",
        "request queue": found["queue_url"],
        "dead letters": found["dead_letter_queue_url"],
        "state machine": found["state_machine_arn"],
        "clips": f"s3://{found['bucket']}",
        "sources": f"s3://{found['source_bucket']}",
        "outcomes": f"{found['topic_arn']}, kept in {found['subscriber_queue_url']}",
        "functions": ", ".join(sorted(found["function_names"])),
    }
    return "\n".join(f"  {name:14} {value}" for name, value in rows.items())


def show() -> int:
    """Prints what runs; returns 0 if the stack is up and 3 if not."""
    running, found = services.status(), stack.load()
    if not running:
        print("The stack is down. `make up` brings it up.")
        return 3
    for name, process in running["services"].items():
        print(f"  {name:14} process {process['pid']}")
    if not found:
        print("The stack is being brought up or taken down.")
        return 3
    print(describe(found))
    return 0
