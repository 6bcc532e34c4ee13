"""A MiniStack with the extension, for tests."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from local import paths, services

ROLE = "arn:aws:iam::000000000000:role/test"
CONCURRENCY = 2
"""How many functions may run at once."""
LONGEST_WAIT_SECONDS = 20

T = TypeVar("T")


class _MiniStack:
    """The MiniStack that the tests of a module share."""

    def __init__(self) -> None:
        self.folder = Path(unittest.enterModuleContext(tempfile.TemporaryDirectory()))
        with socket.socket() as free:
            free.bind((services.HOST, 0))
            port = free.getsockname()[1]
        self.endpoint = services.endpoint(port)
        self._clients: dict[str, Any] = {}
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(paths.ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(self.folder),
            "LAMBDA_ACCOUNT_CONCURRENCY": str(CONCURRENCY),
            **services.ministack_environment(port),
        }
        with open(self.folder / "ministack.log", "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "local.ministack_ext"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        unittest.addModuleCleanup(self._stop)
        eventually("MiniStack", lambda: services.aws_is_ready(port))

    def client(self, service: str) -> Any:
        made = self._clients.get(service)
        if not made:
            once = {"total_max_attempts": 1}
            made = self._clients[service] = services.client(service, self.endpoint, retries=once)
        return made

    def _stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


_running: list[_MiniStack] = []
"""None or one."""


def start() -> None:
    """Starts a MiniStack for the tests of a module: its `setUpModule`."""
    _running.append(_MiniStack())
    unittest.addModuleCleanup(_running.clear)


class MiniStackTest(unittest.TestCase):
    """A test of the MiniStack of its module."""

    def setUp(self) -> None:
        self._ministack = _running[0]
        self.folder = Path(tempfile.mkdtemp(dir=self._ministack.folder))

    def client(self, service: str) -> Any:
        """A client of one of its APIs, without retries."""
        return self._ministack.client(service)

    def refuses(self, code: str, call: Callable[..., Any], **arguments: Any) -> str:
        """Asserts that a call is refused with a named error; returns the message."""
        import botocore.exceptions

        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(**arguments)
        error = caught.exception.response["Error"]
        self.assertEqual(error["Code"], code, error)
        return str(error["Message"])

    def function(self, code: str, **settings: Any) -> str:
        """Creates a function from Python code, named after the test; returns its ARN."""
        return self._create_function(
            self.package(code), Runtime="python3.12", Handler="index.handler", **settings
        )

    @staticmethod
    def package(code: str) -> bytes:
        """A package with a module `index`."""
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as packed:
            packed.writestr("index.py", code)
        return package.getvalue()

    def program(self, script: str, **settings: Any) -> str:
        """Creates a function from a shell script, named after the test; returns its ARN."""
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as packed:
            entry = zipfile.ZipInfo("bootstrap")
            entry.create_system, entry.external_attr = 3, 0o100755 << 16
            packed.writestr(entry, script)
        return self._create_function(
            package.getvalue(), Runtime="provided.al2023", Handler="bootstrap", **settings
        )

    def _create_function(self, package: bytes, **settings: Any) -> str:
        made = self.client("lambda").create_function(
            FunctionName=self._testMethodName, Role=ROLE, Code={"ZipFile": package}, **settings
        )
        return str(made["FunctionArn"])

    def start(self, states: dict[str, Any], execution_input: Any = None, **machine: Any) -> str:
        """Starts an execution of a state machine with these states; returns its ARN."""
        definition = {
            "QueryLanguage": "JSONata",
            "StartAt": next(iter(states)),
            "States": states,
            **machine,
        }
        sfn = self.client("stepfunctions")
        arn = sfn.create_state_machine(
            name=f"{self._testMethodName[:60]}-{time.monotonic_ns()}",
            definition=json.dumps(definition),
            roleArn=ROLE,
        )["stateMachineArn"]
        started = sfn.start_execution(stateMachineArn=arn, input=json.dumps(execution_input or {}))
        return str(started["executionArn"])

    def describe(self, arn: str) -> dict[str, Any]:
        """An execution, as returned by DescribeExecution."""
        found: dict[str, Any] = self.client("stepfunctions").describe_execution(executionArn=arn)
        return found

    def ended(self, arn: str) -> dict[str, Any]:
        """An execution once it has ended."""

        def look() -> dict[str, Any] | None:
            found = self.describe(arn)
            return None if found["status"] == "RUNNING" else found

        return eventually("the end of the execution", look)

    def events(self, arn: str) -> list[dict[str, Any]]:
        """The history of an execution."""
        history = self.client("stepfunctions").get_execution_history(
            executionArn=arn, maxResults=1000
        )
        found: list[dict[str, Any]] = history["events"]
        return found

    def kinds(self, arn: str) -> list[str]:
        """The kinds of the events in an execution's history."""
        return [event["type"] for event in self.events(arn)]

    def queue(self) -> str:
        """Creates a queue named after the test; returns its URL."""
        return str(self.client("sqs").create_queue(QueueName=self._testMethodName[:70])["QueueUrl"])

    def received(self, url: str) -> Any:
        """Receives and deletes the next message of a queue, which is JSON."""
        sqs = self.client("sqs")

        def look() -> Any:
            answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
            return next(iter(answer.get("Messages", [])), None)

        message = eventually("a message", look)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return json.loads(message["Body"])


def eventually(what: str, look: Callable[[], T | None]) -> T:
    """Polls until there is something; returns it."""
    limit = time.monotonic() + LONGEST_WAIT_SECONDS
    while time.monotonic() < limit:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited too long for {what}")
