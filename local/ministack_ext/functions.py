"""Lambda: AWS's error names, and concurrency.

- A task whose function is throttled fails with `Lambda.TooManyRequestsException`.
- A function whose program ends before it is ready fails with `Runtime.ExitError`.
- Reserved concurrency applies to the function, whichever version or alias is invoked.
- A batch of messages whose function is throttled is retried until the messages become visible again
  (Lambda developer guide, "Handling errors for an SQS event source"); after other errors it is
  given up at once, as before.

Wraps `_call_lambda` of MiniStack's stepfunctions; `_reserved_concurrency`, `_execute_function` and
`_run_sqs_batch` of its lambda_svc; `_await_init` of its ProvidedWorker.
"""

import contextvars
import json
import random
import time
from collections.abc import Callable
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc, sqs
from ministack.services import stepfunctions as sfn

Function = dict[str, Any]

THROTTLED = "Lambda.TooManyRequestsException"
_LONGEST_PAUSE_SECONDS = 1.0

_patient_until: contextvars.ContextVar[float] = contextvars.ContextVar("patient_until", default=0.0)
"""Until when a throttled invocation is retried, by the monotonic clock."""


def install() -> None:
    """Replaces MiniStack's functions."""
    sfn._call_lambda = _named_by_aws(sfn._call_lambda)
    lambda_svc._reserved_concurrency = _of_the_whole_function(lambda_svc._reserved_concurrency)
    lambda_svc._execute_function = _patiently(lambda_svc._execute_function)
    lambda_svc._run_sqs_batch = _with_patience(lambda_svc._run_sqs_batch)
    worker = lambda_runtime.ProvidedWorker
    worker._await_init = _with_exit_error(worker._await_init)


def _named_by_aws(call: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    def called(function: str, event: Any) -> Any:
        try:
            return call(function, event)
        except sfn._ExecutionError as error:
            message = _throttling(error)
            if message is None:
                raise
            raise sfn._ExecutionError(THROTTLED, message) from None

    return called


def _throttling(error: Any) -> str | None:
    """MiniStack's error message for a throttled function."""
    if error.error != "Lambda.Unknown":
        return None
    try:
        told = json.loads(error.cause)
    except ValueError:
        return None
    if not isinstance(told, dict) or told.get("__type") != "TooManyRequestsException":
        return None
    return f"{told['message']} (Service: Lambda, Status Code: 429)"


def _of_the_whole_function(
    reserved: Callable[[Function, Function], int | None],
) -> Callable[[Function, Function], int | None]:
    def found(function: Function, config: Function) -> int | None:
        whole = lambda_svc._functions.get(config.get("FunctionName"))
        return reserved(whole or function, config)

    return found


def _with_exit_error(await_init: Callable[..., None]) -> Callable[..., None]:
    def awaited(worker: Any, init_timeout: float | None = None) -> None:
        try:
            await_init(worker, init_timeout)
        except (lambda_runtime.ProvidedInitTimeout, lambda_runtime.ProvidedRuntimeError):
            raise
        except RuntimeError as error:
            raise lambda_runtime.ProvidedRuntimeError(str(error), "Runtime.ExitError") from error

    return awaited


def _patiently(
    execute: Callable[[Function, Any], dict[str, Any]],
) -> Callable[[Function, Any], dict[str, Any]]:
    def executed(function: Function, event: Any) -> dict[str, Any]:
        while True:
            result = execute(function, event)
            if not result.get("throttle") or time.monotonic() >= _patient_until.get():
                return result
            # Otherwise all waiting invocations would retry at once.
            time.sleep(random.uniform(0.1, _LONGEST_PAUSE_SECONDS))

    return executed


def _with_patience(run_batch: Callable[..., None]) -> Callable[..., None]:
    def run(
        mapping: Any, function: Function, event: Any, batch: Any, queue_url: str, queue_name: str
    ) -> None:
        queue = sqs._queues.get(queue_url) or {"attributes": {}}
        hidden = int(queue["attributes"].get("VisibilityTimeout", "30"))
        token = _patient_until.set(time.monotonic() + hidden - _LONGEST_PAUSE_SECONDS)
        try:
            run_batch(mapping, function, event, batch, queue_url, queue_name)
        finally:
            _patient_until.reset(token)

    return run
