"""When a state is retried, and where the execution continues if it is not.

AWS: a retrier waits for `IntervalSeconds` times `BackoffRate` to the power of its retries so far,
at most `MaxDelaySeconds`, and with `JitterStrategy` FULL a random time up to that."""

import random
from collections.abc import Callable, Iterable
from typing import Any

from ministack.services import stepfunctions as sfn

DEFAULT_ATTEMPTS, DEFAULT_INTERVAL_SECONDS, DEFAULT_BACKOFF_RATE = 3, 1, 2.0

Clause = dict[str, Any]
"""A retrier or a catcher."""


class TaskTimedOut(sfn._ExecutionError):  # type: ignore[misc]
    """A task took longer than `TimeoutSeconds`, or sent no heartbeat for `HeartbeatSeconds`.

    AWS calls both `States.Timeout` in the history, without a cause; `States.HeartbeatTimeout` in a
    retrier or a catcher matches only the latter."""

    def __init__(self, heartbeat: bool):
        super().__init__("States.Timeout", None)
        self.heartbeat = heartbeat


def matches(clause: Clause, error: Any) -> bool:
    """Whether a retrier or a catcher matches an error."""
    names = clause.get("ErrorEquals", [])
    if isinstance(error, TaskTimedOut) and error.heartbeat and "States.HeartbeatTimeout" in names:
        return True
    found: bool = sfn._error_matches(names, error.error)
    return found


def find(clauses: Iterable[Clause], error: Any) -> Clause | None:
    """The first clause that matches an error."""
    return next((clause for clause in clauses if matches(clause, error)), None)


def delay_seconds(
    retrier: Clause, retries: int, between: Callable[[float, float], float] = random.uniform
) -> float:
    """How long a retrier waits after this many retries; `between` draws a number from a range."""
    delay: float = retrier.get("IntervalSeconds", DEFAULT_INTERVAL_SECONDS)
    most = retrier.get("MaxDelaySeconds", float("inf"))
    try:
        delay *= retrier.get("BackoffRate", DEFAULT_BACKOFF_RATE) ** retries
    except OverflowError:
        delay = most
    delay = min(delay, most)
    return between(0, delay) if retrier.get("JitterStrategy") == "FULL" else delay


class Retries:
    """The retries of a state since it was entered or redriven. Each retrier counts its own."""

    def __init__(self, state: dict[str, Any]):
        self._retriers: list[Clause] = state.get("Retry", [])
        self._counts = [0] * len(self._retriers)

    def total(self) -> int:
        """How often the state was retried."""
        return sum(self._counts)

    def next_delay(self, error: Any) -> float | None:
        """How long to wait before retrying the state after an error, in seconds; None if it is not
        retried."""
        for index, retrier in enumerate(self._retriers):
            if matches(retrier, error):
                if self._counts[index] >= retrier.get("MaxAttempts", DEFAULT_ATTEMPTS):
                    return None
                delay = delay_seconds(retrier, self._counts[index])
                self._counts[index] += 1
                return delay
        return None


def catch(
    state: dict[str, Any], state_input: Any, ctx: dict[str, Any], error: Any
) -> tuple[Any, str]:
    """The output of a failed state, and the state where the execution continues.

    # Errors
    The error if no catcher matches it."""
    catcher = find(state.get("Catch", []), error)
    if catcher is None:
        raise error
    told = {"Error": error.error, "Cause": error.cause or ""}
    language = sfn._state_query_language(state, ctx)
    return sfn._apply_catcher(catcher, state_input, ctx, language, told), catcher["Next"]
