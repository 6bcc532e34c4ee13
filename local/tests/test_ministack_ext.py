"""The behaviour of MiniStack with the extension, from its clients' view."""

import json
import threading
import time
from typing import Any

from . import ministack
from .ministack import CONCURRENCY, MiniStackTest, eventually


def setUpModule() -> None:
    ministack.start()


# Fails until a file exists.
_UNTIL_MENDED = """
import os
def handler(event, context):
    if not os.path.exists(event["mended"]):
        raise ValueError("broken")
    return {"number": event["number"] + 1}
"""
_BROKEN = "Runtime.HandlerError"
"""MiniStack's error name for an exception in a Python function."""
_SLOW = """
import time
def handler(event, context):
    open(event["began"], "w").close()
    while not __import__("os").path.exists(event["end"]):
        time.sleep(0.01)
    return "done"
"""


def invoke(function: str, payload: Any, **more: Any) -> dict[str, Any]:
    """A state that invokes a function."""
    arguments = {"FunctionName": function, "Payload": payload}
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Arguments": arguments,
        **more,
    }


def wait_for_token(queue: str, **more: Any) -> dict[str, Any]:
    """A state that waits for its token, which it sends to a queue."""
    message = {"token": "{% $states.context.Task.Token %}"}
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {"QueueUrl": queue, "MessageBody": message},
        "End": True,
        **more,
    }


class RedriveTest(MiniStackTest):
    def test_an_execution_goes_on_with_the_state_that_failed(self) -> None:
        mended = self.folder / "mended"
        function = self.function(_UNTIL_MENDED)
        payload = {"mended": str(mended), "number": "{% $number %}"}
        states = {
            "Count": {
                "Type": "Pass",
                "Assign": {"number": 41},
                "Output": {"kept": True},
                "Next": "Work",
            },
            "Work": invoke(
                function,
                payload,
                Next="Tell",
                Assign={"number": "{% $states.result.Payload.number %}"},
            ),
            "Tell": {
                "Type": "Pass",
                "Output": {"number": "{% $number %}", "kept": "{% $states.input.StatusCode %}"},
                "End": True,
            },
        }
        arn = self.start(states)
        failed = self.ended(arn)
        self.assertEqual((failed["status"], failed["error"]), ("FAILED", _BROKEN))
        self.assertEqual((failed["redriveCount"], failed["redriveStatus"]), (0, "REDRIVABLE"))
        self.assertNotIn("redriveDate", failed)
        before = self.kinds(arn)

        mended.touch()
        sfn = self.client("stepfunctions")
        date = sfn.redrive_execution(executionArn=arn)["redriveDate"]
        done = self.ended(arn)
        self.assertEqual(done["status"], "SUCCEEDED", done)
        self.assertEqual(json.loads(done["output"]), {"number": 42, "kept": 200})
        self.assertEqual((done["redriveCount"], done["redriveDate"]), (1, date))
        self.assertEqual(done["redriveStatus"], "NOT_REDRIVABLE")
        self.assertEqual(
            done["redriveStatusReason"], "Execution is SUCCEEDED and cannot be redriven"
        )
        self.assertNotIn("error", done)
        after = [
            "TaskScheduled",
            "TaskSucceeded",
            "TaskStateExited",
            "PassStateEntered",
            "PassStateExited",
        ]
        self.assertEqual(
            self.kinds(arn), [*before, "ExecutionRedriven", *after, "ExecutionSucceeded"]
        )
        events = self.events(arn)
        self.assertEqual([event["id"] for event in events], list(range(1, len(events) + 1)))
        redriven = events[len(before)]
        self.assertEqual(redriven["executionRedrivenEventDetails"], {"redriveCount": 1})
        listed = sfn.list_executions(stateMachineArn=done["stateMachineArn"])["executions"]
        self.assertEqual(
            [(each["redriveCount"], each["redriveDate"]) for each in listed], [(1, date)]
        )

    def test_retries_are_counted_anew_and_redrives_go_on(self) -> None:
        function = self.function(_UNTIL_MENDED)
        again = [{"ErrorEquals": [_BROKEN], "MaxAttempts": 1, "JitterStrategy": "FULL"}]
        arn = self.start({"Work": invoke(function, {"mended": "/nowhere"}, Retry=again, End=True)})
        for redrive in range(2):
            self.assertEqual(self.ended(arn)["status"], "FAILED")
            self.assertEqual(self.kinds(arn).count("TaskFailed"), 2 * (redrive + 1))
            self.client("stepfunctions").redrive_execution(executionArn=arn)
        self.assertEqual(self.ended(arn)["redriveCount"], 2)
        self.assertEqual(self.kinds(arn).count("TaskStateEntered"), 1)

    def test_a_redrive_keeps_the_definition_of_the_start(self) -> None:
        arn = self.start({"Stop": {"Type": "Fail", "Error": "Old"}})
        failed = self.ended(arn)
        sfn = self.client("stepfunctions")
        new = {"StartAt": "Go", "States": {"Go": {"Type": "Succeed"}}}
        sfn.update_state_machine(
            stateMachineArn=failed["stateMachineArn"], definition=json.dumps(new)
        )
        sfn.redrive_execution(executionArn=arn)
        again = self.ended(arn)
        self.assertEqual((again["error"], again["redriveCount"]), ("Old", 1))
        old = sfn.describe_state_machine_for_execution(executionArn=arn)["definition"]
        self.assertEqual(json.loads(old)["StartAt"], "Stop")
        self.assertEqual(self.kinds(arn).count("FailStateEntered"), 1)

    def test_an_aborted_execution_goes_on_with_a_new_token(self) -> None:
        queue = self.queue()
        wait = wait_for_token(queue)
        wait["Arguments"]["MessageBody"]["redrives"] = (
            "{% $states.context.Execution.RedriveCount %}"
        )
        arn = self.start({"Wait": wait})
        first = self.received(queue)
        sfn = self.client("stepfunctions")
        sfn.stop_execution(executionArn=arn, cause="wrong")
        self.assertEqual(self.describe(arn)["redriveStatus"], "REDRIVABLE")
        sfn.redrive_execution(executionArn=arn)
        second = self.received(queue)
        self.assertNotEqual(second["token"], first["token"])
        self.assertEqual((first["redrives"], second["redrives"]), (0, 1))
        eventually("the task to be submitted", lambda: self.kinds(arn)[-1] == "TaskSubmitted")
        self.refuses("TaskTimedOut", sfn.send_task_success, taskToken=first["token"], output="1")
        sfn.send_task_success(taskToken=second["token"], output="2")
        self.assertEqual(
            (self.ended(arn)["status"], self.describe(arn)["output"]), ("SUCCEEDED", "2")
        )

    def test_the_same_client_token_redrives_once(self) -> None:
        arn = self.start({"Stop": {"Type": "Fail"}})
        self.ended(arn)
        sfn = self.client("stepfunctions")
        first = sfn.redrive_execution(executionArn=arn, clientToken="one")["redriveDate"]
        self.ended(arn)
        self.assertEqual(
            sfn.redrive_execution(executionArn=arn, clientToken="one")["redriveDate"], first
        )
        self.assertEqual(self.ended(arn)["redriveCount"], 1)
        sfn.redrive_execution(executionArn=arn, clientToken="two")
        self.assertEqual(self.ended(arn)["redriveCount"], 2)

    def test_what_cannot_be_redriven_is_refused_by_name(self) -> None:
        sfn = self.client("stepfunctions")
        queue = self.queue()
        running = self.start({"Wait": wait_for_token(queue)})
        refused = self.refuses(
            "ExecutionNotRedrivable", sfn.redrive_execution, executionArn=running
        )
        self.assertEqual(refused, "Execution is RUNNING and cannot be redriven")
        self.assertEqual(self.describe(running)["redriveStatusReason"], refused)
        done = self.start({"Go": {"Type": "Succeed"}})
        self.ended(done)
        refused = self.refuses("ExecutionNotRedrivable", sfn.redrive_execution, executionArn=done)
        self.assertEqual(refused, "Execution is SUCCEEDED and cannot be redriven")
        self.refuses("ExecutionDoesNotExist", sfn.redrive_execution, executionArn=done + "-not")
        self.refuses(
            "InvalidArn", sfn.redrive_execution, executionArn=self.describe(done)["stateMachineArn"]
        )
        self.refuses(
            "ValidationException", sfn.redrive_execution, executionArn=done, clientToken="a b"
        )
        machine = self.describe(done)["stateMachineArn"]
        self.refuses(
            "ValidationException",
            sfn.list_executions,
            stateMachineArn=machine,
            redriveFilter="REDRIVEN",
        )

    def test_the_event_bus_is_told_of_redrives(self) -> None:
        queue = self.queue()
        events, sqs = self.client("events"), self.client("sqs")
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        pattern = {
            "source": ["aws.states"],
            "detail": {"status": ["FAILED", "RUNNING"], "redriveCount": [1]},
        }
        events.put_rule(Name=self._testMethodName, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=self._testMethodName, Targets=[{"Id": "queue", "Arn": arn}])
        execution = self.start({"Stop": {"Type": "Fail", "Error": "Old", "Cause": "why"}})
        self.ended(execution)
        self.client("stepfunctions").redrive_execution(executionArn=execution)
        told = [self.received(queue)["detail"] for _ in range(2)]
        told.sort(key=lambda detail: str(detail["status"]), reverse=True)
        self.assertEqual(
            [(each["status"], each["redriveStatus"]) for each in told],
            [("RUNNING", "NOT_REDRIVABLE"), ("FAILED", "REDRIVABLE")],
        )
        self.assertEqual(
            told[0]["redriveStatusReason"], "Execution is RUNNING and cannot be redriven"
        )
        self.assertEqual(
            [told[1][name] for name in ("executionArn", "error", "cause", "redriveStatusReason")],
            [execution, "Old", "why", None],
        )
        redriven = self.describe(execution)["redriveDate"].timestamp()
        self.assertEqual([each["redriveDate"] for each in told], [round(redriven * 1000)] * 2)


class TimeTest(MiniStackTest):
    def test_a_machine_that_takes_too_long_times_out(self) -> None:
        queue = self.queue()
        arn = self.start({"Wait": wait_for_token(queue)}, TimeoutSeconds=1)
        timed_out = self.ended(arn)
        self.assertEqual(
            (timed_out["status"], timed_out["redriveStatus"]), ("TIMED_OUT", "REDRIVABLE")
        )
        self.assertEqual(self.kinds(arn)[-1], "ExecutionTimedOut")

    def test_a_redrive_has_the_machines_time_anew(self) -> None:
        queue = self.queue()
        arn = self.start({"Wait": wait_for_token(queue)}, TimeoutSeconds=1)
        self.received(queue)
        self.assertEqual(self.ended(arn)["status"], "TIMED_OUT")
        sfn = self.client("stepfunctions")
        sfn.redrive_execution(executionArn=arn)
        sfn.send_task_success(taskToken=self.received(queue)["token"], output="{}")
        self.assertEqual(self.ended(arn)["status"], "SUCCEEDED")

    def test_a_branch_that_takes_too_long_times_out_its_machine(self) -> None:
        wait = {
            "StartAt": "Wait",
            "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}},
        }
        states = {"Both": {"Type": "Parallel", "Branches": [wait], "End": True}}
        self.assertEqual(self.ended(self.start(states, TimeoutSeconds=1))["status"], "TIMED_OUT")

    def test_a_silent_task_fails_and_can_be_caught(self) -> None:
        queue = self.queue()
        caught = [
            {
                "ErrorEquals": ["States.HeartbeatTimeout"],
                "Output": "{% $states.errorOutput %}",
                "Next": "Caught",
            }
        ]
        # An expression, as in a definition that Terraform fills in.
        waiting = wait_for_token(
            queue, HeartbeatSeconds="{% $number('1') %}", TimeoutSeconds=600, Catch=caught
        )
        arn = self.start({"Wait": waiting, "Caught": {"Type": "Succeed"}})
        done = self.ended(arn)
        self.assertEqual(done["status"], "SUCCEEDED", done)
        self.assertEqual(json.loads(done["output"]), {"Error": "States.Timeout", "Cause": ""})
        timed_out = next(event for event in self.events(arn) if event["type"] == "TaskTimedOut")
        self.assertEqual(timed_out["taskTimedOutEventDetails"]["error"], "States.Timeout")
        scheduled = self.events(arn)[2]["taskScheduledEventDetails"]
        self.assertEqual((scheduled["heartbeatInSeconds"], scheduled["timeoutInSeconds"]), (1, 600))

    def test_heartbeats_keep_a_task_alive(self) -> None:
        queue = self.queue()
        arn = self.start({"Wait": wait_for_token(queue, HeartbeatSeconds=1)})
        token = self.received(queue)["token"]
        sfn = self.client("stepfunctions")
        began = time.monotonic()
        while time.monotonic() - began < 1.6:
            sfn.send_task_heartbeat(taskToken=token)
            time.sleep(0.2)
        self.assertEqual(self.describe(arn)["status"], "RUNNING")
        failed = self.ended(arn)
        self.assertEqual((failed["status"], failed["error"]), ("FAILED", "States.Timeout"))
        self.assertGreater(time.monotonic() - began, 2)
        self.refuses("TaskTimedOut", sfn.send_task_heartbeat, taskToken=token)
        self.refuses("TaskDoesNotExist", sfn.send_task_heartbeat, taskToken="unknown")

    def test_heartbeats_do_not_prolong_a_time_out(self) -> None:
        queue = self.queue()
        arn = self.start({"Wait": wait_for_token(queue, HeartbeatSeconds=600, TimeoutSeconds=1)})
        self.client("stepfunctions").send_task_heartbeat(taskToken=self.received(queue)["token"])
        failed = self.ended(arn)
        self.assertEqual((failed["status"], failed["error"]), ("FAILED", "States.Timeout"))
        self.assertEqual(self.kinds(arn)[-2:], ["TaskTimedOut", "ExecutionFailed"])

    def test_the_time_of_a_task_may_be_an_expression(self) -> None:
        payload = {"began": str(self.folder / "began"), "end": str(self.folder / "end")}
        self.addCleanup((self.folder / "end").touch)
        slow = invoke(
            self.function(_SLOW, Timeout=60), payload, TimeoutSeconds="{% $number('1') %}", End=True
        )
        arn = self.start({"Work": slow})
        self.assertEqual(self.ended(arn)["error"], "States.Timeout")
        self.assertEqual(self.kinds(arn)[-2:], ["TaskTimedOut", "ExecutionFailed"])

    def test_a_retry_waits_no_longer_than_the_most_that_is_named(self) -> None:
        function = self.function(_UNTIL_MENDED)
        retrier = {
            "ErrorEquals": [_BROKEN],
            "IntervalSeconds": 1,
            "BackoffRate": 600,
            "MaxAttempts": 2,
        }
        retrier |= {"MaxDelaySeconds": 1}
        arn = self.start(
            {"Work": invoke(function, {"mended": "/nowhere"}, Retry=[retrier], End=True)}
        )
        self.assertEqual(self.ended(arn)["error"], _BROKEN)
        self.assertEqual(self.kinds(arn).count("TaskFailed"), 3)


class AbortTest(MiniStackTest):
    def test_nothing_happens_to_an_execution_after_its_end(self) -> None:
        began, end = self.folder / "began", self.folder / "end"
        payload = {"began": str(began), "end": str(end)}
        arn = self.start({"Work": invoke(self.function(_SLOW, Timeout=60), payload, End=True)})
        eventually("the function", began.exists)
        sfn = self.client("stepfunctions")
        stopped = sfn.stop_execution(executionArn=arn, error="Wave", cause="wrong")["stopDate"]
        end.touch()
        # The function's only environment is free again after it has answered.
        functions = self.client("lambda")
        functions.invoke(FunctionName=self._testMethodName, Payload=json.dumps(payload))
        self.assertEqual(self.kinds(arn)[-1], "ExecutionAborted")
        aborted = self.describe(arn)
        self.assertEqual(
            (aborted["status"], aborted["error"], aborted["stopDate"]), ("ABORTED", "Wave", stopped)
        )
        self.assertEqual(sfn.stop_execution(executionArn=arn)["stopDate"], stopped)

    def test_the_token_of_an_aborted_execution_is_used_up(self) -> None:
        queue = self.queue()
        arn = self.start({"Wait": wait_for_token(queue)})
        token = self.received(queue)["token"]
        sfn = self.client("stepfunctions")
        sfn.stop_execution(executionArn=arn)

        def is_used_up() -> bool:
            try:
                sfn.send_task_failure(taskToken=token, error="Late")
            except sfn.exceptions.TaskTimedOut:
                return True
            return False

        eventually("the end of the token", is_used_up)
        self.assertEqual(self.describe(arn)["status"], "ABORTED")
        self.assertEqual(self.kinds(arn)[-1], "ExecutionAborted")

    def test_an_execution_that_waits_is_aborted_at_once(self) -> None:
        arn = self.start({"Wait": {"Type": "Wait", "Seconds": 600, "Next": "Wait"}})
        eventually("the state", lambda: "WaitStateEntered" in self.kinds(arn))
        self.client("stepfunctions").stop_execution(executionArn=arn)
        self.client("stepfunctions").redrive_execution(executionArn=arn)
        self.client("stepfunctions").stop_execution(executionArn=arn)
        kinds = [
            "ExecutionStarted",
            "WaitStateEntered",
            "ExecutionAborted",
            "ExecutionRedriven",
            "ExecutionAborted",
        ]
        self.assertEqual(self.kinds(arn), kinds)


class FunctionTest(MiniStackTest):
    def test_a_throttled_function_fails_a_task_by_the_name_that_aws_gives_it(self) -> None:
        function = self.function("def handler(event, context): pass")
        self.client("lambda").put_function_concurrency(
            FunctionName=function, ReservedConcurrentExecutions=0
        )
        failed = self.ended(self.start({"Work": invoke(function, {}, End=True)}))
        self.assertEqual(failed["error"], "Lambda.TooManyRequestsException")
        self.assertIn("Rate Exceeded", failed["cause"])

    def test_a_program_that_does_not_start_is_an_exit_error(self) -> None:
        function = self.program("#!/bin/sh\necho no settings\nexit 7\n")
        failed = self.ended(self.start({"Work": invoke(function, {}, End=True)}))
        self.assertEqual(failed["error"], "Runtime.ExitError", failed)
        self.assertIn("no settings", failed["cause"])

    def test_a_function_that_fails_before_its_token_is_used_fails_the_task(self) -> None:
        function = self.function("def handler(event, context): raise KeyError('early')")
        waiting = invoke(function, {"token": "{% $states.context.Task.Token %}"}, End=True)
        waiting["Resource"] += ".waitForTaskToken"
        failed = self.ended(self.start({"Work": waiting}))
        self.assertEqual((failed["status"], failed["error"]), ("FAILED", _BROKEN))

    def test_reserved_concurrency_holds_for_an_alias(self) -> None:
        function = self.function("def handler(event, context): pass", Publish=True)
        functions = self.client("lambda")
        functions.create_alias(FunctionName=function, Name="live", FunctionVersion="1")
        functions.invoke(FunctionName=function, Qualifier="live")
        functions.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
        self.refuses(
            "TooManyRequestsException", functions.invoke, FunctionName=function, Qualifier="live"
        )

    def test_a_batch_of_messages_waits_for_a_throttled_function(self) -> None:
        began, end = self.folder / "began", self.folder / "end"
        function = self.function(_SLOW, Timeout=60)
        queue = self.queue()
        attributes = {"VisibilityTimeout": "600"}
        sqs, functions = self.client("sqs"), self.client("lambda")
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=attributes)
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        payload = json.dumps({"began": str(began), "end": str(end)})
        busy = [
            threading.Thread(
                target=functions.invoke, kwargs={"FunctionName": function, "Payload": payload}
            )
            for _ in range(CONCURRENCY)
        ]
        for each in busy:
            each.start()
        taken = self.folder / "taken"
        taker = functions.create_function(
            FunctionName="taker",
            Role="arn:aws:iam::000000000000:role/test",
            Runtime="python3.12",
            Handler="index.handler",
            Code={"ZipFile": self.package(f"def handler(*_): open({str(taken)!r}, 'w')")},
        )["FunctionArn"]
        eventually("the busy functions", began.exists)
        self.refuses("TooManyRequestsException", functions.invoke, FunctionName=taker)
        functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=taker)
        sqs.send_message(QueueUrl=queue, MessageBody="{}")
        hidden = "ApproximateNumberOfMessagesNotVisible"

        def is_taken() -> bool:
            answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[hidden])
            return bool(answer["Attributes"][hidden] == "1")

        eventually("the message to be received", is_taken)
        self.assertFalse(taken.exists())
        end.touch()
        eventually("the message to be worked on", taken.exists)
        for each in busy:
            each.join()


class ObjectTest(MiniStackTest):
    def test_the_checksum_of_an_upload_is_checked(self) -> None:
        s3 = self.client("s3")
        s3.create_bucket(Bucket="uploads")
        upload = {"Bucket": "uploads", "Key": "key", "Body": b"123456789"}
        # The check value of the algorithm, 0xe3069283.
        s3.put_object(**upload, ChecksumCRC32C="4waSgw==")
        self.refuses("BadDigest", s3.put_object, **upload, ChecksumCRC32C="4waSgg==")

    def test_a_range_of_a_version_is_that_part_of_it(self) -> None:
        s3 = self.client("s3")
        bucket = {"Bucket": "ranges"}
        s3.create_bucket(**bucket)
        s3.put_bucket_versioning(**bucket, VersioningConfiguration={"Status": "Enabled"})
        version = s3.put_object(**bucket, Key="key", Body=b"0123456789")["VersionId"]
        s3.put_object(**bucket, Key="key", Body=b"other")
        read = {**bucket, "Key": "key", "VersionId": version}
        for wanted, body, part in (
            ("bytes=2-4", b"234", "bytes 2-4/10"),
            ("bytes=7-", b"789", "bytes 7-9/10"),
            ("bytes=-2", b"89", "bytes 8-9/10"),
        ):
            answer = s3.get_object(**read, Range=wanted)
            self.assertEqual((answer["Body"].read(), answer["ContentRange"]), (body, part))
            self.assertEqual((answer["ContentLength"], answer["VersionId"]), (len(body), version))
            self.assertEqual(answer["ResponseMetadata"]["HTTPStatusCode"], 206)
        self.assertEqual(s3.get_object(**read)["Body"].read(), b"0123456789")
        self.refuses("InvalidRange", s3.get_object, **read, Range="bytes=10-")
