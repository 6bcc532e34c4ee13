"""Checks of what is deployed, with dedicated tools."""

import os
import re
import shutil
from pathlib import Path

from . import deploy, packages, paths, processes
from .console import Failure, Progress

_ASL = paths.ROOT / "tests" / "asl"
_BROWSER = paths.ROOT / "tests" / "browser"
_PATHS = paths.ROOT / "tests" / "interpreter"
_MODULE = paths.ROOT / "terraform"
_EXAMPLES = [_MODULE / "examples" / name for name in ("complete", "documentdb")]
_DEFINITION = paths.ROOT / "statemachine" / "clip.asl.json"


def terraform(progress: Progress) -> None:
    """Checks the format of all Terraform files, validates the root modules, runs the tests of the
    module and its examples, and has checkov look for what is insecure.

    # Errors
    Failure with the output of Terraform or checkov."""
    with progress.step("terraform fmt"):
        deploy.run(
            paths.ROOT, ["fmt", "-no-color", "-check", "-diff", "-recursive"], "terraform-fmt.log"
        )
    for folder in (paths.TERRAFORM, _MODULE, *_EXAMPLES):
        with progress.step(f"terraform validate in {folder.relative_to(paths.ROOT)}"):
            deploy.initialise(folder)
            deploy.run(
                folder,
                ["validate", "-no-color"],
                "terraform-validate.log",
                on_line=_refuse_warnings,
            )
    for folder in (_MODULE, *_EXAMPLES):
        with progress.step(f"terraform test in {folder.relative_to(paths.ROOT)}") as step:
            deploy.run(folder, ["test", "-no-color"], "terraform-test.log", on_line=step.say)
    _checkov(progress)


def _refuse_warnings(line: str) -> None:
    """Fails on warnings: providers deprecate with a warning before they remove."""
    if line.startswith("Warning:"):
        log = paths.relative(paths.LOGS / "terraform-validate.log")
        raise Failure(f"Terraform warns, and {log} says where: {line}")


def _checkov(progress: Progress) -> None:
    """Each skip is documented with its reason at its resource."""
    packages.install(progress)
    packages.install_checkov(progress)
    command = [str(packages.python()), "-m", "checkov.main", "--directory", str(_MODULE)]
    options = ["--framework", "terraform", "--skip-download", "--quiet", "--compact"]
    environment = processes.environment({"PYTHONPATH": str(paths.CHECKOV)})
    with progress.step("checkov"):
        processes.run([*command, *options], log=paths.LOGS / "checkov.log", environment=environment)


def definition(progress: Progress) -> None:
    """Checks the state machine's definition with asl-validator, and runs each of its paths with
    moto's interpreter.

    # Errors
    Failure with what is wrong with it.
    """
    _validate(progress)
    packages.install_interpreter(progress)
    with progress.step("each path of the definition"):
        interpreter = str(packages.interpreter_python())
        discover = ["-m", "unittest", "discover", "--start-directory", str(_PATHS)]
        processes.run(
            [interpreter, *discover],
            log=paths.LOGS / "paths.log",
            environment=processes.environment(),
        )


def install_axe(progress: Progress) -> None:
    """Installs axe-core, with which `make browser` checks the accessibility of the console's
    pages."""
    _install_npm(_BROWSER, progress)


def _install_npm(folder: Path, progress: Progress) -> tuple[Path, dict[str, str]]:
    """Installs the packages pinned in a folder's package-lock.json; returns Node.js and its
    environment."""
    node, npm = _node(progress)
    environment = processes.environment({"PATH": f"{node.parent}:{os.environ['PATH']}"})
    lock = folder / "node_modules" / ".package-lock.json"
    if not lock.exists() or lock.stat().st_mtime < (folder / "package-lock.json").stat().st_mtime:
        processes.run(
            [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            log=paths.LOGS / "npm.log",
            environment=environment,
            folder=folder,
        )
    return node, environment


def _validate(progress: Progress) -> None:
    validator = _ASL / "node_modules" / ".bin" / "asl-validator"
    with progress.step("asl-validator"):
        node, environment = _install_npm(_ASL, progress)
        file = paths.TEMPORARY / _DEFINITION.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(filled_in(_DEFINITION.read_text()))
        processes.run(
            [str(node), str(validator), "--json-path", str(file)],
            log=paths.LOGS / "asl-validator.log",
            environment=environment,
        )


def dependencies(progress: Progress) -> None:
    """Checks the licences and sources of the crates that this workspace depends on, bans those
    listed in deny.toml, and looks for security advisories if their database can be fetched.

    # Errors
    Failure with the output of cargo-deny."""
    packages.install(progress)
    packages.install_deny(progress)
    with progress.step("cargo deny: licences, bans and sources"):
        _deny("check", "licenses", "bans", "sources")
    with progress.step("cargo deny: advisories") as step:
        try:
            _deny("fetch", "db")
        except Failure:
            step.say("skipped, because the database of advisories cannot be fetched")
            return
        _deny("check", "advisories")


def _deny(verb: str, *options: str) -> None:
    program = str(paths.DENY / "bin" / "cargo-deny")
    environment = processes.environment()
    log = paths.LOGS / f"cargo-deny-{verb}.log"
    processes.run([program, "--locked", verb, *options], log=log, environment=environment)


def python(progress: Progress) -> None:
    """Checks the Python of this folder: its rules, its format and its types.

    # Errors
    Failure with what is wrong with it.
    """
    folder, interpreter = str(paths.LOCAL), str(packages.python())
    settings = [
        "--config-file",
        str(paths.LOCAL / "pyproject.toml"),
        "--cache-dir",
        str(paths.STATE / "mypy"),
    ]
    mypy = [interpreter, "-m", "mypy", "--python-executable", interpreter, *settings]
    _ruff(progress, "check", folder)
    _ruff(progress, "format", "--check", "--diff", folder)
    _lint(progress, "mypy --strict", [*mypy, "-p", "local"])


def format_python(progress: Progress) -> None:
    """Formats the Python of this folder.

    # Errors
    Failure with what cannot be parsed.
    """
    _ruff(progress, "format", str(paths.LOCAL))


def _ruff(progress: Progress, verb: str, *options: str) -> None:
    ruff = str(paths.LINT / "bin" / "ruff")
    _lint(progress, f"ruff {verb}", [ruff, verb, "--no-cache", *options])


def _lint(progress: Progress, title: str, command: list[str]) -> None:
    packages.install(progress)
    packages.install_lint(progress)
    environment = processes.environment({"PYTHONPATH": str(paths.LINT)})
    log = paths.LOGS / f"{title.replace(' --', '-').replace(' ', '-')}.log"
    with progress.step(title):
        processes.run(command, log=log, environment=environment)


def filled_in(definition: str) -> str:
    """A definition with numbers in the places where Terraform fills them in."""
    return re.sub(r'"{% \$number\(\'\${\w+}\'\) %}"', "1", definition)


def _node(progress: Progress) -> tuple[Path, list[str]]:
    """Node.js and its package manager: the machine's own, or else those from the package index."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return Path(node), [npm]
    packages.install_node(progress)
    return packages.node(), [
        str(packages.node()),
        str(packages.node().parents[1] / "lib/node_modules/npm/bin/npm-cli.js"),
    ]
