"""Checks of what is deployed, with the tools that are made for it."""

import os
import re
import shutil
from pathlib import Path

from . import deploy, packages, paths, processes
from .console import Progress

_ASL = paths.ROOT / "tests" / "asl"
_MODULE = paths.ROOT / "terraform"
_DEFINITION = paths.ROOT / "statemachine" / "clip.asl.json"


def terraform(progress: Progress) -> None:
    """Checks the format of all Terraform files, validates both root modules and runs the module's
    tests.

    # Errors
    Failure with what Terraform said.
    """
    with progress.step("terraform fmt"):
        deploy.run(
            paths.ROOT, ["fmt", "-no-color", "-check", "-diff", "-recursive"], "terraform-fmt.log"
        )
    for folder in (paths.TERRAFORM, _MODULE):
        with progress.step(f"terraform validate in {folder.relative_to(paths.ROOT)}"):
            deploy.initialise(folder)
            deploy.run(folder, ["validate", "-no-color"], "terraform-validate.log")
    with progress.step("terraform test") as step:
        deploy.run(_MODULE, ["test", "-no-color"], "terraform-test.log", on_line=step.say)


def definition(progress: Progress) -> None:
    """Checks the state machine's definition with npm's asl-validator.

    # Errors
    Failure with what is wrong with it.
    """
    node, npm = _node(progress)
    environment = processes.environment({"PATH": f"{node.parent}:{os.environ['PATH']}"})
    validator = _ASL / "node_modules" / ".bin" / "asl-validator"
    with progress.step("asl-validator"):
        lock = _ASL / "node_modules" / ".package-lock.json"
        if not lock.exists() or lock.stat().st_mtime < (_ASL / "package-lock.json").stat().st_mtime:
            processes.run(
                [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                log=paths.LOGS / "npm.log",
                environment=environment,
                folder=_ASL,
            )
        file = paths.TEMPORARY / _DEFINITION.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(filled_in(_DEFINITION.read_text()))
        processes.run(
            [str(node), str(validator), "--json-path", str(file)],
            log=paths.LOGS / "asl-validator.log",
            environment=environment,
        )


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
    """A definition with numbers where Terraform fills in numbers."""
    return re.sub(r'"{% \$number\(\'\${\w+}\'\) %}"', "1", definition)


def _node(progress: Progress) -> tuple[Path, list[str]]:
    """Node.js and its package manager: the machine's own, else those of the package index."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return Path(node), [npm]
    packages.install_node(progress)
    return packages.node(), [
        str(packages.node()),
        str(packages.node().parents[1] / "lib/node_modules/npm/bin/npm-cli.js"),
    ]
