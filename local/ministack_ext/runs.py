"""The runs of executions: from the start, or from a redrive, to the end.

A run knows what can end an execution from outside: StopExecution and the state machine's
`TimeoutSeconds`. An execution does all of its waiting here, so one that has ended does nothing
more."""

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ministack.services import stepfunctions as sfn

Execution = dict[str, Any]
"""MiniStack's record of an execution."""


class Ended(Exception):
    """The execution has ended in the meantime: its threads stop."""


class TimedOut(Exception):
    """The execution has run for longer than its state machine allows."""


class Run:
    """A run of an execution."""

    def __init__(self, execution: Execution):
        self.execution = execution
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._over = False

    def end_after(self, seconds: float) -> None:
        """Makes the run time out in this many seconds."""
        self._deadline = time.monotonic() + seconds

    def wait(self, is_there: Callable[[], bool], seconds: float | None = None) -> bool:
        """Waits until something is there, for at most this many seconds; returns whether it is.

        # Errors
        Ended and TimedOut.
        """
        limit = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while True:
                self.check()
                now = time.monotonic()
                if is_there():
                    return True
                if limit is not None and now >= limit:
                    return False
                ends = [end - now for end in (limit, self._deadline) if end is not None]
                self._changed.wait(min(ends, default=None))

    def sleep(self, seconds: float) -> None:
        """Waits for this many seconds.

        # Errors
        Ended and TimedOut.
        """
        self.wait(lambda: False, seconds)

    def tell(self) -> None:
        """Wakes all waiting threads to check again."""
        with self._changed:
            self._changed.notify_all()

    def record(
        self, execution: Execution, kind: str, details: dict[str, Any] | None = None
    ) -> None:
        """Adds an event to the history of the execution or of a child.

        # Errors
        Ended and TimedOut.
        """
        with self._changed:
            self.check()
            sfn._add_event(execution, kind, details)

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Ends the run with what the block does to the execution; nobody else can end it during
        that.

        # Errors
        Ended if somebody else has ended it."""
        with self._changed:
            if self._over:
                raise Ended
            yield
            self._over = self.execution["status"] != "RUNNING"
            self._changed.notify_all()

    def check(self) -> None:
        """Returns only if the run has not ended.

        # Errors
        Ended and TimedOut.
        """
        if self._over:
            raise Ended
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimedOut


_runs: dict[str, Run] = {}
"""By the executions' ARNs."""
_lock = threading.Lock()
_current: contextvars.ContextVar[Run] = contextvars.ContextVar("run")


def begin(execution: Execution) -> Run | None:
    """The new run of an execution; None if it already has one, or has ended."""
    with _lock:
        if execution["status"] != "RUNNING" or execution["executionArn"] in _runs:
            return None
        return _register(execution)


def begin_again(execution: Execution) -> Run:
    """The run of a redriven execution; a previous run that has yet to notice its end does not
    affect it."""
    with _lock:
        return _register(execution)


def of_arn(arn: str) -> Run | None:
    """The present run of an execution."""
    with _lock:
        return _runs.get(arn)


def current(execution: Execution) -> Run:
    """The run that the calling thread works for; a new one if a state is tested without an
    execution."""
    return _current.get(None) or Run(execution)


@contextlib.contextmanager
def working_for(run: Run) -> Iterator[None]:
    """Makes the calling thread, and those that it starts, work for a run within the block."""
    token = _current.set(run)
    try:
        yield
    finally:
        _current.reset(token)
        with _lock:
            arn = run.execution["executionArn"]
            if _runs.get(arn) is run:
                del _runs[arn]


def _register(execution: Execution) -> Run:
    run = _runs[execution["executionArn"]] = Run(execution)
    return run
