"""Whether an execution can be redriven, and its redrive.

AWS, RedriveExecution: an execution of a Standard workflow that has not succeeded can continue with
the state that failed, for 14 days after its end, within a year of its start, and while its history
has room."""

import contextvars
import datetime
import threading
from typing import Any

from ministack.core.responses import now_iso
from ministack.services import stepfunctions as sfn

from . import runs, walker

REDRIVABLE, NOT_REDRIVABLE, BY_MAP_RUN = "REDRIVABLE", "NOT_REDRIVABLE", "REDRIVABLE_BY_MAP_RUN"
PERIOD = datetime.timedelta(days=14)
LONGEST = datetime.timedelta(days=365)
MAX_EVENTS = 24_999
"""An execution with at least this many events has no room for another run."""

_TOKENS, _TOKENS_LAST = 10, datetime.timedelta(minutes=15)


def status(
    execution: runs.Execution, now: datetime.datetime | None = None
) -> tuple[str, str | None]:
    """Whether an execution can be redriven, and why not, in AWS's words."""
    if execution.get("mapRunArn"):
        return BY_MAP_RUN, None
    reason = _obstacle(execution, now or _now())
    return (NOT_REDRIVABLE, reason) if reason else (REDRIVABLE, None)


def facts(execution: runs.Execution) -> dict[str, Any]:
    """What DescribeExecution says about redrives."""
    found, reason = status(execution)
    told = {"redriveCount": execution.get("redriveCount", 0), "redriveStatus": found}
    if execution.get("redriveDate"):
        told["redriveDate"] = execution["redriveDate"]
    return told | ({"redriveStatusReason": reason} if reason else {})


def is_express(execution: runs.Execution) -> bool:
    """Whether an execution is one of an Express workflow."""
    machine = sfn._state_machines.get(execution["stateMachineArn"]) or {}
    return bool(execution.get("sync")) or machine.get("type") == "EXPRESS"


def redrive(execution: runs.Execution) -> str:
    """Redrives an execution for which that is possible; returns the date."""
    date: str = now_iso()
    execution["redriveCount"] = execution.get("redriveCount", 0) + 1
    execution["redriveDate"] = date
    execution.update(status="RUNNING", stopDate=None, output=None, error=None, cause=None)
    details = {"redriveCount": execution["redriveCount"]}
    sfn._add_event(execution, "ExecutionRedriven", {"executionRedrivenEventDetails": details})
    sfn._emit_execution_status_event(execution)
    run = runs.begin_again(execution)
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(walker.walk, run), daemon=True).start()
    return date


def answered(execution: runs.Execution, token: str) -> str | None:
    """The date of the redrive that a client's token has already caused."""
    since = _now() - _TOKENS_LAST
    made = execution.get("redrives", [])
    return next((date for known, date in made if known == token and _parsed(date) > since), None)


def remember(execution: runs.Execution, token: str, date: str) -> None:
    """Records that a client's token has caused a redrive."""
    execution["redrives"] = [*execution.get("redrives", []), (token, date)][-_TOKENS:]


def _obstacle(execution: runs.Execution, now: datetime.datetime) -> str | None:
    if execution["stateMachineArn"] not in sfn._state_machines:
        return "State machine is in DELETING status"
    if execution["status"] in ("RUNNING", "SUCCEEDED"):
        return f"Execution is {execution['status']} and cannot be redriven"
    if len(execution["events"]) >= MAX_EVENTS:
        return "Execution history event limit exceeded"
    if now - _parsed(execution["startDate"]) > LONGEST:
        return "Execution has exceeded the max execution time"
    if now - _parsed(execution["stopDate"]) > PERIOD:
        return "Execution redrivable period exceeded"
    return None


def _parsed(date: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(date)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
