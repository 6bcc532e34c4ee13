"""The Task state, and retries of other states: retries like AWS's, timeouts, heartbeats and task
tokens.

What differs from MiniStack: `TimeoutSeconds` may be an expression or a path; `HeartbeatSeconds` is
enforced; a task that took too long is TaskTimedOut in the history; each attempt has its own task
token; a function that fails before its token is used fails the task; a used token is answered with
TaskTimedOut; the history says when a function has accepted the task (TaskSubmitted); nothing waits
for an execution that has ended. As in MiniStack, an activity has neither timeout nor heartbeat.

Replaces `_execute_task`, `_with_retry_and_catch`, `_scaled_sleep` and `_send_task_*` of MiniStack's
stepfunctions.
"""

import collections
import contextvars
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json, new_uuid
from ministack.services import stepfunctions as sfn

from . import retries, runs

State = dict[str, Any]
Context = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

_WAITS = ".waitForTaskToken"
_KEPT_TOKENS = 10_000

_used_up: "collections.deque[str]" = collections.deque(maxlen=_KEPT_TOKENS)
"""Tokens of tasks that are over, the newest ones."""


def install() -> None:
    """Replaces MiniStack's functions."""
    mocked = sfn._execute_task

    def execute(
        state: State, state_input: Any, execution: runs.Execution, ctx: Context
    ) -> tuple[Any, Any]:
        if sfn._sfn_mock_config:
            answer: tuple[Any, Any] = mocked(state, state_input, execution, ctx)
            return answer
        return execute_task(state, state_input, execution, ctx)

    sfn._execute_task = execute
    sfn._with_retry_and_catch = with_retry_and_catch
    sfn._scaled_sleep = sleep
    sfn._send_task_success = _for_open_tasks(sfn._send_task_success)
    sfn._send_task_failure = _for_open_tasks(sfn._send_task_failure)
    sfn._send_task_heartbeat = _for_open_tasks(_send_task_heartbeat)


def execute_task(
    state: State, state_input: Any, execution: runs.Execution, ctx: Context
) -> tuple[Any, Any]:
    """The output of a Task state, and the name of the state that follows.

    # Errors
    MiniStack's _ExecutionError if nothing retries or catches it; Ended and TimedOut."""
    run = runs.current(execution)
    attempts = retries.Retries(state)
    while True:
        ctx["State"]["RetryCount"] = attempts.total()
        try:
            result = _attempt(run, state, state_input, execution, ctx)
            return _output(state, state_input, ctx, result), sfn._next_or_end(state)
        except sfn._ExecutionError as error:
            run.record(execution, *_failure(state, error))
            delay = attempts.next_delay(error)
            if delay is None:
                return retries.catch(state, state_input, ctx, error)
            sleep(delay)


def with_retry_and_catch(
    state: State, state_input: Any, ctx: Context, attempt: Callable[[], tuple[Any, Any]]
) -> tuple[Any, Any]:
    """The output of a Parallel or Map state, and the name of the state that follows.

    # Errors
    As for a Task state."""
    run = runs.current({})
    entered = ctx["State"]
    attempts = retries.Retries(state)
    while True:
        # Branches leave their own state in the context.
        ctx["State"] = {**entered, "RetryCount": attempts.total()}
        try:
            return attempt()
        except sfn._ExecutionError as error:
            # MiniStack treats the end of an execution as an error of a branch.
            run.check()
            delay = attempts.next_delay(error)
            if delay is None:
                return retries.catch(state, state_input, ctx, error)
            sleep(delay)


def sleep(seconds: float) -> None:
    """Waits for this many seconds, scaled by MiniStack's SFN_WAIT_SCALE.

    # Errors
    Ended and TimedOut.
    """
    scaled = seconds * sfn._SFN_WAIT_SCALE
    if scaled > 0:
        runs.current({}).sleep(scaled)


def _attempt(
    run: runs.Run, state: State, state_input: Any, execution: runs.Execution, ctx: Context
) -> Any:
    """The result of a task."""
    resource = state.get("Resource", "")
    waits = _WAITS in resource
    if waits:
        ctx["Task"] = {"Token": new_uuid()}
    arguments = _arguments(state, state_input, ctx)
    timeout = _seconds(state, "TimeoutSeconds", state_input, ctx)
    heartbeat = _seconds(state, "HeartbeatSeconds", state_input, ctx)
    scheduled = {"resourceType": _resource_type(resource), "resource": resource}
    limits = {"timeoutInSeconds": timeout, "heartbeatInSeconds": heartbeat}
    scheduled |= {name: int(value) for name, value in limits.items() if value is not None}
    run.record(execution, "TaskScheduled", {"taskScheduledEventDetails": scheduled})
    if waits:
        waiting = _Waiting(run, ctx["Task"]["Token"], timeout, heartbeat)
        result = waiting.result(execution, resource, arguments)
    else:
        call = _Call(run, resource, arguments)
        # An activity's timeout begins when a worker takes the task.
        if not run.wait(call.is_done, None if ":activity:" in resource else timeout):
            raise retries.TaskTimedOut(heartbeat=False)
        result = call.result()
    succeeded = {"output": json.dumps(result), "resource": resource}
    run.record(execution, "TaskSucceeded", {"taskSucceededEventDetails": succeeded})
    return result


class _Call:
    """A call of a task's resource, running in its own thread. It cannot be ended, but nobody has to
    wait for it."""

    def __init__(self, run: runs.Run, resource: str, arguments: Any):
        self._run, self._resource, self._arguments = run, resource, arguments
        self._done = False
        self._result: Any = None
        self._error: Exception | None = None
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work,), daemon=True).start()

    def is_done(self) -> bool:
        """Whether it has been answered."""
        return self._done

    def result(self) -> Any:
        """The answer.

        # Errors
        The error with which it was answered."""
        if self._error:
            raise self._error
        return self._result

    def _work(self) -> None:
        try:
            self._result = sfn._invoke_resource(self._resource, self._arguments)
        except Exception as error:  # noqa: BLE001 - who waits for it raises it again
            self._error = error
        self._done = True
        self._run.tell()


class _Told(threading.Event):
    """The event that MiniStack sets when it learns how a task ended."""

    def __init__(self, run: runs.Run):
        super().__init__()
        self._run = run

    def set(self) -> None:
        super().set()
        self._run.tell()


class _Waiting:
    """A task that ends when somebody with its token says so."""

    def __init__(self, run: runs.Run, token: str, timeout: float | None, heartbeat: float | None):
        self._run, self._token = run, token
        now = time.monotonic()
        self._ends = None if timeout is None else now + timeout
        self._heartbeat = heartbeat
        self._told = _Told(run)
        self._entry: dict[str, Any] = {
            "event": self._told,
            "result": None,
            "error": None,
            "heartbeat": None,
            "beat": now,
        }

    def result(self, execution: runs.Execution, resource: str, arguments: Any) -> Any:
        """Calls the resource, and waits for the result of the task.

        # Errors
        MiniStack's _ExecutionError, of which TaskTimedOut is one; Ended and TimedOut.
        """
        sfn._task_tokens[self._token] = self._entry
        try:
            call = _Call(self._run, resource.replace(_WAITS, ""), arguments)
            self._wait(lambda: self._told.is_set() or call.is_done())
            if not self._told.is_set():
                details = {"resource": resource, "resourceType": _resource_type(resource)}
                details["output"] = json.dumps(call.result())
                self._run.record(execution, "TaskSubmitted", {"taskSubmittedEventDetails": details})
                self._wait(self._told.is_set)
        finally:
            sfn._task_tokens.pop(self._token, None)
            _used_up.append(self._token)
        if self._entry["error"]:
            raise sfn._ExecutionError(self._entry["error"]["Error"], self._entry["error"]["Cause"])
        try:
            return json.loads(self._entry["result"])
        except ValueError:
            return self._entry["result"]

    def _wait(self, is_there: Callable[[], bool]) -> None:
        while True:
            silent = None if self._heartbeat is None else self._entry["beat"] + self._heartbeat
            limit = min((end for end in (silent, self._ends) if end is not None), default=None)
            if self._run.wait(
                is_there, None if limit is None else max(0, limit - time.monotonic())
            ):
                return
            now = time.monotonic()
            if self._ends is not None and now >= self._ends:
                raise retries.TaskTimedOut(heartbeat=False)
            if self._heartbeat is not None and now >= self._entry["beat"] + self._heartbeat:
                raise retries.TaskTimedOut(heartbeat=True)


def _arguments(state: State, state_input: Any, ctx: Context) -> Any:
    if _is_jsonata(state, ctx):
        return sfn._apply_jsonata_arguments(state, state_input, ctx)
    return sfn._apply_parameters(state, sfn._apply_input_path(state, state_input, ctx), ctx)


def _output(state: State, state_input: Any, ctx: Context, result: Any) -> Any:
    if _is_jsonata(state, ctx):
        output = sfn._apply_jsonata_output(state, state_input, ctx, result=result, default=result)
        sfn._apply_state_assign(state, state_input, ctx, result=result)
        return output
    selected = sfn._apply_result_selector(state, result)
    return sfn._apply_output_path(state, sfn._apply_result_path(state, state_input, selected), ctx)


def _seconds(state: State, field: str, state_input: Any, ctx: Context) -> float | None:
    """A number of seconds in a state: literal, as an expression, or at a path."""
    found: float | None = None
    if field in state:
        found = state[field]
        if _is_jsonata(state, ctx):
            found = sfn._jsonata_state_field(state, field, "number", state_input, ctx)
    elif f"{field}Path" in state:
        found = sfn._resolve_path_or_ctx(state[f"{field}Path"], state_input, ctx)
    return found


def _failure(state: State, error: Any) -> tuple[str, dict[str, Any]]:
    """The event of a failed task."""
    resource = state.get("Resource", "")
    details = {"error": error.error, "resource": resource, "resourceType": _resource_type(resource)}
    if error.cause is not None:
        details["cause"] = error.cause
    if isinstance(error, retries.TaskTimedOut):
        return "TaskTimedOut", {"taskTimedOutEventDetails": details}
    return "TaskFailed", {"taskFailedEventDetails": details}


def _is_jsonata(state: State, ctx: Context) -> bool:
    return bool(sfn._state_query_language(state, ctx) == "JSONata")


def _resource_type(resource: str) -> str:
    return "lambda" if "lambda" in resource else "states"


def _for_open_tasks(
    send: Callable[[dict[str, Any]], Response],
) -> Callable[[dict[str, Any]], Response]:
    """A SendTask… that refuses tokens of tasks that are over."""

    def checked(data: dict[str, Any]) -> Response:
        token = data.get("taskToken")
        entry = sfn._task_tokens.get(token)
        if token in _used_up or (entry and entry["event"].is_set()):
            message = "Task Timed Out: 'Provided task does not exist anymore'"
            refusal: Response = error_response_json("TaskTimedOut", message, 400)
            return refusal
        return send(data)

    return checked


_count_heartbeat = sfn._send_task_heartbeat


def _send_task_heartbeat(data: dict[str, Any]) -> Response:
    entry = sfn._task_tokens.get(data.get("taskToken"))
    if entry:
        entry["beat"] = time.monotonic()
    answer: Response = _count_heartbeat(data)
    return answer
