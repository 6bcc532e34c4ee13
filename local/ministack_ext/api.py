"""The parts of the Step Functions API that concern redrives and stopped executions.

Wraps `handle_request`, `_describe_execution`, `_list_executions`,
`_describe_state_machine_for_execution` and `_stop_execution` of MiniStack's stepfunctions, and
replaces `_emit_execution_status_event`.
"""

import contextlib
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import eventbridge
from ministack.services import stepfunctions as sfn

from . import redrives, runs

Response = tuple[int, dict[str, str], bytes]
Request = dict[str, Any]
Handle = Callable[[str, str, dict[str, str], bytes, Any], Awaitable[Response]]

_respond: Callable[[Any], Response] = json_response
_refuse: Callable[[str, str, int], Response] = error_response_json
_finalize: Callable[[Response], Response] = sfn._finalize_response

_logger = logging.getLogger("states")
_ARN = re.compile(r"arn:[^:]+:states:[^:]*:\d{12}:execution:[^:]+:[^:]+")
_TOKEN = re.compile(r"[!-~]{1,64}")


def install() -> None:
    """Replaces MiniStack's functions."""
    sfn.handle_request = _with_redrive(sfn.handle_request)
    sfn._describe_execution = _extended(sfn._describe_execution, _describe)
    sfn._describe_state_machine_for_execution = _extended(
        sfn._describe_state_machine_for_execution, _definition
    )
    sfn._list_executions = _list_executions(sfn._list_executions)
    sfn._stop_execution = _stop_execution(sfn._stop_execution)
    sfn._emit_execution_status_event = emit_status


def redrive_execution(request: Request) -> Response:
    """RedriveExecution."""
    arn, token = request.get("executionArn"), request.get("clientToken")
    refusal = _refusal(arn, token)
    if refusal:
        return _refuse(*refusal, 400)
    execution = sfn._executions[arn]
    date = redrives.answered(execution, token) if token else None
    if date is None:
        status, reason = redrives.status(execution)
        if status != redrives.REDRIVABLE:
            return _refuse("ExecutionNotRedrivable", reason or f"Execution is {status}", 400)
        date = redrives.redrive(execution)
        if token:
            redrives.remember(execution, token, date)
    return _respond({"redriveDate": date})


def _refusal(arn: Any, token: Any) -> tuple[str, str] | None:
    """Why a request cannot refer to an existing execution: the error's name and message."""
    if not isinstance(arn, str) or not arn:
        return "ValidationException", "executionArn is required"
    if token is not None and not (isinstance(token, str) and _TOKEN.fullmatch(token)):
        return "ValidationException", "clientToken is not 1 to 64 visible ASCII characters"
    if not _ARN.fullmatch(arn):
        return "InvalidArn", f"Invalid Arn: '{arn}'"
    if arn not in sfn._executions:
        return "ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'"
    if redrives.is_express(sfn._executions[arn]):
        return "ValidationException", "RedriveExecution is not supported by EXPRESS state machines"
    return None


def emit_status(execution: runs.Execution) -> None:
    """Sends "Step Functions Execution Status Change" to the default event bus, which drops anything
    too large."""
    if execution.get("sync"):
        return
    event = {
        "Source": "aws.states",
        "DetailType": "Step Functions Execution Status Change",
        "Detail": json.dumps(_status_detail(execution)),
        "Resources": [execution["executionArn"]],
    }
    try:
        eventbridge._put_events({"Entries": [event]}, allow_aws_source=True)
    except Exception:
        _logger.warning("no status event for %s", execution["executionArn"], exc_info=True)


def _status_detail(execution: runs.Execution) -> dict[str, Any]:
    status = execution["status"]
    told = redrives.facts(execution)
    detail = {
        name: execution[name] for name in ("executionArn", "stateMachineArn", "name", "status")
    }
    for name in ("startDate", "stopDate"):
        detail[name] = sfn._iso_to_epoch_ms(execution.get(name))
    detail |= _included("input", execution.get("input"))
    detail |= _included("output", execution.get("output") if status == "SUCCEEDED" else None)
    detail |= {"stateMachineVersionArn": None, "stateMachineAliasArn": None}
    detail |= {
        name: told.get(name) for name in ("redriveCount", "redriveStatus", "redriveStatusReason")
    }
    detail["redriveDate"] = sfn._iso_to_epoch_ms(told.get("redriveDate"))
    failed = status == "FAILED"
    return detail | {name: execution.get(name) if failed else None for name in ("error", "cause")}


def _included(name: str, data: str | None) -> dict[str, Any]:
    """An execution's input or output, unless it is too long for an event."""
    if data is None:
        return {name: None, f"{name}Details": None}
    fits = len(data) <= sfn._STATUS_EVENT_PAYLOAD_CAP
    return {name: data if fits else None, f"{name}Details": {"included": fits}}


def _with_redrive(handle: Handle) -> Handle:
    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: Any
    ) -> Response:
        request = None
        if headers.get("x-amz-target", "").endswith(".RedriveExecution"):
            with contextlib.suppress(ValueError):
                request = json.loads(body or b"{}")
        if request is None:
            return await handle(method, path, headers, body, query)
        return _finalize(redrive_execution(request))

    return handle_request


def _extended(
    handler: Callable[[Request], Response], more: Callable[[runs.Execution], dict[str, Any]]
) -> Callable[[Request], Response]:
    """A handler whose answer about an execution contains more."""

    def extended(request: Request) -> Response:
        status, headers, body = handler(request)
        if status != 200:
            return status, headers, body
        execution = sfn._executions[request["executionArn"]]
        return _respond({**json.loads(body), **more(execution)})

    return extended


def _describe(execution: runs.Execution) -> dict[str, Any]:
    return {} if redrives.is_express(execution) else redrives.facts(execution)


def _definition(execution: runs.Execution) -> dict[str, Any]:
    return {"definition": execution["definition"]} if "definition" in execution else {}


def _list_executions(handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
    def listed(request: Request) -> Response:
        if request.get("redriveFilter") and request.get("stateMachineArn"):
            message = "redriveFilter is for the executions of a Map Run"
            return _refuse("ValidationException", message, 400)
        status, headers, body = handler(request)
        if status != 200:
            return status, headers, body
        found = json.loads(body)
        for each in found["executions"]:
            told = redrives.facts(sfn._executions[each["executionArn"]])
            each |= {name: told[name] for name in ("redriveCount", "redriveDate") if name in told}
        return _respond(found)

    return listed


def _stop_execution(handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
    def stopped(request: Request) -> Response:
        run = runs.of_arn(request.get("executionArn", ""))
        try:
            with run.ending() if run else contextlib.nullcontext():
                return handler(request)
        except runs.Ended:
            # It has just ended: MiniStack says so.
            return handler(request)

    return stopped
