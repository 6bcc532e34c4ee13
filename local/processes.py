"""Runs programs under a guard (see guard.py), so that none of them outlives this process, however
it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import guard, paths
from .console import Failure

MARKER = "CLIPFLOW_LOCAL_STATE"
"""Environment variable of everything that is started here: the checkout's state folder."""

_GUARD = [sys.executable, "-I", "-S", str(paths.LOCAL / "guard.py")]
_TAIL_LINES = 30
_running: "set[subprocess.Popen[str]]" = set()
_cancelled = threading.Event()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, marked as ours, with `extra`."""
    return {**os.environ, **(extra or {}), MARKER: str(paths.STATE)}


@contextlib.contextmanager
def lifeline() -> Iterator[int]:
    """The read end of a pipe that the kernel closes when this process ends."""
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    try:
        yield reader
    finally:
        os.close(writer)
        os.close(reader)


def run(
    arguments: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    folder: Path = paths.ROOT,
    accept: Sequence[int] = (0,),
    on_line: Callable[[str], None] | None = None,
) -> int:
    """Runs a program to its end, with its output in a log file, and returns its exit code.

    # Errors
    Failure with the last lines of the log, if the exit code is not one of `accept`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(log, "w", encoding="utf-8") as output,
        _guarded(
            arguments,
            environment,
            folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        assert process.stdout
        for line in process.stdout:
            output.write(line)
            output.flush()
            if on_line:
                on_line(line.rstrip())
        code = process.wait()
    if code not in accept:
        raise Failure(
            f"{Path(arguments[0]).name} failed with exit code {code};"
            f" its last lines:\n\n{tail(log)}"
        )
    return code


def run_in_view(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a program to its end with this process's own input and output, and returns its exit
    code."""
    with _guarded(arguments, environment, paths.ROOT) as process:
        return process.wait()


@contextlib.contextmanager
def _guarded(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, **streams: Any
) -> "Iterator[subprocess.Popen[str]]":
    with lifeline() as reader:
        process = subprocess.Popen(
            [*_GUARD, "command", str(reader), *arguments],
            env=dict(environment),
            cwd=folder,
            pass_fds=[reader],
            text=True,
            errors="replace",
            **streams,
        )
        _running.add(process)
        try:
            if _cancelled.is_set():
                process.terminate()
            yield process
        finally:
            _running.discard(process)
            process.terminate()
            process.wait()


def cancel() -> None:
    """Ends the programs that other threads run, and those that they start from now on."""
    _cancelled.set()
    for process in list(_running):
        process.terminate()


def tail(log: Path) -> str:
    """The last lines of a log file, indented, and where the rest is."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return (
        "".join(f"    {line}\n" for line in lines[-_TAIL_LINES:])
        + f"\nAll of it: {paths.relative(log)}"
    )


def is_running(process: Mapping[str, int]) -> bool:
    """Whether the process with `pid` and `start_ticks` still runs; another one with the same id
    does not count."""
    return guard.start_ticks(process["pid"]) == process["start_ticks"]


def wait_until_gone(process: Mapping[str, int], limit_seconds: float) -> bool:
    """Waits for another process, not a child, to end; False if it has not within the limit."""
    limit = time.monotonic() + limit_seconds
    while is_running(process):
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


def end(process: Mapping[str, int]) -> None:
    """Ends a guard with everything below it."""
    for number, limit_seconds in ((signal.SIGTERM, guard.STOP_SECONDS + 5), (signal.SIGKILL, 5)):
        if not is_running(process):
            return
        os.kill(process["pid"], number)
        if wait_until_gone(process, limit_seconds):
            return
    raise Failure(f"process {process['pid']} cannot be ended")


def leftovers() -> list[int]:
    """Processes of this checkout and their descendants, except this process and its ancestors."""
    above = set()
    pid = os.getpid()
    while pid > 1:
        above.add(pid)
        pid = _parent(pid)
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in above and _is_marked(int(entry)):
            found += [int(entry), *guard.descendants(int(entry))]
    return sorted(set(found) - above)


def end_leftovers() -> None:
    """Kills the processes that a killed guard left behind. Only for the holder of the lock."""
    while pids := leftovers():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _is_marked(pid: int) -> bool:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" and f"{MARKER}={paths.STATE}".encode() in variables
