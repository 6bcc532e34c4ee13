"""Output for people: steps with their durations, colours (only on a terminal), errors in plain
words."""

import contextlib
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator


class Failure(Exception):
    """A problem that the user has to know about and may be able to fix; the message says both."""


_COLOURS = {"green": "32", "red": "31", "yellow": "33", "dim": "2", "bold": "1"}


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def coloured(text: str, colour: str) -> str:
    """`text` in a colour, if standard output is a terminal and NO_COLOR is not set."""
    if not _is_terminal() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def seconds(duration: float) -> str:
    """A duration in seconds, as `0.4 s`, `12 s` or `3 min 05 s`."""
    if duration < 10:
        return f"{duration:.1f} s"
    if duration < 60:
        return f"{duration:.0f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest:02d} s"


class Step:
    """One piece of work in progress."""

    def __init__(self, title: str):
        self.title = title
        self.began = time.monotonic()
        self.detail = ""

    def duration(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.began

    def say(self, detail: str) -> None:
        """Shows what the step is doing, while it is in progress."""
        self.detail = detail


class Progress:
    """Shows steps, even concurrent ones: a line for each finished one and, on a terminal, a last
    line with those in progress."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._running: list[Step] = []
        self._drawn = False
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Progress":
        if _is_terminal():
            self._thread = threading.Thread(target=self._animate, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._clear()

    def duration(self) -> float:
        """Seconds since all this began."""
        return time.monotonic() - self._began

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Shows a piece of work: that it began, what it is doing, how long it took, whether it
        failed."""
        step = Step(title)
        with self._lock:
            self._running.append(step)
            if not self._thread:
                print(f"  … {title}", flush=True)
        try:
            yield step
        except BaseException:
            self._finish(step, coloured("✗", "red"))
            raise
        self._finish(step, coloured("✓", "green"))

    def line(self, text: str = "") -> None:
        """Prints a separate line."""
        with self._lock:
            self._clear()
            print(text, flush=True)

    def append(self, text: str) -> None:
        """Prints a part of a line, while no step is in progress."""
        with self._lock:
            self._clear()
            print(text, end="", flush=True)

    def _finish(self, step: Step, mark: str) -> None:
        with self._lock:
            self._running.remove(step)
            detail = f" ({step.detail})" if step.detail else ""
            self.line(f"  {mark} {step.title}{detail} {coloured(seconds(step.duration()), 'dim')}")

    def _clear(self) -> None:
        if self._drawn:
            sys.stdout.write("\r\x1b[2K")
            sys.stdout.flush()
            self._drawn = False

    def _animate(self) -> None:
        for frame in itertools.cycle("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"):
            if self._stop.wait(0.1):
                return
            with self._lock:
                self._draw(frame)

    def _draw(self, frame: str) -> None:
        if not self._running:
            return
        parts = [
            f"{step.title} {step.detail} {seconds(step.duration())}".replace("  ", " ")
            for step in self._running
        ]
        width = os.get_terminal_size(sys.stdout.fileno()).columns
        sys.stdout.write("\r\x1b[2K" + f"  {frame} {', '.join(parts)}"[: width - 1])
        sys.stdout.flush()
        self._drawn = True
