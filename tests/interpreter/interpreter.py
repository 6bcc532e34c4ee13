"""The state machine's definition, run by moto's interpreter of Step Functions, with functions written in Python.

moto leaves the evaluation of JSONata open; jsonata-python does it here. Waits before retries are recorded, not waited.

Two things are different from AWS:

- This interpreter does not follow a catch that enters the same state. Such a catch enters a copy of the state here, which
  is called `<state>, caught`.
- A task that misses its heartbeat fails with `States.Timeout`, which AWS calls `States.HeartbeatTimeout`. """

import contextlib
import copy
import dataclasses
import json
import logging
import re
import threading
import types
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional
from unittest import mock

import jsonata
from botocore.exceptions import ClientError
from moto.stepfunctions.parser.api import StateMachineType
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.eval.callback import callback
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.evaluation_details import AWSExecutionDetails
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventHistoryContext
from moto.stepfunctions.parser.asl.eval.program_state import ProgramEnded, ProgramError, ProgramTimedOut
from moto.stepfunctions.parser.asl.eval.states import ContextObjectData, ExecutionData, StateMachineData
from moto.stepfunctions.parser.asl.jsonata import jsonata as evaluation
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

Json = Any
Function = Callable[[Json], Json]
"""Makes an answer from a payload. Raises FunctionError for an error of the function, Refused for one of Lambda."""

EXECUTION_ARN = "arn:aws:states:us-east-1:000000000000:execution:clipflow-clip:a-0123456789ab"
STARTED_AT = "2026-01-01T00:00:00Z"
NUMBERS = {
    "transcode_timeout_seconds": 21600,
    "transcode_heartbeat_seconds": 1800,
    "recordings_retry_seconds": 30,
    "recordings_max_seconds": 300,
    "recordings_retries": 3,
}
"""The values that Terraform fills into the definition, besides the functions' ARNs."""

logging.getLogger("moto.stepfunctions").setLevel(logging.CRITICAL)  # It logs every failure at length.

_DEFINITION = Path(__file__).resolve().parents[2] / "statemachine" / "clip.asl.json"
_FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


class FunctionError(Exception):
    """The error with which a function answers."""

    def __init__(self, name: str, message: str = "it cannot be done"):
        super().__init__(name, message)
        self.name = name
        self.payload = {"errorType": name, "errorMessage": message}


class Refused(Exception):
    """The error of Lambda, such as `TooManyRequestsException`, if it does not run a function."""


def hangs(_: Json) -> Json:
    """A function that does not answer before the execution has ended."""


@dataclasses.dataclass
class Run:
    """An execution that has ended."""

    status: str
    states: list[str]
    """The states that were entered, in order."""
    payloads: dict[str, list[Json]]
    """The inputs of all invocations, by function."""
    waits: list[float]
    """Seconds before each retry."""
    output: Json = None
    error: Optional[str] = None
    cause: Optional[str] = None


def definition() -> Json:
    """The definition as it is deployed, except for a catch that enters the same state."""
    text = _DEFINITION.read_text()
    for name, number in NUMBERS.items():
        text = text.replace(f"${{{name}}}", str(number))
    text = re.sub(r"\"{% \$number\('([0-9.]+)'\) %}\"", r"\1", text)
    text = re.sub(r"\${(\w+)_arn}", rf"{_FUNCTION_ARN}\1", text)
    asl = json.loads(text)
    for name, state in list(asl["States"].items()):
        again = f"{name}, caught"
        for catcher in state.get("Catch", []):
            if catcher["Next"] == name:
                catcher["Next"] = again
                asl["States"][again] = copy.deepcopy(state)
    return asl


class Interpreter:
    """Runs executions of one definition."""

    def __init__(self, asl: Json):
        self._program = AmazonStateLanguageParser.parse(json.dumps(asl))[0]

    def run(self, request: Json, functions: Mapping[str, Function]) -> Run:
        """Runs an execution to its end.

        After a function that got a task token has answered, the function `resume` makes the end of the task. Without
        it, nobody sends the token. """
        execution = _Execution(request, functions)
        with execution.in_charge():
            self._program.eval(execution.environment)
        return execution.ended()


class _Execution:
    def __init__(self, request: Json, functions: Mapping[str, Function]):
        self.environment = _environment(request)
        self._functions = functions
        self._payloads: dict[str, list[Json]] = {}
        self._waits: list[float] = []
        self._over = threading.Event()

    @contextlib.contextmanager
    def in_charge(self) -> Iterator[None]:
        """Lets the interpreter invoke this execution's functions, and record its waits."""
        clock = types.SimpleNamespace(sleep=self._waits.append)
        with (
            mock.patch.object(evaluation, "_eval_jsonata", lambda text: jsonata.Jsonata(text).evaluate(None)),
            mock.patch.object(lambda_eval_utils, "_invoke_lambda_function", self._invoke),
            mock.patch.object(retrier_decl, "time", clock),
        ):
            try:
                yield
            finally:
                self._over.set()

    def _invoke(self, parameters: Json, **_: object) -> Json:
        name = parameters["FunctionName"].removeprefix(_FUNCTION_ARN)
        payload = json.loads(parameters["Payload"])
        self._payloads.setdefault(name, []).append(payload)
        function = self._functions[name]
        try:
            answer = function(payload)
        except FunctionError as error:
            return {"FunctionError": "Unhandled", "Payload": error.payload}
        except Refused as refused:
            raise _client_error(str(refused)) from refused
        if function is hangs:
            self._over.wait()
        if "taskToken" in payload and "resume" in self._functions:
            self._resume(payload["taskToken"])
        return {"StatusCode": 200, "Payload": answer}

    def _resume(self, token: str) -> None:
        """Ends a task as soon as the interpreter waits for it."""
        endpoint = self.environment.callback_pool_manager.get(token)
        assert endpoint
        set_up = endpoint.setup_heartbeat_endpoint

        def set_up_and_notify(heartbeat_seconds: int) -> callback.HeartbeatEndpoint:
            waiting = set_up(heartbeat_seconds)
            endpoint.notify(self._outcome(token))
            return waiting

        endpoint.setup_heartbeat_endpoint = set_up_and_notify  # type: ignore[method-assign]

    def _outcome(self, token: str) -> callback.CallbackOutcome:
        try:
            output = json.dumps(self._functions["resume"]({"taskToken": token}))
            return callback.CallbackOutcomeSuccess(token, output)
        except FunctionError as error:
            return callback.CallbackOutcomeFailure(token, error.name, json.dumps(error.payload))

    def ended(self) -> Run:
        """Its result."""
        events = self.environment.event_manager.get_event_history()
        entered = [details["name"] for event in events if (details := event.get("stateEnteredEventDetails"))]
        run = Run("", entered, self._payloads, self._waits)
        state = self.environment.program_state()
        if isinstance(state, ProgramEnded):
            run.status, run.output = "SUCCEEDED", self.environment.states.get_input()
        elif isinstance(state, ProgramError):
            assert state.error
            run.status, run.error, run.cause = "FAILED", state.error.get("error"), state.error.get("cause")
        elif isinstance(state, ProgramTimedOut):
            run.status = "TIMED_OUT"
        return run


def _environment(request: Json) -> Environment:
    execution = ExecutionData(Id=EXECUTION_ARN, Input=request, Name="a-0123456789ab", RoleArn="", StartTime=STARTED_AT)
    return Environment(
        aws_execution_details=AWSExecutionDetails(account="000000000000", region="us-east-1", role_arn=""),
        execution_type=StateMachineType.STANDARD,
        context=ContextObjectData(
            Execution=execution, State=None, StateMachine=StateMachineData(Id="", Name="clip"), Task=None, Map=None
        ),
        event_history_context=EventHistoryContext.of_program_start(),
        cloud_watch_logging_session=None,
        activity_store={},
    )


def _client_error(code: str) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "Lambda does not run the function"},
        "ResponseMetadata": {"HTTPStatusCode": 429, "RequestId": "0"},
    }
    return ClientError(response, "Invoke")
