"""The command `local/clipflow-local`, also `python3 -m local`."""

import argparse
import contextlib
import signal
import sys
from pathlib import Path

from . import checks, demo, fuzz, logs, packages, paths, processes, stack, status
from .console import Failure, Progress, coloured, seconds

_DESCRIPTION = """\
The whole of clipflow on this machine: MiniStack and mongod, and the functions as Terraform deploys
them."""
_EPILOG = """\
exit codes: 0 done; 1 something failed, with the reason on standard error; 2 wrong usage;
3 (status) the stack is not up; 130 interrupted. Everything lies in target/local/; local/README.md
says what is what.
"""


def main(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        code: int = options.run(options)
        return code
    except Failure as failure:
        print(f"\n{coloured('error', 'red')}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: everything that was begun is ended", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clipflow-local",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    commands.add_parser(
        "up", help="bring the stack up, or up to date, and leave it running"
    ).set_defaults(run=_up)
    commands.add_parser("down", help="end the stack").set_defaults(run=_down)
    commands.add_parser("status", help="say what runs, and where").set_defaults(run=_status)
    package = commands.add_parser("package", help="compile the functions and pack them for Lambda")
    package.add_argument(
        "--architecture", choices=("x86_64", "arm64"), default="x86_64", help="default: x86_64"
    )
    package.set_defaults(run=_package)
    commands.add_parser("check-terraform", help="check the Terraform code").set_defaults(
        run=_check_terraform
    )
    commands.add_parser(
        "check-definition", help="check the state machine's definition"
    ).set_defaults(run=_check_definition)

    commands.add_parser(
        "check-dependencies", help="check the licences and sources of Rust's dependencies"
    ).set_defaults(run=_check_dependencies)
    commands.add_parser("check-python", help="check the Python of the local stack").set_defaults(
        run=_check_python
    )
    commands.add_parser("format-python", help="format the Python of the local stack").set_defaults(
        run=_format_python
    )

    commands.add_parser(
        "install-axe", help="install what looks for barriers in the console's pages"
    ).set_defaults(run=_install_axe)

    commands.add_parser("peer", help="install what `make bench` compares with").set_defaults(
        run=_peer
    )

    run = commands.add_parser("run", help="run a command with the stack up, such as tests")
    run.add_argument(
        "--programs",
        action="store_true",
        help="without the stack, with just its programs on the PATH",
    )
    run.add_argument("command", nargs="+", metavar="COMMAND", help="put -- before it")
    run.set_defaults(run=_run)

    fuzzing = commands.add_parser("fuzz", help="fuzz what reads files and requests of others")
    fuzzing.add_argument(
        "--seconds", type=int, default=60, help="for how long, each target; default: 60"
    )
    fuzzing.add_argument(
        "--target", choices=fuzz.TARGETS, action="append", help="what is fuzzed; default: all"
    )
    fuzzing.set_defaults(run=_fuzz)

    demo = commands.add_parser(
        "demo", help="cut a clip out of a video, from the request to the notification"
    )
    demo.add_argument(
        "--video", type=Path, help="the video to cut; default: footage of Big Buck Bunny"
    )
    demo.add_argument(
        "--start", help="where the clip starts: seconds, HH:MM:SS.fff or a percentage"
    )
    demo.add_argument("--end", help="where it ends")
    demo.set_defaults(run=_demo)

    logs = commands.add_parser("logs", help="print the logs of a function or a service")
    logs.add_argument(
        "name",
        nargs="?",
        help="a function, ministack, mongod, mediaconvert or supervisor; default: all functions",
    )
    logs.set_defaults(run=_logs)
    return parser


def _up(_: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress, stack.up(progress) as found:
        stack.keep()
        progress.line(f"\nThe stack is up after {seconds(progress.duration())}.\n")
        progress.line(status.describe(found))
        progress.line("\nEnd it with `make down`.")
    return 0


def _down(_: argparse.Namespace) -> int:
    with stack.lock():
        print("The stack is down." if stack.down() else "No stack was up.")
    return 0


def _status(_: argparse.Namespace) -> int:
    return status.show()


def _package(options: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress:
        stack.package(progress, options.architecture)
        progress.line(f"\nPackages are in {paths.relative(paths.LAMBDA_PACKAGES)}.")
    return 0


def _peer(_: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress:
        packages.install(progress)
        packages.install_peer(progress)
    return 0


def _check_terraform(_: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress:
        checks.terraform(progress)
    return 0


def _check_definition(_: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress:
        checks.definition(progress)
    return 0


def _check_dependencies(_: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress:
        checks.dependencies(progress)
    return 0


def _check_python(_: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress:
        checks.python(progress)
    return 0


def _format_python(_: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress:
        checks.format_python(progress)
    return 0


def _install_axe(_: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress:
        checks.install_axe(progress)
    return 0


def _run(options: argparse.Namespace) -> int:
    with stack.lock():
        if options.programs:
            with Progress() as progress:
                stack.setup(progress)
            return processes.run_in_view(options.command, stack.environment())
        with contextlib.ExitStack() as until:
            with Progress() as progress:
                found = until.enter_context(stack.up(progress))
            try:
                return processes.run_in_view(options.command, stack.environment())
            finally:
                logs.collect(found)


def _fuzz(options: argparse.Namespace) -> int:
    with stack.lock():
        with Progress() as progress:
            commands = fuzz.prepare(progress, options.target or fuzz.TARGETS, options.seconds)
        codes = [processes.run_in_view(each, processes.environment()) for each in commands]
        return next((code for code in codes if code), 0)


def _demo(options: argparse.Namespace) -> int:
    with stack.lock(), Progress() as progress, stack.up(progress) as found:
        return demo.run(found, progress, demo.Choice(options.video, options.start, options.end))


def _logs(options: argparse.Namespace) -> int:
    return logs.show(options.name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
