"""Runs programs so that nothing they started outlives their owner, however the owner ends.

    guard.py command LIFELINE PROGRAM ARGUMENT…
    guard.py services LIFELINE CONTROL STATUS < services.json

LIFELINE is the number of an inherited file descriptor: the read end of a pipe whose write end only
the owner holds. The kernel closes that end when the owner ends, even if it is killed, and the guard
then ends every process below it. Orphans are reparented to the guard (it is their subreaper), so a
program that starts other programs cannot lose them. If the guard itself is killed, the kernel kills
the programs that it started.

`command` runs one program and exits with its code. `services` runs several until one of them ends
unexpectedly, the owner ends or SIGTERM arrives. It reads orders, one per line, from the named pipe
CONTROL: `keep` lets the services outlive their owner; `stop NAME`, `start NAME`, `kill NAME` (like
a crash), `pause NAME` and `resume NAME` apply to one service. It writes what runs to the file
STATUS.

This file is a separate program and imports only the standard library, so that it starts in
milliseconds."""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from typing import Any

STOP_SECONDS = 20
"""How long services have to end on their own and write their data, before they are killed."""
ABORT_SECONDS = 2
"""The same for a command, whose work is abandoned anyway."""

_ENDING = {"stop": signal.SIGTERM, "kill": signal.SIGKILL}
_PAUSING = {"pause": signal.SIGSTOP, "resume": signal.SIGCONT}
"""Orders for one service, and the signals that implement them."""

_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def children(pid: int) -> list[int]:
    """Process ids of the direct children of a process, of all its threads."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(child) for child in file.read().split()]
    except OSError:
        pass
    return found


def descendants(pid: int) -> list[int]:
    """Process ids of everything below a process, children before grandchildren."""
    found = children(pid)
    for child in found:
        found += descendants(child)
    return found


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none, or it has ended.

    Together with the process id, this identifies a process: ids are reused."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap() -> dict[int, int]:
    """Collects the children that have ended: {pid: exit code, or minus the signal}."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def _end_everything(seconds: float) -> None:
    """Asks the children to end, then kills what is left below this process until nothing is."""
    limit = time.monotonic() + seconds
    asked = children(os.getpid())
    for pid in asked:
        _signal(pid, signal.SIGTERM)
    while time.monotonic() < limit and not set(asked).isdisjoint(children(os.getpid())):
        _reap()
        time.sleep(0.01)
    while True:
        _reap()
        left = descendants(os.getpid())
        if not left:
            return
        for pid in left:
            _signal(pid, signal.SIGKILL)
        time.sleep(0.01)


class _Events:
    """What a guard waits for: signals, the end of a child, the lifeline, and lines on a pipe."""

    def __init__(self, lifeline: int):
        self._selector = selectors.DefaultSelector()
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        # The owner gets the terminal's interrupt too, and decides.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(reader, selectors.EVENT_READ, "signal")
        self._selector.register(lifeline, selectors.EVENT_READ, "lifeline")

    def add(self, descriptor: int, name: str) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, name)

    def remove(self, descriptor: int) -> None:
        self._selector.unregister(descriptor)

    def wait(self) -> list[tuple[str, bytes]]:
        """Waits, and returns (name, what was read) for each event; an empty read is the end of that
        pipe."""
        events = []
        for key, _ in self._selector.select():
            with contextlib.suppress(BlockingIOError):
                events.append((key.data, os.read(key.fd, 4096)))
        return events


def _asked_to_end(name: str, data: bytes) -> bool:
    return (name == "lifeline" and not data) or (
        name == "signal" and not {signal.SIGTERM, signal.SIGHUP}.isdisjoint(data)
    )


_spawned: "list[subprocess.Popen[bytes]]" = []
"""Kept alive, because a discarded Popen reaps its process after it has ended, and nobody else
learns of its end."""


def _spawn(arguments: list[str], **options: Any) -> int:
    def prepare() -> None:
        _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    # preexec_fn is unsafe only with threads, and this program has none.
    _spawned.append(subprocess.Popen(arguments, preexec_fn=prepare, **options))  # noqa: PLW1509
    return _spawned[-1].pid


def run_command(lifeline: int, arguments: list[str]) -> int:
    """Runs one program until it or the owner ends; returns the exit code."""
    events = _Events(lifeline)
    program = _spawn(arguments)
    while True:
        for name, data in events.wait():
            if _asked_to_end(name, data):
                _end_everything(ABORT_SECONDS)
                return 128 + signal.SIGTERM
        ended = _reap()
        if program in ended:
            _end_everything(0)
            code = ended[program]
            return code if code >= 0 else 128 - code


class Services:
    """The programs that a stack is made of.

    A service is described by `name`, `arguments`, `environment` and `log`, the file to which its
    output is appended."""

    def __init__(self, specifications: list[dict[str, Any]], status: str):
        self._specifications = {each["name"]: each for each in specifications}
        self._status = status
        self._pids: dict[str, int] = {}
        self._ended: dict[int, int] = {}
        self.kept = False

    def start(self, name: str) -> None:
        service = self._specifications[name]
        with open(service["log"], "ab") as log:
            self._pids[name] = _spawn(
                service["arguments"],
                env=service["environment"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.write_status()

    def start_all(self) -> None:
        for name in self._specifications:
            self.start(name)

    def stop(self, name: str, number: int) -> None:
        """Ends one service with a signal, and everything that it started."""
        pid = self._pids.pop(name)
        below = {child: start_ticks(child) for child in descendants(pid)}
        _signal(pid, number)
        limit = time.monotonic() + STOP_SECONDS
        while pid not in self._ended:
            if time.monotonic() > limit:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.01)
            self._ended.update(_reap())
        for child, ticks in below.items():
            if start_ticks(child) == ticks:
                _signal(child, signal.SIGKILL)
        self.write_status()

    def obey(self, order: str) -> None:
        """Carries out one order."""
        verb, _, name = order.partition(" ")
        if verb == "keep":
            self.kept = True
            self.write_status()
        elif verb in _ENDING and name in self._pids:
            self.stop(name, _ENDING[verb])
        elif verb in _PAUSING and name in self._pids:
            _signal(self._pids[name], _PAUSING[verb])
        elif verb == "start" and name in self._specifications and name not in self._pids:
            self.start(name)
        else:
            print(f"not an order that can be carried out: {order}", flush=True)

    def ended(self) -> tuple[str, int] | None:
        """Name and exit code of a service that ended unexpectedly, or None."""
        self._ended.update(_reap())
        for name, pid in self._pids.items():
            if pid in self._ended:
                return name, self._ended[pid]
        self._ended.clear()
        return None

    def write_status(self) -> None:
        """Writes what runs, atomically, so that no reader sees half of it."""
        status = {
            "supervisor": {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid())},
            "kept": self.kept,
            "services": {
                name: {"pid": pid, "start_ticks": start_ticks(pid)}
                for name, pid in self._pids.items()
            },
        }
        with open(self._status + ".new", "w") as file:
            json.dump(status, file)
        os.replace(self._status + ".new", self._status)


def run_services(
    lifeline: int, control: str, status: str, specifications: list[dict[str, Any]]
) -> int:
    """Runs the services until one ends unexpectedly, the owner ends, or the guard is asked to stop;
    returns the exit code."""
    events = _Events(lifeline)
    # Open for reading and writing: a pipe without a writer would be at end of file.
    orders = os.open(control, os.O_RDWR | os.O_NONBLOCK)
    events.add(orders, "control")
    services = Services(specifications, status)
    services.start_all()
    code: int | None = None
    while code is None:
        for name, data in events.wait():
            if name == "control":
                for order in data.decode().splitlines():
                    services.obey(order)
            elif name == "lifeline" and services.kept:
                events.remove(lifeline)
            elif _asked_to_end(name, data):
                code = 0
        ended = services.ended()
        if ended and code is None:
            print(f"{ended[0]} ended by itself with code {ended[1]}", flush=True)
            code = 1
    _end_everything(STOP_SECONDS)
    os.remove(status)
    return code


def main() -> int:
    _libc.prctl(_SET_CHILD_SUBREAPER, 1)
    mode, lifeline = sys.argv[1], int(sys.argv[2])
    if mode == "command":
        return run_command(lifeline, sys.argv[3:])
    return run_services(lifeline, sys.argv[3], sys.argv[4], json.load(sys.stdin))


if __name__ == "__main__":
    sys.exit(main())
