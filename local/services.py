"""The services that a stack runs on, and the supervisor that they run under."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from . import packages, paths, processes
from .console import Failure

HOST = "127.0.0.1"
REGION = "us-east-1"
REPLICA_SET = "rs0"
READY_SECONDS = 60
"""How long the services have until they must answer; they take two or three seconds."""

_PORTS = ("aws", "mongodb", "mediaconvert")

# MiniStack starts listeners and loads modules only for the APIs listed here.
_AWS_APIS = "events,iam,lambda,logs,monitoring,s3,secretsmanager,sns,sqs,states,sts"


def ports(fresh: bool) -> dict[str, int]:
    """The ports of this checkout's stack: those of the running stack. A new stack gets its previous
    ports if they are free, because they are part of what was deployed, and otherwise any free
    ones."""
    with contextlib.suppress(OSError, ValueError):
        known: dict[str, int] = json.loads(paths.PORTS.read_text())
        if known.keys() == set(_PORTS) and (
            not fresh or all(_is_free(port) for port in known.values())
        ):
            return known
    chosen = _free_ports(*_PORTS)
    paths.PORTS.write_text(json.dumps(chosen))
    return chosen


def endpoint(port: int) -> str:
    """URL of the AWS APIs."""
    return f"http://{HOST}:{port}"


def mongodb_uri(port: int) -> str:
    """URI of the database server. Its timeout is short: on this machine, the server answers at once
    or is down."""
    return f"mongodb://{HOST}:{port}/?replicaSet={REPLICA_SET}&serverSelectionTimeoutMS=2000"


def client(service: str, aws_endpoint: str, **settings: Any) -> Any:
    """A botocore client of one of the stack's AWS APIs."""
    import botocore.config
    import botocore.session

    session = botocore.session.Session()
    session.set_config_variable("config_file", os.devnull)
    session.set_config_variable("credentials_file", os.devnull)
    return session.create_client(
        service,
        region_name=REGION,
        endpoint_url=aws_endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=botocore.config.Config(s3={"addressing_style": "path"}, **settings),
    )


def status() -> dict[str, Any] | None:
    """What the supervisor reports about itself and the services while it runs; None if no stack
    runs."""
    try:
        found = json.loads(paths.SERVICES.read_text())
    except (OSError, ValueError):
        return None
    return found if processes.is_running(found["supervisor"]) else None


def stop() -> None:
    """Ends the services and everything they started."""
    running = status()
    if running:
        processes.end(running["supervisor"])
    paths.SERVICES.unlink(missing_ok=True)


@contextlib.contextmanager
def started(numbers: dict[str, int]) -> Iterator[None]:
    """Starts the services on the data in DATA and waits until they are ready. They end with this
    process, or if the block is left by an error, or with `stop`; `keep` lets them continue.

    # Errors
    Failure if a service ends, or is not ready in time."""
    _prepare_folders()
    with processes.lifeline() as reader:
        supervisor = _supervise(reader, numbers)
        try:
            _wait(lambda: _mongod_is_ready(numbers["mongodb"]), supervisor, "mongod")
            _wait(lambda: aws_is_ready(numbers["aws"]), supervisor, "ministack")
            _wait(
                lambda: _mediaconvert_is_ready(numbers["mediaconvert"]), supervisor, "mediaconvert"
            )
            yield
        except BaseException:
            supervisor.terminate()
            supervisor.wait()
            raise


def order(text: str) -> None:
    """Gives the supervisor an order (see guard.py)."""
    with open(paths.CONTROL, "w", encoding="utf-8") as control:
        control.write(text + "\n")


def keep() -> None:
    """Lets the services outlive this process."""
    order("keep")
    _await(lambda: bool((status() or {}).get("kept")), "the supervisor does not answer")


@contextlib.contextmanager
def without_mongod() -> Iterator[None]:
    """Stops mongod within the block.

    # Errors
    Failure if it does not stop, or is not ready again in time."""
    order("stop mongod")
    try:
        _await(
            lambda: "mongod" not in (status() or {"services": {}})["services"],
            "mongod does not stop",
        )
        yield
    finally:
        order("start mongod")
        _await(lambda: _mongod_is_ready(ports(False)["mongodb"]), "mongod does not start again")


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    limit = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > limit:
            raise Failure(f"{otherwise}:\n\n{processes.tail(paths.LOGS / 'supervisor.log')}")
        time.sleep(0.05)


def _prepare_folders() -> None:
    for folder in (paths.DATA / "aws", paths.DATA / "s3", paths.DATA / "mongodb", paths.LOGS):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(paths.TEMPORARY, ignore_errors=True)
    paths.TEMPORARY.mkdir()
    paths.CONTROL.unlink(missing_ok=True)
    os.mkfifo(paths.CONTROL)


def _supervise(reader: int, numbers: dict[str, int]) -> "subprocess.Popen[str]":
    with open(paths.LOGS / "supervisor.log", "w", encoding="utf-8") as log:
        supervisor = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                str(paths.LOCAL / "guard.py"),
                "services",
                str(reader),
                str(paths.CONTROL),
                str(paths.SERVICES),
            ],
            env=processes.environment(),
            cwd=paths.STATE,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[reader],
            text=True,
            start_new_session=True,
        )
    assert supervisor.stdin
    json.dump(_specifications(numbers), supervisor.stdin)
    supervisor.stdin.close()
    return supervisor


def _specifications(numbers: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "name": "mongod",
            "arguments": _mongod(numbers["mongodb"]),
            "environment": _environment(),
            "log": _log("mongod"),
        },
        {
            "name": "ministack",
            "arguments": [str(packages.python()), "-m", "local.ministack_ext"],
            "environment": {**_environment(), **_of_this_folder(), **_ministack(numbers)},
            "log": _log("ministack"),
        },
        {
            "name": "mediaconvert",
            "arguments": [
                str(packages.python()),
                "-m",
                "local.mediaconvert",
                str(numbers["mediaconvert"]),
                endpoint(numbers["aws"]),
            ],
            "environment": {**_environment(), **_of_this_folder()},
            "log": _log("mediaconvert"),
        },
    ]


def _log(name: str) -> str:
    path = paths.LOGS / f"{name}.log"
    path.write_bytes(b"")
    return str(path)


def _environment() -> dict[str, str]:
    """The environment of the services, which MiniStack passes on to the functions: none of the
    user's settings."""
    return {
        "PATH": f"{paths.BIN}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(paths.TEMPORARY),
        "TMPDIR": str(paths.TEMPORARY),
        "LANG": "C.UTF-8",
        processes.MARKER: str(paths.STATE),
    }


def _of_this_folder() -> dict[str, str]:
    """The environment for a service that is a module of this folder."""
    return {"PYTHONPATH": str(paths.ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def _mongod(port: int) -> list[str]:
    return [
        str(paths.BIN / "mongod"),
        "--dbpath",
        str(paths.DATA / "mongodb"),
        "--port",
        str(port),
        "--bind_ip",
        HOST,
        "--nounixsocket",
        "--replSet",
        REPLICA_SET,
        "--oplogSize",
        "64",
        "--wiredTigerCacheSizeGB",
        "0.25",
        "--wiredTigerEngineConfigString",
        "log=(prealloc=false,file_max=16MB)",
        "--networkMessageCompressors",
        "snappy,zstd",
        "--setParameter",
        "diagnosticDataCollectionEnabled=false",
    ]


def ministack_environment(port: int) -> dict[str, str]:
    """The settings of a MiniStack that serves a loopback port and stores nothing."""
    return {
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": endpoint(port),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "MINISTACK_REGION": REGION,
        "SERVICES": _AWS_APIS,
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
    }


def _ministack(numbers: dict[str, int]) -> dict[str, str]:
    return {
        **ministack_environment(numbers["aws"]),
        "AWS_ENDPOINT_URL_MEDIACONVERT": endpoint(numbers["mediaconvert"]),
        "LAMBDA_ACCOUNT_CONCURRENCY": str(_concurrency()),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(paths.DATA / "aws"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(paths.DATA / "s3"),
    }


def _concurrency() -> int:
    """How many functions run at once: several for each processor, since most of them wait."""
    return 3 * (os.cpu_count() or 1)


def _wait(is_ready: Callable[[], bool], supervisor: "subprocess.Popen[str]", name: str) -> None:
    limit = time.monotonic() + READY_SECONDS
    while not is_ready():
        if supervisor.poll() is not None or time.monotonic() > limit:
            last = processes.tail(paths.LOGS / f"{name}.log")
            raise Failure(f"{name} did not start; its last lines:\n\n{last}")
        time.sleep(0.05)


def _mongod_is_ready(port: int) -> bool:
    """Whether mongod accepts writes. Creates the replica set of a new server."""
    import pymongo
    import pymongo.errors

    server: pymongo.MongoClient[Any] = pymongo.MongoClient(
        HOST, port, directConnection=True, serverSelectionTimeoutMS=500
    )
    with server:
        try:
            hello = server.admin.command("hello")
            if hello["isWritablePrimary"]:
                return True
            if "setName" not in hello:
                members = [{"_id": 0, "host": f"{HOST}:{port}"}]
                server.admin.command({"replSetInitiate": {"_id": REPLICA_SET, "members": members}})
        except pymongo.errors.PyMongoError:
            # Not listening yet, or the replica set is already being created.
            pass
    return False


def aws_is_ready(port: int) -> bool:
    """Whether MiniStack answers at a port."""
    import botocore.exceptions

    try:
        client(
            "sqs",
            endpoint(port),
            connect_timeout=1,
            read_timeout=5,
            retries={"total_max_attempts": 1},
        ).list_queues()
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
        return False
    return True


def _mediaconvert_is_ready(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_ports(*names: str) -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind((HOST, 0))
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}
