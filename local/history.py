"""Shows an execution while it happens."""

import datetime
import time
from typing import Any, Callable, Iterator

from .console import Failure, coloured, seconds

_ENDS = {"ExecutionSucceeded", "ExecutionFailed", "ExecutionTimedOut", "ExecutionAborted"}


def follow(
    stepfunctions: Any, arn: str, limit_seconds: float, say: Callable[[str], None], line: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Follows an execution to its end and returns its events, in order. `say` hears which state it is in, `line` gets
    a line for each state that is left and each attempt that fails.

    # Errors
    Failure when the execution has not ended within the limit.
    """
    limit = time.monotonic() + limit_seconds
    shown: dict[str, datetime.datetime] = {}
    seen = 0
    while True:
        found = events(stepfunctions, arn)
        for event in found[seen:]:
            _show(event, shown, say, line)
        seen = len(found)
        if found and found[-1]["type"] in _ENDS:
            say("")
            return found
        if time.monotonic() > limit:
            raise Failure(f"the execution has not ended after {seconds(limit_seconds)}; it is in {list(shown)[-1:]}")
        time.sleep(0.05)


def events(stepfunctions: Any, arn: str) -> list[dict[str, Any]]:
    """The events of an execution so far, in order."""
    pages = stepfunctions.get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event for page in pages for event in page["events"]]


def failure(found: list[dict[str, Any]]) -> str:
    """Why an execution ended as it did, from its last events."""
    for event in reversed(found):
        for details in _details(event):
            if details.get("error"):
                return f"{details['error']}: {details.get('cause', '')}"
    return str(found[-1]["type"])


def _show(
    event: dict[str, Any],
    entered: dict[str, datetime.datetime],
    say: Callable[[str], None],
    line: Callable[[str], None],
) -> None:
    if event["type"].endswith("StateEntered"):
        name = event["stateEnteredEventDetails"]["name"]
        entered[name] = event["timestamp"]
        say(name)
    elif event["type"].endswith("StateExited"):
        name = event["stateExitedEventDetails"]["name"]
        took = (event["timestamp"] - entered[name]).total_seconds()
        line(f"    {coloured('✓', 'green')} {name:14} {seconds(took)}")
    else:
        for details in _details(event):
            if details.get("error"):
                line(f"    {coloured('!', 'yellow')} {event['type']}: {details['error']}: {details.get('cause', '')}")


def _details(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (value for name, value in event.items() if name.endswith("EventDetails"))
