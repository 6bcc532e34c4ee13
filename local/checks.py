"""Checks of what is deployed, with the tools that are made for it."""

import os
import re
import shutil
from pathlib import Path

from . import deploy, packages, paths, processes
from .console import Failure, Progress

_ASL = paths.ROOT / "tests" / "asl"
_PATHS = paths.ROOT / "tests" / "interpreter"
_MODULE = paths.ROOT / "terraform"
_EXAMPLES = [_MODULE / "examples" / name for name in ("complete", "documentdb")]
_DEFINITION = paths.ROOT / "statemachine" / "clip.asl.json"


def terraform(progress: Progress) -> None:
    """Checks the format of all Terraform files, validates the root modules, runs the tests of the module and its
    examples, and has checkov look for what is insecure.

    # Errors
    Failure with what Terraform or checkov said.
    """
    with progress.step("terraform fmt"):
        deploy.run(paths.ROOT, ["fmt", "-no-color", "-check", "-diff", "-recursive"], "terraform-fmt.log")
    for folder in (paths.TERRAFORM, _MODULE, *_EXAMPLES):
        with progress.step(f"terraform validate in {folder.relative_to(paths.ROOT)}"):
            deploy.initialise(folder)
            deploy.run(folder, ["validate", "-no-color"], "terraform-validate.log", on_line=_refuse_warnings)
    for folder in (_MODULE, *_EXAMPLES):
        with progress.step(f"terraform test in {folder.relative_to(paths.ROOT)}") as step:
            deploy.run(folder, ["test", "-no-color"], "terraform-test.log", on_line=step.say)
    packages.install_checkov(progress)
    with progress.step("checkov"):
        _checkov()


def _refuse_warnings(line: str) -> None:
    """What a provider deprecates is a warning before it is an error."""
    if line.startswith("Warning:"):
        raise Failure(f"Terraform warns; {paths.relative(paths.LOGS)}/terraform-validate.log says where: {line}")


def _checkov() -> None:
    """Each skip stands with its reason at its resource."""
    options = ["--framework", "terraform", "--skip-download", "--quiet", "--compact"]
    processes.run(
        [str(packages.checkov()), "--directory", str(_MODULE), *options],
        log=paths.LOGS / "checkov.log",
        environment=processes.environment(),
    )


def definition(progress: Progress) -> None:
    """Checks the state machine's definition with npm's asl-validator, and runs each path of it with moto's interpreter.

    # Errors
    Failure with what is wrong with it.
    """
    _validate(progress)
    packages.install_interpreter(progress)
    with progress.step("each path of the definition"):
        processes.run(
            [str(packages.interpreter_python()), "-m", "unittest", "discover", "--start-directory", str(_PATHS)],
            log=paths.LOGS / "paths.log",
            environment=processes.environment(),
        )


def _validate(progress: Progress) -> None:
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
        processes.run(
            [str(node), str(validator), "--json-path", str(_filled_in())],
            log=paths.LOGS / "asl-validator.log",
            environment=environment,
        )


def _filled_in() -> Path:
    """The definition as it is deployed, with numbers where Terraform fills in numbers."""
    file = paths.TEMPORARY / _DEFINITION.name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(re.sub(r'"{% \$number\(\'\${\w+}\'\) %}"', "1", _DEFINITION.read_text()))
    return file


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
