"""Every path through the definition, from the request to the end of the execution."""

import itertools
import unittest
from typing import Mapping

from interpreter import (
    EXECUTION_ARN,
    STARTED_AT,
    Function,
    FunctionError,
    Interpreter,
    Json,
    Refused,
    Run,
    definition,
    hangs,
)

REQUEST = {"clipId": "a", "source": {"bucket": "archive", "key": "k.mp4"}, "start": 1, "end": 11}
CANONICAL = {"clipId": "a", "cut": "exact", "prefix": "clips/a/0123456789ab/"}
CLIP = {"key": "clips/a/0123456789ab/clip.mp4", "bytes": 1000}
DAMAGED_CLIP = {**CLIP, "damaged": {"pictures": 1}}
TRIMMED = {"clip": DAMAGED_CLIP, "engine": {"name": "trim", "why": "copied", "estimateUsd": 0.001}}
DELIVERED = {"frames": 300}
THUMBNAILS = {"thumbnails": [{"size": 300, "key": "thumb-300.jpg"}], "preview": None}
OUTCOME = {"clipId": "a", "status": "available"}

PLANNED = ["Validate", "Probe", "ChooseEngine"]
FINISHED = ["Verify", "Thumbnail", "Store", "Notify"]
BY_TRIM = [*PLANNED, "Trim", *FINISHED]
BY_TRANSCODE = [*PLANNED, "Transcode", *FINISHED]
HANDED_OVER = [*PLANNED, "Trim", "Transcode", *FINISHED]
REJECTING = ["Validate", "Probe", "Trim", "Transcode", "Verify", "Thumbnail"]
"""The states that may reject the request."""

REJECTIONS = [
    "InvalidRequest",
    "SourceNotFound",
    "UnsupportedMedia",
    "OutOfRange",
    "TooLong",
    "TooExpensive",
    "IncompleteCoverage",
]
PASSING = [
    FunctionError("DependencyUnavailable"),
    Refused("ClientExecutionTimeoutException"),
    Refused("ServiceException"),
    Refused("AWSLambdaException"),
    Refused("SdkClientException"),
]
THROTTLED = Refused("TooManyRequestsException")
KILLED = FunctionError("Runtime.ExitError", "RequestId: 0 Error: Runtime exited with error: signal: killed")


def plan(engine: str = "trim") -> Json:
    """What `probe` answers about a clip for this engine."""
    estimates = {"trimSeconds": 3, "scratchBytes": 1000, "trimUsd": 0.001, "transcodeUsd": 0.01}
    chosen = {"name": engine, "why": f"{engine} suits it", "estimateUsd": estimates[f"{engine}Usd"]}
    return {"clipSeconds": 10, "encodedSeconds": 1, "estimates": estimates, "engine": chosen}


def answers(answer: Json) -> Function:
    """A function that always answers this."""
    return lambda _: answer


def fails(error: Exception, times: float = float("inf"), then: Json = None) -> Function:
    """A function that fails this many times, and then answers."""
    invocations = itertools.count()

    def function(_: Json) -> Json:
        if next(invocations) < times:
            raise error
        return then

    return function


ANSWERS: Mapping[str, Json] = {
    "validate": CANONICAL,
    "probe": plan(),
    "trim": TRIMMED,
    "transcode": {"jobId": "1"},
    "resume": {"clip": CLIP},
    "verify": DELIVERED,
    "thumbnail": THUMBNAILS,
    "store": OUTCOME,
    "notify": {"messageId": "m"},
}


def functions(**others: Function) -> Mapping[str, Function]:
    """Functions that make a clip, with some of them replaced."""
    return {name: answers(answer) for name, answer in ANSWERS.items()} | others


def way_to(state: str) -> Mapping[str, Function]:
    """Functions that lead to a state: only a clip that is too much for `trim` reaches `Transcode`."""
    return functions(probe=answers(plan("transcode"))) if state == "Transcode" else functions()


TASKS = [name for name, state in definition()["States"].items() if state["Type"] == "Task" and "," not in name]


class Paths(unittest.TestCase):
    """Executions of the unchanged definition."""

    interpreter = Interpreter(definition())

    def run_with(self, **others: Function) -> Run:
        """Runs the request with functions that make a clip, with some of them replaced."""
        return self.interpreter.run(REQUEST, functions(**others))

    def assert_failed(self, run: Run, state: str, error: str) -> None:
        """Asserts that the execution failed in a state, and nothing caught it."""
        self.assertEqual((run.status, run.states[-1], run.error), ("FAILED", state, error))


class Accepted(Paths):
    """Requests that become clips."""

    def test_short_clip_is_made_by_trim(self) -> None:
        run = self.run_with()
        self.assertEqual((run.status, run.states, run.output), ("SUCCEEDED", BY_TRIM, OUTCOME))
        self.assertEqual(run.waits, [])

    def test_long_clip_is_made_by_transcode(self) -> None:
        run = self.run_with(probe=answers(plan("transcode")))
        self.assertEqual((run.status, run.states, run.output), ("SUCCEEDED", BY_TRANSCODE, OUTCOME))

    def test_each_function_is_given_what_those_before_it_found(self) -> None:
        run = self.run_with()
        execution = {"arn": EXECUTION_ARN, "startedAt": STARTED_AT}
        engine = {"name": "trim", "why": "trim suits it", "estimateUsd": 0.001}
        known = {"execution": execution, "request": CANONICAL}
        trimmed = {"clip": DAMAGED_CLIP, "engine": TRIMMED["engine"]}
        available = {"status": "available", **trimmed, **THUMBNAILS, "delivered": DELIVERED}
        expected = {
            "validate": {"execution": execution, "request": REQUEST},
            "probe": {**known, "waited": False},
            "trim": {**known, "probe": plan(), "engine": engine},
            "verify": {**known, "probe": plan(), **trimmed},
            "thumbnail": {**known, "clip": DAMAGED_CLIP, "delivered": DELIVERED},
            "store": {"execution": execution, "request": REQUEST, "result": available},
            "notify": {"execution": execution, "outcome": OUTCOME},
        }
        self.assertEqual(run.payloads, {name: [payload] for name, payload in expected.items()})

    def test_transcode_is_given_a_token_and_what_trim_is_given(self) -> None:
        run = self.run_with(probe=answers(plan("transcode")))
        [payload] = run.payloads["transcode"]
        self.assertTrue(payload.pop("taskToken"))
        self.assertEqual(set(payload), {"execution", "request", "probe", "engine"})
        self.assertEqual(run.payloads["verify"][0]["clip"], CLIP)


class ChoiceOfEngine(Paths):
    """The engine that `probe` chose makes the clip, and the outcome states its reason."""

    def test_transcode_makes_what_probe_chose_it_for_and_the_outcome_says_why(self) -> None:
        run = self.run_with(probe=answers(plan("transcode")))
        self.assertEqual(run.states, BY_TRANSCODE)
        engine = {"name": "transcode", "why": "transcode suits it", "estimateUsd": 0.01}
        self.assertEqual(run.payloads["transcode"][0]["engine"], engine)
        self.assertEqual(run.payloads["store"][0]["result"]["engine"], engine)

    def test_trim_makes_what_probe_chose_it_for(self) -> None:
        self.assertEqual(self.run_with(probe=answers(plan("trim"))).states, BY_TRIM)


class Rejected(Paths):
    """Requests at fault, which are stored and announced as rejected."""

    def test_every_rejection_from_every_state_that_rejects_is_stored_and_announced(self) -> None:
        for state, reason in itertools.product(REJECTING, REJECTIONS):
            with self.subTest(f"{reason} in {state}"):
                message = f'segments[0]: "{reason}" \\ is why'
                rejecting = {state.lower(): fails(FunctionError(reason, message))}
                run = self.interpreter.run(REQUEST, {**way_to(state), **rejecting})
                self.assertEqual((run.status, run.states[-3:]), ("SUCCEEDED", [state, "Store", "Notify"]))
                [stored] = run.payloads["store"]
                self.assertEqual(stored["result"], {"status": "rejected", "reason": reason, "message": message})
                self.assertEqual(stored["request"], REQUEST)
                self.assertEqual(run.waits, [])

    def test_state_that_may_not_reject_fails(self) -> None:
        for state in set(TASKS) - set(REJECTING):
            with self.subTest(state):
                run = self.run_with(**{state.lower(): fails(FunctionError("InvalidRequest"))})
                self.assert_failed(run, state, "InvalidRequest")


class Failed(Paths):
    """Failures, which end the execution in their state for a redrive."""

    def test_failure_of_each_state_ends_the_execution_there_at_once(self) -> None:
        for state in TASKS:
            with self.subTest(state):
                failing = {state.lower(): fails(FunctionError("Internal", "a fault"))}
                run = self.interpreter.run(REQUEST, {**way_to(state), **failing})
                self.assert_failed(run, state, "Internal")
                self.assertIn("a fault", run.cause or "")
                self.assertEqual(run.waits, [])

    def test_job_that_fails_fails_its_clip(self) -> None:
        failed = fails(FunctionError("TranscodeFailed", "1404: the source cannot be decoded"))
        run = self.run_with(probe=answers(plan("transcode")), resume=failed)
        self.assert_failed(run, "Transcode", "TranscodeFailed")

    def test_delivery_mismatch_fails(self) -> None:
        run = self.run_with(verify=fails(FunctionError("DeliveryMismatch")))
        self.assert_failed(run, "Verify", "DeliveryMismatch")


class Retried(Paths):
    """Transient errors."""

    def test_each_passing_error_is_retried_in_each_state(self) -> None:
        for state, error in itertools.product(TASKS, [*PASSING, THROTTLED, KILLED]):
            with self.subTest(f"{error} in {state}"):
                name = state.lower()
                once = {name: fails(error, 1, way_to(state)[name]({}))}
                run = self.interpreter.run(REQUEST, {**way_to(state), **once})
                self.assertEqual((run.status, len(run.waits)), ("SUCCEEDED", 1))
                self.assertEqual(len(run.payloads[name]), 2)

    def test_errors_that_pass_are_retried_six_times_for_two_minutes_at_most(self) -> None:
        for error in PASSING:
            with self.subTest(str(error)):
                run = self.run_with(store=fails(error))
                self.assertEqual((run.status, run.states[-1], len(run.waits)), ("FAILED", "Store", 6))
                for wait, longest in zip(run.waits, [2, 4, 8, 16, 32, 60]):
                    self.assertLessEqual(wait, longest)

    def test_errors_of_lambda_and_of_dependencies_share_their_retries(self) -> None:
        errors = itertools.cycle(PASSING)

        def failing(_: Json) -> Json:
            raise next(errors)

        self.assertEqual(len(self.run_with(verify=failing).waits), 6)

    def test_refused_invocation_is_retried_sixty_times_ever_less_often(self) -> None:
        run = self.run_with(validate=fails(THROTTLED, 60, CANONICAL))
        self.assertEqual((run.status, len(run.waits)), ("SUCCEEDED", 60))
        self.assertLessEqual(run.waits[0], 20)
        self.assertLessEqual(max(run.waits), 7200)
        self.assertGreater(max(run.waits), 3600)
        run = self.run_with(validate=fails(THROTTLED))
        self.assert_failed(run, "Validate", "Lambda.TooManyRequestsException")
        self.assertEqual(len(run.waits), 60)

    def test_killed_function_is_retried_once(self) -> None:
        for state in set(TASKS) - {"Trim"}:
            with self.subTest(state):
                run = self.interpreter.run(REQUEST, {**way_to(state), state.lower(): fails(KILLED)})
                self.assert_failed(run, state, "Runtime.ExitError")
                self.assertEqual(len(run.waits), 1)


class Switched(Paths):
    """Clips that are too much for `Trim`."""

    def test_transcode_makes_what_trim_gives_up(self) -> None:
        for name in ["TrimBudgetExceeded", "Sandbox.Timedout", "Runtime.ExitError", "Lambda.Unknown"]:
            with self.subTest(name):
                run = self.run_with(trim=fails(FunctionError(name)))
                self.assertEqual((run.status, run.states), ("SUCCEEDED", HANDED_OVER))
                result = run.payloads["store"][0]["result"]
                why = f"trim gave up ({name}): trim suits it"
                self.assertEqual(result["engine"], {"name": "transcode", "why": why, "estimateUsd": 0.01})
                self.assertEqual(result["clip"], CLIP)

    def test_killed_trim_is_tried_again_before_the_switch(self) -> None:
        run = self.run_with(trim=fails(KILLED))
        self.assertEqual((len(run.payloads["trim"]), len(run.waits)), (2, 1))
        run = self.run_with(trim=fails(KILLED, 1, TRIMMED))
        self.assertEqual(run.states, BY_TRIM)


class WaitForRecordings(Paths):
    """Windows whose end is not recorded yet."""

    def test_recording_that_comes_is_waited_for_at_intervals_that_widen(self) -> None:
        run = self.run_with(probe=fails(FunctionError("SourceNotReady"), 2, plan()))
        self.assertEqual((run.status, run.states, run.waits), ("SUCCEEDED", BY_TRIM, [30, 33]))
        self.assertEqual([payload["waited"] for payload in run.payloads["probe"]], [False] * 3)

    def test_last_attempt_makes_do_with_what_is_there(self) -> None:
        run = self.run_with(probe=fails(FunctionError("SourceNotReady"), 4, plan()))
        self.assertEqual((run.status, len(run.waits)), ("SUCCEEDED", 3))
        self.assertAlmostEqual(run.waits[-1], 36.3)
        self.assertEqual(run.states, ["Validate", "Probe", "Probe, caught", "ChooseEngine", "Trim", *FINISHED])
        self.assertEqual([payload["waited"] for payload in run.payloads["probe"]], [False] * 4 + [True])

    def test_last_attempt_rejects_what_is_not_there(self) -> None:
        def never_there(payload: Json) -> Json:
            raise FunctionError("SourceNotFound" if payload["waited"] else "SourceNotReady")

        run = self.run_with(probe=never_there)
        self.assertEqual(run.states, ["Validate", "Probe", "Probe, caught", "Store", "Notify"])
        self.assertEqual(run.payloads["store"][0]["result"]["reason"], "SourceNotFound")


class TimedOut(unittest.TestCase):
    """Steps that do not end, with timeouts of one second."""

    @staticmethod
    def run_with(state: str, code: Mapping[str, Function], **numbers: int) -> Run:
        """Runs the request with other numbers in a state."""
        asl = definition()
        asl["States"][state].update(numbers)
        return Interpreter(asl).run(REQUEST, code)

    def test_state_whose_function_hangs_fails(self) -> None:
        for state in set(TASKS) - {"Trim", "Transcode"}:
            with self.subTest(state):
                run = self.run_with(state, functions(**{state.lower(): hangs}), TimeoutSeconds=1)
                self.assertEqual((run.status, run.states[-1], run.error), ("FAILED", state, "States.Timeout"))

    def test_transcode_makes_what_hangs_in_trim(self) -> None:
        run = self.run_with("Trim", functions(trim=hangs), TimeoutSeconds=1)
        self.assertEqual((run.status, run.states), ("SUCCEEDED", HANDED_OVER))
        why = run.payloads["store"][0]["result"]["engine"]["why"]
        self.assertTrue(why.startswith("trim gave up (States.Timeout): "), why)

    def test_job_without_a_sign_of_life_fails(self) -> None:
        silent = {name: function for name, function in way_to("Transcode").items() if name != "resume"}
        run = self.run_with("Transcode", silent, HeartbeatSeconds=1)
        self.assertEqual((run.status, run.states[-1], run.error), ("FAILED", "Transcode", "States.Timeout"))

    def test_job_that_takes_too_long_fails(self) -> None:
        asl = definition()
        del asl["States"]["Transcode"]["HeartbeatSeconds"]
        asl["States"]["Transcode"]["TimeoutSeconds"] = 1
        silent = {name: function for name, function in way_to("Transcode").items() if name != "resume"}
        run = Interpreter(asl).run(REQUEST, silent)
        self.assertEqual((run.status, run.states[-1], run.error), ("FAILED", "Transcode", "States.Timeout"))

    def test_execution_that_takes_too_long_times_out(self) -> None:
        asl = definition()
        asl["TimeoutSeconds"] = 1
        run = Interpreter(asl).run(REQUEST, functions(verify=hangs))
        self.assertEqual((run.status, run.states[-1]), ("TIMED_OUT", "Verify"))


if __name__ == "__main__":
    unittest.main()
