"""Runs an execution through its states, from the start or from the state where it is redriven.

What differs from MiniStack: an execution keeps the definition that it started with; before each
state it records its place (state, input and variables), from which a redrive continues without
entering the state again; the state machine's `TimeoutSeconds` ends it as TIMED_OUT and starts over
for a redrive; an aborted execution stays aborted.

AWS, "Restarting state machine executions with redrive": a redriven Parallel or Map state reruns
only failed branches and items. Here it reruns all of them.

Replaces `_run_execution` of MiniStack's stepfunctions.
"""

import contextlib
import json
import logging
from typing import Any

from ministack.core.responses import now_iso
from ministack.services import stepfunctions as sfn

from . import runs

_logger = logging.getLogger("states")
_RUNTIME = "States.Runtime"


def install() -> None:
    """Replaces MiniStack's function."""
    sfn._run_execution = start


def start(arn: str) -> None:
    """Runs a started execution to its end."""
    execution = sfn._executions.get(arn)
    run = runs.begin(execution) if execution else None
    if run:
        walk(run)


def walk(run: runs.Run) -> None:
    """Runs a run to its end."""
    with runs.working_for(run), contextlib.suppress(runs.Ended):
        _end(run, *_outcome(run))


def _outcome(run: runs.Run) -> tuple[str, Any]:
    """How a run ends: its status, and its output or its error.

    # Errors
    Ended.
    """
    try:
        return "SUCCEEDED", _Walk(run).to_its_end()
    except runs.TimedOut:
        return "TIMED_OUT", None
    except sfn._ExecutionError as error:
        return "FAILED", (error.error, error.cause)
    except runs.Ended:
        raise
    except Exception as error:
        _logger.exception("Unexpected error in execution %s", run.execution["executionArn"])
        return "FAILED", (_RUNTIME, str(error))


def _end(run: runs.Run, status: str, outcome: Any) -> None:
    execution = run.execution
    with run.ending():
        if status == "FAILED":
            sfn._fail_execution(execution, *outcome)
            return
        execution["status"] = status
        execution["stopDate"] = now_iso()
        if status == "TIMED_OUT":
            sfn._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
        else:
            execution["output"] = json.dumps(outcome)
            del execution["place"]
            details = {"output": execution["output"]}
            sfn._add_event(
                execution, "ExecutionSucceeded", {"executionSucceededEventDetails": details}
            )
        sfn._emit_execution_status_event(execution)


class _Walk:
    """The path of a run through the states of its definition."""

    def __init__(self, run: runs.Run):
        self._run = run
        self._execution = run.execution
        definition = _definition(run.execution)
        self._states: dict[str, Any] = definition.get("States", {})
        if "TimeoutSeconds" in definition:
            run.end_after(definition["TimeoutSeconds"])
        self._place: dict[str, Any] | None = run.execution.get("place")
        self._first = definition.get("StartAt")
        self._input = _parsed(run.execution["input"])
        self._context = _context(run.execution, definition, self._input)

    def to_its_end(self) -> Any:
        """The output of the last state.

        # Errors
        What a state raises.
        """
        name = self._first
        if self._place:
            name = self._place["state"]
            self._input = self._place["input"]
            self._context["variables"] = dict(self._place["variables"])
        while name:
            if name not in self._states:
                raise sfn._ExecutionError(_RUNTIME, f"State '{name}' not found in definition")
            name = self._through(name, self._states[name])
        return self._input

    def _through(self, name: str, state: dict[str, Any]) -> str | None:
        """Runs the execution through one state; returns the name of the next one."""
        kind = state.get("Type")
        self._enter(name, kind)
        if kind == "Fail":
            raise sfn._ExecutionError(*sfn._fail_state_error(state, self._input, self._context))
        self._input, following = self._output(state, kind)
        details = {"name": name, "output": json.dumps(self._input)}
        self._run.record(
            self._execution, f"{kind}StateExited", {"stateExitedEventDetails": details}
        )
        return following

    def _enter(self, name: str, kind: Any) -> None:
        if self._place:
            entered, self._place = self._place["entered"], None
        else:
            entered = now_iso()
            details = {"name": name, "input": json.dumps(self._input)}
            self._run.record(
                self._execution, f"{kind}StateEntered", {"stateEnteredEventDetails": details}
            )
        self._context["State"] = {"Name": name, "EnteredTime": entered, "RetryCount": 0}
        self._execution["place"] = {
            "state": name,
            "input": self._input,
            "variables": dict(self._context["variables"]),
            "entered": entered,
        }

    def _output(self, state: dict[str, Any], kind: Any) -> tuple[Any, str | None]:
        answer: tuple[Any, str | None]
        match kind:
            case "Succeed":
                effective = sfn._apply_input_path(state, self._input, self._context)
                answer = (sfn._apply_output_path(state, effective, self._context), None)
            case "Task" | "Parallel" | "Map":
                execute = getattr(sfn, f"_execute_{kind.lower()}")
                answer = execute(state, self._input, self._execution, self._context)
            case "Pass" | "Choice" | "Wait":
                execute = getattr(sfn, f"_execute_{kind.lower()}")
                answer = execute(state, self._input, self._context)
            case _:
                raise sfn._ExecutionError(_RUNTIME, f"Unknown state type: {kind}")
        return answer


def _definition(execution: runs.Execution) -> dict[str, Any]:
    """The definition that an execution started with."""
    if "definition" not in execution:
        machine = sfn._state_machines.get(execution["stateMachineArn"])
        if not machine:
            raise sfn._ExecutionError("StateMachineDeleted", "State machine no longer exists")
        execution["definition"] = machine["definition"]
        execution["roleArn"] = machine["roleArn"]
    definition: dict[str, Any] = _parsed(execution["definition"])
    if definition.get("StartAt") not in definition.get("States", {}):
        raise sfn._ExecutionError(
            "InvalidDefinition", f"StartAt state '{definition.get('StartAt')}' not found"
        )
    return definition


def _context(
    execution: runs.Execution, definition: dict[str, Any], execution_input: Any
) -> dict[str, Any]:
    """The context object, in which MiniStack also keeps the variables."""
    machine = execution["stateMachineArn"]
    about = {
        "Id": execution["executionArn"],
        "Input": execution_input,
        "Name": execution["name"],
        "RoleArn": execution["roleArn"],
        "StartTime": execution["startDate"],
        "RedriveCount": execution.get("redriveCount", 0),
    }
    if execution.get("redriveDate"):
        about["RedriveTime"] = execution["redriveDate"]
    return {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": about,
        "StateMachine": {"Id": machine, "Name": machine.rpartition(":")[2]},
        "variables": {},
    }


def _parsed(text: str) -> Any:
    """Parses JSON, or returns an empty object."""
    try:
        return json.loads(text)
    except ValueError:
        return {}
