"""Which executions can be redriven, in AWS's words."""

import datetime
import unittest
from typing import Any
from unittest import mock

from ministack.services import stepfunctions as sfn

from local.ministack_ext import redrives

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:clips"


def execution(**facts: Any) -> dict[str, Any]:
    stopped = {
        "status": "FAILED",
        "startDate": ago(hours=2),
        "stopDate": ago(hours=1),
        "events": [],
    }
    return {"stateMachineArn": MACHINE, **stopped, **facts}


def ago(**time: float) -> str:
    return (NOW - datetime.timedelta(**time)).isoformat()


class StatusTest(unittest.TestCase):
    def setUp(self) -> None:
        self.enterContext(mock.patch.object(sfn, "_state_machines", {MACHINE: {}}))

    def holds(self, reason: str | None, **facts: Any) -> None:
        expected = ("NOT_REDRIVABLE", reason) if reason else ("REDRIVABLE", None)
        self.assertEqual(redrives.status(execution(**facts), NOW), expected, facts)

    def test_an_execution_that_failed_timed_out_or_was_aborted_is_redrivable(self) -> None:
        for status in ("FAILED", "TIMED_OUT", "ABORTED"):
            self.holds(None, status=status)

    def test_one_that_runs_or_has_succeeded_is_not(self) -> None:
        self.holds("Execution is RUNNING and cannot be redriven", status="RUNNING", stopDate=None)
        self.holds("Execution is SUCCEEDED and cannot be redriven", status="SUCCEEDED")

    def test_the_period_is_fourteen_days_from_the_end(self) -> None:
        self.holds(None, startDate=ago(days=20), stopDate=ago(days=13.99))
        self.holds(
            "Execution redrivable period exceeded", startDate=ago(days=20), stopDate=ago(days=14.01)
        )

    def test_an_execution_lasts_for_a_year_at_most(self) -> None:
        self.holds(None, startDate=ago(days=364.9))
        self.holds("Execution has exceeded the max execution time", startDate=ago(days=365.1))

    def test_a_full_history_has_no_room_for_a_redrive(self) -> None:
        self.holds(None, events=[{}] * 24_998)
        self.holds("Execution history event limit exceeded", events=[{}] * 24_999)

    def test_an_execution_goes_with_its_state_machine(self) -> None:
        sfn._state_machines.clear()
        self.holds("State machine is in DELETING status")

    def test_a_child_of_a_map_run_is_redriven_by_that(self) -> None:
        self.assertEqual(
            redrives.status(execution(mapRunArn="arn"), NOW), ("REDRIVABLE_BY_MAP_RUN", None)
        )


class TokenTest(unittest.TestCase):
    def test_the_last_ten_tokens_are_known(self) -> None:
        redriven = execution()
        date = datetime.datetime.now(datetime.UTC).isoformat()
        for number in range(11):
            redrives.remember(redriven, str(number), date)
        self.assertIsNone(redrives.answered(redriven, "0"))
        self.assertEqual(redrives.answered(redriven, "1"), date)

    def test_a_token_is_valid_for_a_quarter_of_an_hour(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        redriven = execution()
        for minutes in (14, 16):
            redrives.remember(
                redriven, str(minutes), (now - datetime.timedelta(minutes=minutes)).isoformat()
            )
        self.assertIsNotNone(redrives.answered(redriven, "14"))
        self.assertIsNone(redrives.answered(redriven, "16"))
