"""The demonstration: requests on the queue become clips, documents and notifications.

Each scene is a function that makes one or more requests, checks all results, and leaves them below
`target/demo/`: the page of its clip, and a folder with the JSON. A scene that finds anything wrong
fails the demonstration. It prints a few lines per scene; everything is in `target/demo/index.html`.
"""

import contextlib
import dataclasses
import datetime
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import build, demo_page, logs, packages, paths, processes, services
from .console import Failure, Progress, coloured, seconds

WAIT_SECONDS = 120
"""How long anything may take before the demonstration gives up."""

_DEFAULT_SPAN_OF_FOOTAGE = ("1.2", "00:00:04.2")
_DEFAULT_SPAN = ("25%", "75%")

T = TypeVar("T")

_STATE = re.compile(r"  ([✓✗!]) (\S+)\s+(.*)")
"""A line of `clipflow show --watch`: a state that ended, or an error in it."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the user chose to cut; None if nothing was chosen."""

    video: Path | None
    start: str | None
    end: str | None

    def resolved(self) -> tuple[Path, str, str]:
        """The video, and the start and end as in a request."""
        if self.video:
            if not self.video.is_file():
                raise Failure(f"there is no video {self.video}")
            return self.video, self.start or _DEFAULT_SPAN[0], self.end or _DEFAULT_SPAN[1]
        start, end = _DEFAULT_SPAN_OF_FOOTAGE
        return _footage_with_sound(), self.start or start, self.end or end


def _footage_with_sound() -> Path:
    """Footage with audio, and with a keyframe every second, as cameras write it."""
    file = paths.TEMPORARY / "bigbuckbunny.mp4"
    file.parent.mkdir(parents=True, exist_ok=True)
    source = str(packages.footage("bigbuckbunny.mp4"))
    _ffmpeg("-i", source, "-c:v", "libx264", "-g", "25", "-c:a", "copy", str(file))
    return file


class Stage:
    """What every scene needs: the stack, and ways to request clips and see their results."""

    def __init__(self, stack: dict[str, Any], progress: Progress):
        self.stack = stack
        self.progress = progress
        self._clients: dict[str, Any] = {}
        self._notifications: list[dict[str, Any]] = []
        self.scenes: list[demo_page.Scene] = []
        self._run = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")

    def client(self, service: str) -> Any:
        """A client of one of the AWS APIs."""
        return self._clients.setdefault(service, services.client(service, self.stack["endpoint"]))

    def clip_id(self, scene: str) -> str:
        """A clip name unique to this run."""
        return f"demo-{scene}-{self._run}"

    def upload(self, video: Path, key: str | None = None) -> str:
        """Uploads a video as a source, under its own name unless another is given, and returns its
        key."""
        key = key or f"demo/{self._run}/{video.name}"
        with open(video, "rb") as body:
            self.client("s3").put_object(Bucket=self.stack["source_bucket"], Key=key, Body=body)
        return key

    def enqueue(self, request: dict[str, Any]) -> None:
        """Puts a request on the queue."""
        body = json.dumps(request)
        self.client("sqs").send_message(QueueUrl=self.stack["queue_url"], MessageBody=body)

    def scene(self, name: str, title: str, text: str) -> None:
        """Begins a scene."""
        self.scenes.append(demo_page.Scene(name, title, text))
        self.progress.line(coloured(title, "bold"))

    def checked(self, *facts: str) -> None:
        """Prints what was found to be correct."""
        self.scenes[-1].checked += facts
        self.progress.line(f"  {coloured('✓', 'green')} {', '.join(facts)}")

    def page(self, execution: str, name: str, caption: str) -> None:
        """Stores the page of an execution, with its media next to it, for the end of the scene."""
        file = paths.DEMO / f"{name}.html"
        self.clipflow("show", execution, "--html", str(file))
        self.scenes[-1].pages.append((caption, file))

    def executions(self, clip_id: str) -> list[dict[str, Any]]:
        """The executions of a clip. Their names consist of the clip's name and part of the
        request's hash."""
        pages = self.client("stepfunctions").get_paginator("list_executions")
        found = pages.paginate(stateMachineArn=self.stack["state_machine_arn"]).search(
            "executions[]"
        )
        return [each for each in found if each["name"].startswith(f"{clip_id}-")]

    def follow(self, clip_id: str, accept: Sequence[int] = (0, 4)) -> list[dict[str, Any]]:
        """Shows the states of a clip's execution while they happen, and returns its events.

        # Errors
        Failure if there is none, or if it does not succeed."""
        execution = self.execution(clip_id)
        self.in_states("show", execution["name"], "--watch", accept=accept)
        events = self.history(execution["name"])
        if events[-1]["type"] != "ExecutionSucceeded" and accept != (4,):
            raise Failure(f"the execution of {clip_id} did not succeed")
        return events

    def in_states(self, *arguments: str, accept: Sequence[int] = (0,)) -> None:
        """Runs a command that says how states end, and shows them in one line."""

        def seen(line: str) -> None:
            found = _STATE.match(line)
            if found:
                mark, name, took = found.groups()
                text = f"{name} {took}" if mark == "✓" else f"{mark} {name}: {took.split(':')[0]}"
                self.progress.append(f"  {text}" if mark == "✓" else f"  {coloured(text, 'red')}")

        self.clipflow(*arguments, accept=accept, on_line=seen)
        self.progress.append("\n")

    def execution(self, clip_id: str) -> dict[str, Any]:
        """The newest execution of a clip, as soon as there is one."""
        return self.wait(
            lambda: next(iter(self.executions(clip_id)), None), f"an execution of {clip_id}"
        )

    def history(self, execution: str) -> list[dict[str, Any]]:
        """The events of an execution, in order."""
        events: list[dict[str, Any]] = json.loads(
            self.clipflow("show", execution, "--history", "--json")
        )
        return events

    def clipflow(
        self,
        *arguments: str,
        accept: Sequence[int] = (0,),
        on_line: Callable[[str], None] | None = None,
    ) -> str:
        """Runs the command `clipflow` on the stack, and returns what it prints.

        # Errors
        Failure if its exit code is not an accepted one."""
        command = [str(build.command()), *arguments, "--local"]
        environment = processes.environment({"CLIPFLOW_STACK": str(paths.STACK)})
        log = paths.LOGS / "demo-clipflow.log"
        processes.run(command, log=log, environment=environment, accept=accept, on_line=on_line)
        return log.read_text(encoding="utf-8")

    @contextlib.contextmanager
    def impatient(self) -> Iterator[None]:
        """Makes every state retry only once, after one second, within the block."""
        states, arn = self.client("stepfunctions"), self.stack["state_machine_arn"]
        definition = states.describe_state_machine(stateMachineArn=arn)["definition"]
        impatient = json.loads(definition)
        for state in impatient["States"].values():
            for retrier in state.get("Retry", []):
                retrier.update(MaxAttempts=1, IntervalSeconds=1)
        states.update_state_machine(stateMachineArn=arn, definition=json.dumps(impatient))
        try:
            yield
        finally:
            states.update_state_machine(stateMachineArn=arn, definition=definition)

    def document(self, clip_id: str) -> dict[str, Any]:
        """A clip's document.

        # Errors
        Failure if there is none."""
        document = self.find(clip_id)
        if document is None:
            raise Failure(f"MongoDB has no document {clip_id}")
        return document

    def find(self, clip_id: str) -> dict[str, Any] | None:
        """A clip's document, as stored in MongoDB."""
        import pymongo

        mongodb: pymongo.MongoClient[dict[str, Any]]
        mongodb = pymongo.MongoClient(self.stack["mongodb_uri"], serverSelectionTimeoutMS=10_000)
        with mongodb:
            return mongodb[self.stack["mongodb_database"]]["clips"].find_one({"_id": clip_id})

    def notification(self, clip_id: str, status: str) -> dict[str, Any]:
        """The notification that a clip has a status: the envelope that the subscriber received,
        with the message parsed."""

        def received() -> dict[str, Any] | None:
            self._receive()
            about = (
                each for each in self._notifications if each["Message"].get("clipId") == clip_id
            )
            return next((each for each in about if each["Message"].get("status") == status), None)

        return self.wait(received, f"a notification that {clip_id} is {status}")

    def wait(self, look: Callable[[], T | None], what: str) -> T:
        """Polls until there is something.

        # Errors
        Failure if there is nothing within WAIT_SECONDS."""
        limit = time.monotonic() + WAIT_SECONDS
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > limit:
                raise Failure(f"waited {seconds(WAIT_SECONDS)} for {what}; see `make logs`")
            time.sleep(0.05)

    def messages(self, name: str) -> int:
        """How many messages are in a queue, waiting or in flight."""
        attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client("sqs").get_queue_attributes(
            QueueUrl=self.stack[name], AttributeNames=attributes
        )
        return sum(int(answer["Attributes"][each]) for each in attributes)

    def folder(self, scene: str) -> Path:
        """A scene's folder for JSON, emptied."""
        folder = paths.DEMO / scene
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def download(self, key: str, folder: Path, size: int | None = None) -> Path:
        """Downloads a delivered object under its own name.

        # Errors
        Failure if it is missing, empty, or not of the announced size."""
        file = folder / key.rpartition("/")[2]
        try:
            body = self.client("s3").get_object(Bucket=self.stack["bucket"], Key=key)["Body"]
        except self.client("s3").exceptions.NoSuchKey:
            raise Failure(f"{key} was announced and is not in the bucket") from None
        with open(file, "wb") as output:
            shutil.copyfileobj(body, output)
        found = file.stat().st_size
        if found == 0 or size not in (None, found):
            raise Failure(f"{key} has {found} bytes, and {size} were announced")
        return file

    def _receive(self) -> None:
        queue = self.stack["subscriber_queue_url"]
        answer = self.client("sqs").receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1
        )
        for message in answer.get("Messages", []):
            envelope = json.loads(message["Body"])
            self._notifications.append({**envelope, "Message": json.loads(envelope["Message"])})
            self.client("sqs").delete_message(
                QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"]
            )


def run(stack: dict[str, Any], progress: Progress, choice: Choice) -> int:
    """Plays all scenes and prints what they left; returns the exit code.

    # Errors
    Failure if anything is wrong."""
    video, start, end = choice.resolved()
    stage = Stage(stack, progress)
    shutil.rmtree(paths.DEMO, ignore_errors=True)
    paths.DEMO.mkdir(parents=True)
    try:
        key = stage.upload(video)
        request = clip_scene(stage, key, start, end, is_ours=choice.video is None)
        rejected_scene(stage, key)
        duplicate_scene(stage, request)
        long_scene(stage)
        camera_scenes(stage)
        rerun_scene(stage, key)
    finally:
        logs.collect(stack)
    index = demo_page.write(stage.scenes)
    progress.line(
        f"{coloured('The demonstration succeeded', 'green')} after {seconds(progress.duration())}."
        f" Open {paths.relative(index)}, or run `make up` and `clipflow console --local`."
    )
    return 0


def clip_scene(stage: Stage, key: str, start: str, end: str, *, is_ours: bool) -> dict[str, Any]:
    """A clip is cut, stored and announced; from our own footage, most of it is copied. Returns the
    request."""
    stage.scene(
        "clip",
        "Footage with sound is cut: only what cannot be copied is encoded",
        "A request on the queue becomes a clip, a document in MongoDB and a notification on SNS.",
    )
    clip_id = stage.clip_id("clip")
    request = {
        "clipId": clip_id,
        "source": {"bucket": stage.stack["source_bucket"], "key": key},
        "start": _time(start),
        "end": _time(end),
    }
    stage.enqueue(request)
    document = _available(stage, "clip", clip_id, stage.follow(clip_id))
    if is_ours:
        _expect("how it was cut", document["engine"]["cutting"]["method"], "smartCut")
    for line in _cutting(document):
        stage.progress.line(f"  {line}")
    if not document.get("thumbnails"):
        raise Failure("the document names no thumbnails")
    stage.checked("document", "notification", _size(document), "thumbnails")
    return request


def _available(
    stage: Stage, name: str, clip_id: str, events: list[dict[str, Any]]
) -> dict[str, Any]:
    """The document of an available clip; all of its results are checked and stored."""
    document, notification = _outcome(stage, clip_id, "available")
    folder = stage.folder(name)
    _leave(folder, document, notification, events)
    stage.download(document["clip"]["key"], folder, document["clip"]["bytes"])
    for thumbnail in document.get("thumbnails", []):
        stage.download(thumbnail["key"], folder)
    stage.page(stage.execution(clip_id)["name"], name, "")
    return document


def _size(document: dict[str, Any]) -> str:
    delivered, size = document["delivered"], document["clip"]["bytes"]
    return f"a clip of {delivered['frames']} frames and {size:,} bytes"


def _cutting(document: dict[str, Any]) -> list[str]:
    """What was copied and what was encoded of a clip, one line each."""
    cutting, end = document["engine"]["cutting"], document["delivered"]["durationSeconds"]
    if cutting["method"] != "smartCut":
        return [f"0.000 s to {end:.3f} s  {cutting['method']}: {document['engine']['why']}"]
    lines, time_ = [], 0.0
    for part in [*cutting["encoded"], {"startSeconds": end, "endSeconds": end}]:
        parts = ((time_, part["startSeconds"], "copied"), (*part.values(), "encoded"))
        lines += [f"{a:.3f} s to {b:.3f} s  {how}" for a, b, how in parts if b - a > 1e-6]
        time_ = part["endSeconds"]
    return lines


def rejected_scene(stage: Stage, key: str) -> None:
    """A request that cannot be fulfilled is stored and announced as rejected, and its execution
    succeeds."""
    stage.scene(
        "rejected",
        "A request that ends before it starts is rejected",
        "The request is at fault, so its execution succeeds, and the outcome says what is wrong.",
    )
    clip_id = stage.clip_id("rejected")
    source = {"bucket": stage.stack["source_bucket"], "key": key}
    stage.enqueue({"clipId": clip_id, "source": source, "start": 4, "end": 2})
    events = stage.follow(clip_id)
    document, notification = _outcome(stage, clip_id, "rejected")
    _leave(stage.folder("rejected"), document, notification, events)
    _expect("the document's reason", document.get("reason"), "InvalidRequest")
    stage.page(stage.execution(clip_id)["name"], "rejected", "")
    stage.checked("document", "notification", f"reason {document['reason']}")


def long_scene(stage: Stage) -> None:
    """A clip that is too long for a Lambda is made by MediaConvert."""
    stage.scene(
        "long",
        "A long clip is made by MediaConvert",
        "What takes too long in a Lambda goes to MediaConvert. The execution waits for its job.",
    )
    video = paths.TEMPORARY / "half-a-minute.mp4"
    _film(video, 0, 30)
    clip_id = stage.clip_id("long")
    source = {"bucket": stage.stack["source_bucket"], "key": stage.upload(video)}
    # Resized, so that all of it is encoded.
    stage.enqueue(
        {
            "clipId": clip_id,
            "source": source,
            "start": 2,
            "end": 27,
            "edits": {"resize": {"height": 180}},
        }
    )
    document = _available(stage, "long", clip_id, stage.follow(clip_id))
    _expect("the engine", document["engine"]["name"], "transcode")
    stage.checked("document", "notification", _size(document), "engine transcode")


def duplicate_scene(stage: Stage, request: dict[str, Any]) -> None:
    """The same request sent again is taken from the queue and starts nothing."""
    stage.scene(
        "duplicate",
        "The same request, sent again, starts nothing",
        "An execution is named after its request, so a message that comes again does nothing.",
    )
    before, dead = stage.executions(request["clipId"]), stage.messages("dead_letter_queue_url")
    stage.enqueue(request)
    stage.wait(lambda: not stage.messages("queue_url"), "an empty queue")
    after = stage.executions(request["clipId"])
    _expect(
        "the clip's executions", [each["name"] for each in after], [each["name"] for each in before]
    )
    _expect("the dead letters", stage.messages("dead_letter_queue_url"), dead)
    stage.checked("still one execution", "no dead letter")


def camera_scenes(stage: Stage) -> None:
    """Clips by wall-clock time from a camera's recordings: across two of them, into a gap, and of a
    recording that has not arrived yet."""
    camera = f"{stage.clip_id('camera')}/north.1"
    began = _now() - 60_000
    # With a gap of 4 s before the third.
    recordings = {
        first: _film(paths.TEMPORARY / f"camera-{first}.mp4", first, first + 4)
        for first in (0, 4, 12)
    }
    for first, video in recordings.items():
        stage.upload(video, _recording_key(camera, began + first * 1000))

    stage.scene(
        "camera-across",
        "A clip by the clock is joined out of two recordings",
        "The request names a camera and two moments. The clip is cut out of two files and joined.",
    )
    window = {
        "cameraId": camera,
        "startTimestampInMs": began + 2400,
        "endTimestampInMs": began + 5600,
    }
    _camera_scene(stage, "across", window, missing=[])

    stage.scene(
        "camera-gap",
        "A clip into a gap is what is there, and says what is not",
        "Four seconds of the window were not recorded. The document says which.",
    )
    window = {
        "cameraId": camera,
        "startTimestampInMs": began + 6000,
        "endTimestampInMs": began + 14_000,
    }
    gap = {"startTimestampInMs": began + 8000, "endTimestampInMs": began + 12_000}
    _camera_scene(stage, "gap", {**window, "coverage": "partial"}, missing=[gap])

    stage.scene(
        "camera-future",
        "A clip of what is yet to come waits for its recording",
        "The first look finds nothing. The recording arrives, and the next look finds it.",
    )
    began = _now() + 1000
    window = {
        "cameraId": camera,
        "startTimestampInMs": began + 1000,
        "endTimestampInMs": began + 3000,
    }
    _camera_scene(stage, "future", window, missing=[], arrives=began)


def _camera_scene(
    stage: Stage,
    name: str,
    window: dict[str, Any],
    missing: list[dict[str, int]],
    arrives: int | None = None,
) -> None:
    """One clip from a camera's recordings, with this much missing. If a start, in milliseconds, is
    given, the recording that begins then is made, and uploaded after the first attempt has not
    found it."""
    clip_id = stage.clip_id(f"camera-{name}")
    stage.enqueue({"clipId": clip_id, **window})
    if arrives is not None:
        video = _film(paths.TEMPORARY / "camera-future.mp4", 0, 4)
        execution = stage.execution(clip_id)["name"]
        stage.wait(lambda: "SourceNotReady" in json.dumps(stage.history(execution)), "a first look")
        ends = arrives + 4000
        stage.wait(lambda: _now() > ends, "the end of the recording")
        stage.upload(video, _recording_key(window["cameraId"], arrives))
    document = _available(stage, f"camera-{name}", clip_id, stage.follow(clip_id))
    _expect("what is missing", document["delivered"]["coverage"]["missing"], missing)
    covered = window["endTimestampInMs"] - window["startTimestampInMs"]
    covered -= sum(each["endTimestampInMs"] - each["startTimestampInMs"] for each in missing)
    _expect(
        "the clip's frames",
        document["delivered"]["frames"],
        round(covered * _FRAMES_A_SECOND / 1000),
    )
    gaps = f"{len(missing)} gap" if missing else "no gap"
    stage.checked("document", "notification", _size(document), gaps)


_FRAMES_A_SECOND = 25


def _film(file: Path, start: float, end: float) -> Path:
    """Test pictures and a tone, between two seconds of their own clock."""
    test = f"testsrc2=size=640x360:rate={_FRAMES_A_SECOND}:duration={end}"
    picture = f"{test},trim=start={start},setpts=PTS-STARTPTS"
    sound = f"sine=frequency=440:duration={end - start}:sample_rate=48000"
    options = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    _ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *options, str(file))
    return file


def _ffmpeg(*arguments: str) -> None:
    processes.run(
        [str(paths.BIN / "ffmpeg"), "-nostdin", "-v", "error", "-y", *arguments],
        log=paths.LOGS / "demo-ffmpeg.log",
        environment=processes.environment(),
    )


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _recording_key(camera: str, start: int) -> str:
    """The key of a recording that began at a time, in milliseconds since 1970, in the deployment's
    template."""
    at = datetime.datetime.fromtimestamp(start // 1000, datetime.UTC)
    return f"recordings/{camera}/{at:%Y/%m/%d}/{camera}.{at:%Y%m%dT%H%M%S}{start % 1000:03}.mp4"


def rerun_scene(stage: Stage, key: str) -> None:
    """MongoDB goes down, an execution fails and is reported; MongoDB comes back, and a rerun makes
    the clip."""
    stage.scene(
        "rerun",
        "MongoDB goes down: an execution fails, and a rerun makes its clip",
        "Store retries once here, so that nobody waits; in a deployment it does for two minutes."
        " The rerun goes on where the execution failed.",
    )
    clip_id = stage.clip_id("rerun")
    source = {"bucket": stage.stack["source_bucket"], "key": key}
    with services.without_mongod(), stage.impatient():
        stage.enqueue(
            {
                "clipId": clip_id,
                "source": source,
                "start": "25%",
                "end": "75%",
                "output": {"thumbnails": [300]},
            }
        )
        failed = stage.follow(clip_id, accept=(4,))
    # The document cannot say so while MongoDB is down; the event is delivered again until it does.
    stage.wait(lambda: stage.find(clip_id), f"a document {clip_id}")
    _leave(stage.folder("rerun-failed"), *_outcome(stage, clip_id, "failed"), failed)
    name = stage.execution(clip_id)["name"]
    stage.page(name, "rerun-failed", "Before the rerun")
    stage.checked("document", "notification", "both say that it failed, and how to rerun it")
    stage.in_states("rerun", clip_id, "--wait")
    document = _available(stage, "rerun", clip_id, stage.history(name))
    stage.scenes[-1].pages[-1] = ("After the rerun", stage.scenes[-1].pages[-1][1])
    stage.checked("document", "notification", _size(document))


def _time(text: str) -> Any:
    """A time as in a request: a number if it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def _outcome(stage: Stage, clip_id: str, status: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document and the notification about a clip, both checked."""
    document = stage.document(clip_id)
    _expect("the document's status", document.get("status"), status)
    notification = stage.notification(clip_id, status)
    stage.scenes[-1].notifications.append(notification)
    _expect(
        "the attribute status",
        notification.get("MessageAttributes", {}).get("status", {}).get("Value"),
        status,
    )
    return document, notification


def _expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Failure(f"{what} should be {expected!r} and is {found!r}")


def _leave(folder: Path, document: Any, notification: Any, events: Any) -> None:
    for name, value in (
        ("document", document),
        ("notification", notification),
        ("history", events),
    ):
        (folder / f"{name}.json").write_text(demo_page.as_json(value) + "\n", encoding="utf-8")
