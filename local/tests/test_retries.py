"""When a state is retried."""

import unittest
from typing import Any

from ministack.services import stepfunctions as sfn

from local.ministack_ext import retries


def error(name: str) -> Any:
    return sfn._ExecutionError(name, "")


class DelayTest(unittest.TestCase):
    def test_a_delay_grows_by_its_rate(self) -> None:
        retrier = {"IntervalSeconds": 2, "BackoffRate": 3}
        delays = [retries.delay_seconds(retrier, count) for count in range(4)]
        self.assertEqual(delays, [2, 6, 18, 54])

    def test_a_retrier_without_numbers_waits_for_one_second_and_then_twice_as_long_each_time(
        self,
    ) -> None:
        self.assertEqual([retries.delay_seconds({}, count) for count in range(3)], [1, 2, 4])

    def test_a_delay_is_bounded_by_nothing_but_the_most_that_is_named(self) -> None:
        self.assertEqual(retries.delay_seconds({"IntervalSeconds": 1000}, 0), 1000)
        retrier = {"IntervalSeconds": 2, "MaxDelaySeconds": 60}
        self.assertEqual(retries.delay_seconds(retrier, 4), 32)
        self.assertEqual(retries.delay_seconds(retrier, 5), 60)
        self.assertEqual(retries.delay_seconds(retrier, 100_000), 60)

    def test_full_jitter_draws_from_the_whole_delay(self) -> None:
        drawn = []

        def between(least: float, most: float) -> float:
            drawn.append((least, most))
            return 7

        retrier = {"IntervalSeconds": 40, "MaxDelaySeconds": 60, "JitterStrategy": "FULL"}
        self.assertEqual(retries.delay_seconds(retrier, 1, between), 7)
        self.assertEqual(drawn, [(0, 60)])
        self.assertEqual(
            retries.delay_seconds({**retrier, "JitterStrategy": "NONE"}, 1, between), 60
        )


class RetriesTest(unittest.TestCase):
    def test_each_retrier_counts_its_own_retries(self) -> None:
        first = {"ErrorEquals": ["A"], "MaxAttempts": 1, "IntervalSeconds": 5}
        rest = {"ErrorEquals": ["States.ALL"], "MaxAttempts": 2, "IntervalSeconds": 3}
        found = retries.Retries({"Retry": [first, rest]})
        delays = [found.next_delay(error(name)) for name in "ABBAB"]
        self.assertEqual(delays, [5, 3, 6, None, None])
        self.assertEqual(found.total(), 3)

    def test_a_retrier_without_a_number_retries_three_times(self) -> None:
        found = retries.Retries({"Retry": [{"ErrorEquals": ["A"]}]})
        self.assertEqual([found.next_delay(error("A")) for _ in range(4)], [1, 2, 4, None])

    def test_a_state_without_a_retrier_is_not_tried_again(self) -> None:
        self.assertIsNone(retries.Retries({}).next_delay(error("A")))


class MatchTest(unittest.TestCase):
    def test_a_silent_task_is_matched_by_the_names_of_both_time_outs(self) -> None:
        for names, matched in (
            (["States.Timeout"], True),
            (["States.HeartbeatTimeout"], True),
            (["States.ALL"], True),
            (["States.TaskFailed"], False),
        ):
            clause = {"ErrorEquals": names}
            self.assertEqual(
                retries.matches(clause, retries.TaskTimedOut(heartbeat=True)), matched, names
            )

    def test_a_slow_task_is_not_a_silent_one(self) -> None:
        clause = {"ErrorEquals": ["States.HeartbeatTimeout"]}
        self.assertFalse(retries.matches(clause, retries.TaskTimedOut(heartbeat=False)))
