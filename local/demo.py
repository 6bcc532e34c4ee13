"""The demonstration: requests on the queue become clips, documents and notifications.

Each scene is a function that makes one request or more, checks everything that came of it, and
leaves it in a folder of its own below `target/demo/`. A scene that finds something other than it
should fails the demonstration.
"""

import contextlib
import dataclasses
import datetime
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import build, logs, packages, paths, processes, services
from .console import Failure, Progress, coloured, seconds

WAIT_SECONDS = 120
"""How long anything may take before the demonstration gives up on it."""

_DEFAULT_VIDEO = ("bigbuckbunny.mp4", "1.2", "00:00:04.2")
_DEFAULT_SPAN = ("25%", "75%")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the person who runs the demonstration chose to cut; None where nothing was chosen."""

    video: Path | None
    start: str | None
    end: str | None

    def resolved(self) -> tuple[Path, str, str]:
        """The video, and the start and end as a request has them."""
        if self.video:
            if not self.video.is_file():
                raise Failure(f"there is no video {self.video}")
            return self.video, self.start or _DEFAULT_SPAN[0], self.end or _DEFAULT_SPAN[1]
        name, start, end = _DEFAULT_VIDEO
        return packages.footage(name), self.start or start, self.end or end


class Stage:
    """What every scene needs: the stack, and ways to ask for clips and to see what became of
    them."""

    def __init__(self, stack: dict[str, Any], progress: Progress):
        self.stack = stack
        self.progress = progress
        self._clients: dict[str, Any] = {}
        self._notifications: list[dict[str, Any]] = []
        self._run = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")

    def client(self, service: str) -> Any:
        """A client of one of the AWS APIs."""
        return self._clients.setdefault(service, services.client(service, self.stack["endpoint"]))

    def clip_id(self, scene: str) -> str:
        """A clip's name that no other run has."""
        return f"demo-{scene}-{self._run}"

    def upload(self, video: Path, key: str | None = None) -> str:
        """Uploads a video as a source, under its own name unless another is given, and returns its
        key."""
        key = key or f"demo/{self._run}/{video.name}"
        title = f"upload {video.name} ({video.stat().st_size / 1e6:.1f} MB)"
        with self.progress.step(title), open(video, "rb") as body:
            self.client("s3").put_object(Bucket=self.stack["source_bucket"], Key=key, Body=body)
        return key

    def enqueue(self, request: dict[str, Any]) -> None:
        """Puts a request on the queue and shows it."""
        body = json.dumps(request)
        self.client("sqs").send_message(QueueUrl=self.stack["queue_url"], MessageBody=body)
        self.progress.line(f"  → request on the queue: {body}")

    def executions(self, clip_id: str) -> list[dict[str, Any]]:
        """The executions of a clip. Their names are the clip's and part of the request's hash."""
        pages = self.client("stepfunctions").get_paginator("list_executions")
        found = pages.paginate(stateMachineArn=self.stack["state_machine_arn"]).search(
            "executions[]"
        )
        return [each for each in found if each["name"].startswith(f"{clip_id}-")]

    def follow(self, clip_id: str) -> list[dict[str, Any]]:
        """Shows the execution of a clip while it happens, and returns its events.

        # Errors
        Failure when there is none, or when it ends other than by succeeding.
        """
        execution = self.execution(clip_id)
        self.clipflow("show", execution["name"], "--watch", accept=(0, 4))
        events = self.history(execution["name"])
        if events[-1]["type"] != "ExecutionSucceeded":
            raise Failure(f"the execution of {clip_id} did not succeed")
        return events

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

    def clipflow(self, *arguments: str, accept: Sequence[int] = (0,)) -> str:
        """Runs the command `clipflow` on the stack, in view unless it prints JSON, and returns the
        JSON.

        # Errors
        Failure when it ends with another exit code than those accepted.
        """
        command = [str(build.command()), *arguments, "--local"]
        environment = processes.environment({"CLIPFLOW_STACK": str(paths.STACK)})
        if "--json" in arguments:
            log = paths.LOGS / "demo-clipflow.json"
            processes.run(command, log=log, environment=environment, accept=accept)
            return log.read_text(encoding="utf-8")
        self.progress.line(f"  $ {coloured(' '.join(['clipflow', *command[1:]]), 'bold')}")
        code = processes.run_in_view(command, environment)
        if code not in accept:
            raise Failure(f"clipflow ended with exit code {code}")
        return ""

    @contextlib.contextmanager
    def impatient(self) -> Iterator[None]:
        """Has every state retry once, after a second, for the time of the block."""
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
        Failure when there is none.
        """
        document = self.find(clip_id)
        if document is None:
            raise Failure(f"MongoDB has no document {clip_id}")
        return document

    def find(self, clip_id: str) -> dict[str, Any] | None:
        """A clip's document, as MongoDB has it."""
        import pymongo

        mongodb: pymongo.MongoClient[dict[str, Any]]
        mongodb = pymongo.MongoClient(self.stack["mongodb_uri"], serverSelectionTimeoutMS=10_000)
        with mongodb:
            return mongodb[self.stack["mongodb_database"]]["clips"].find_one({"_id": clip_id})

    def notification(self, clip_id: str, status: str) -> dict[str, Any]:
        """The notification that a clip has a status: the envelope that the subscriber got, with the
        message parsed."""

        def received() -> dict[str, Any] | None:
            self._receive()
            about = (
                each for each in self._notifications if each["Message"].get("clipId") == clip_id
            )
            return next((each for each in about if each["Message"].get("status") == status), None)

        return self.wait(received, f"a notification that {clip_id} is {status}")

    def wait(self, look: Callable[[], T | None], what: str) -> T:
        """Looks until there is something.

        # Errors
        Failure when there is nothing within WAIT_SECONDS.
        """
        limit = time.monotonic() + WAIT_SECONDS
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > limit:
                raise Failure(
                    f"waited {seconds(WAIT_SECONDS)} for {what}, in vain; `make logs` may tell why"
                )
            time.sleep(0.05)

    def messages(self, name: str) -> int:
        """How many messages a queue holds, waiting or being worked on."""
        attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client("sqs").get_queue_attributes(
            QueueUrl=self.stack[name], AttributeNames=attributes
        )
        return sum(int(answer["Attributes"][each]) for each in attributes)

    def folder(self, scene: str) -> Path:
        """The scene's folder, emptied."""
        folder = paths.DEMO / scene
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def download(self, key: str, folder: Path, size: int | None = None) -> Path:
        """Fetches a delivered object under its own name.

        # Errors
        Failure when it is not there, is empty, or is not of the size that was announced.
        """
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
    """Plays all scenes and says what they left; returns the exit code.

    # Errors
    Failure when anything is not as it should be.
    """
    video, start, end = choice.resolved()
    stage = Stage(stack, progress)
    try:
        key = stage.upload(video)
        request = clip_scene(stage, key, start, end)
        rejected_scene(stage, key)
        duplicate_scene(stage, request)
        long_scene(stage)
        camera_scenes(stage)
        rerun_scene(stage, key)
    finally:
        logs.collect(stack)
    progress.line(
        f"\n{coloured('The demonstration succeeded', 'green')}"
        f" after {seconds(progress.duration())}. It left:"
    )
    for file in sorted(file for file in paths.DEMO.glob("*/*") if file.is_file()):
        progress.line(f"  {paths.relative(file):44} {file.stat().st_size:>10,} bytes")
    return 0


def clip_scene(stage: Stage, key: str, start: str, end: str) -> dict[str, Any]:
    """A clip is cut, stored and announced. Returns the request."""
    _title(stage, "A request becomes a clip, a document and a notification")
    clip_id = stage.clip_id("clip")
    request = {
        "clipId": clip_id,
        "source": {"bucket": stage.stack["source_bucket"], "key": key},
        "start": _time(start),
        "end": _time(end),
    }
    stage.enqueue(request)
    events = stage.follow(clip_id)
    document, notification = _outcome(stage, clip_id, "available")
    folder = stage.folder("clip")
    _leave(folder, document, notification, events)
    stage.download(document["clip"]["key"], folder, document["clip"]["bytes"])
    if not document.get("thumbnails"):
        raise Failure("the document names no thumbnails")
    for thumbnail in document["thumbnails"]:
        stage.download(thumbnail["key"], folder)
    return request


def rejected_scene(stage: Stage, key: str) -> None:
    """A request that cannot be fulfilled is stored and announced as rejected, and its execution
    succeeds."""
    _title(stage, "A request that ends before it starts is rejected")
    clip_id = stage.clip_id("rejected")
    source = {"bucket": stage.stack["source_bucket"], "key": key}
    stage.enqueue({"clipId": clip_id, "source": source, "start": 4, "end": 2})
    events = stage.follow(clip_id)
    document, notification = _outcome(stage, clip_id, "rejected")
    _leave(stage.folder("rejected"), document, notification, events)
    _expect("the document's reason", document.get("reason"), "InvalidRequest")


def long_scene(stage: Stage) -> None:
    """A clip that is too long for a Lambda is made by MediaConvert."""
    _title(stage, "A long clip is made by MediaConvert")
    video = paths.TEMPORARY / "half-a-minute.mp4"
    with stage.progress.step("make half a minute of test pictures"):
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
    events = stage.follow(clip_id)
    document, notification = _outcome(stage, clip_id, "available")
    _expect("the engine", document["engine"]["name"], "transcode")
    folder = stage.folder("long")
    _leave(folder, document, notification, events)
    stage.download(document["clip"]["key"], folder, document["clip"]["bytes"])
    for thumbnail in document["thumbnails"]:
        stage.download(thumbnail["key"], folder)


def duplicate_scene(stage: Stage, request: dict[str, Any]) -> None:
    """The same request sent again is taken from the queue and starts nothing."""
    _title(stage, "The same request, sent again, starts nothing")
    before, dead = stage.executions(request["clipId"]), stage.messages("dead_letter_queue_url")
    stage.enqueue(request)
    with stage.progress.step("the message is taken from the queue"):
        stage.wait(lambda: not stage.messages("queue_url"), "an empty queue")
    after = stage.executions(request["clipId"])
    _expect(
        "the clip's executions", [each["name"] for each in after], [each["name"] for each in before]
    )
    _expect("the dead letters", stage.messages("dead_letter_queue_url"), dead)
    stage.progress.line(f"  = still one execution, {after[0]['name']}, and no dead letter")


def camera_scenes(stage: Stage) -> None:
    """Clips by wall clock out of a camera's recordings: across two of them, into a gap, and of what
    is yet to come."""
    camera = f"{stage.clip_id('camera')}/north.1"
    began = _now() - 60_000
    with stage.progress.step("make three recordings of 4 s, with a gap of 4 s before the third"):
        recordings = {
            first: _film(paths.TEMPORARY / f"camera-{first}.mp4", first, first + 4)
            for first in (0, 4, 12)
        }
    for first, video in recordings.items():
        stage.upload(video, _recording_key(camera, began + first * 1000))

    _title(stage, "A clip by the clock is joined out of two recordings")
    window = {
        "cameraId": camera,
        "startTimestampInMs": began + 2400,
        "endTimestampInMs": began + 5600,
    }
    _camera_scene(stage, "across", window, missing=[])

    _title(stage, "A clip into a gap is what is there, and says what is not")
    window = {
        "cameraId": camera,
        "startTimestampInMs": began + 6000,
        "endTimestampInMs": began + 14_000,
    }
    gap = {"startTimestampInMs": began + 8000, "endTimestampInMs": began + 12_000}
    _camera_scene(stage, "gap", {**window, "coverage": "partial"}, missing=[gap])

    _title(stage, "A clip of what is yet to come waits for its recording")
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
    """One clip out of a camera's recordings, of which so much is missing; or one that begins then,
    in milliseconds, is recorded and uploaded once it was looked for in vain."""
    clip_id = stage.clip_id(f"camera-{name}")
    stage.enqueue({"clipId": clip_id, **window})
    if arrives is not None:
        video = _film(paths.TEMPORARY / "camera-future.mp4", 0, 4)
        with stage.progress.step("the recording is looked for in vain, until it is recorded"):
            execution = stage.execution(clip_id)["name"]
            stage.wait(
                lambda: "SourceNotReady" in json.dumps(stage.history(execution)), "a first look"
            )
            ends = arrives + 4000
            stage.wait(lambda: _now() > ends, "the end of the recording")
        stage.upload(video, _recording_key(window["cameraId"], arrives))
    events = stage.follow(clip_id)
    document, notification = _outcome(stage, clip_id, "available")
    _expect("what is missing", document["delivered"]["coverage"]["missing"], missing)
    covered = window["endTimestampInMs"] - window["startTimestampInMs"]
    covered -= sum(each["endTimestampInMs"] - each["startTimestampInMs"] for each in missing)
    _expect(
        "the clip's frames",
        document["delivered"]["frames"],
        round(covered * _FRAMES_A_SECOND / 1000),
    )
    folder = stage.folder(f"camera-{name}")
    _leave(folder, document, notification, events)
    stage.download(document["clip"]["key"], folder, document["clip"]["bytes"])
    for thumbnail in document["thumbnails"]:
        stage.download(thumbnail["key"], folder)


_FRAMES_A_SECOND = 25


def _film(file: Path, start: float, end: float) -> Path:
    """Test pictures and a tone, from a second of their own clock up to another."""
    test = f"testsrc2=size=640x360:rate={_FRAMES_A_SECOND}:duration={end}"
    picture = f"{test},trim=start={start},setpts=PTS-STARTPTS"
    sound = f"sine=frequency=440:duration={end - start}:sample_rate=48000"
    options = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    processes.run(
        [
            str(paths.BIN / "ffmpeg"),
            "-nostdin",
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            picture,
            "-f",
            "lavfi",
            "-i",
            sound,
            *options,
            str(file),
        ],
        log=paths.LOGS / "demo-ffmpeg.log",
        environment=processes.environment(),
    )
    return file


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _recording_key(camera: str, start: int) -> str:
    """The key of a recording that began then, in milliseconds since 1970, as the deployment's
    template has it."""
    at = datetime.datetime.fromtimestamp(start // 1000, datetime.UTC)
    return f"recordings/{camera}/{at:%Y/%m/%d}/{camera}.{at:%Y%m%dT%H%M%S}{start % 1000:03}.mp4"


def rerun_scene(stage: Stage, key: str) -> None:
    """MongoDB goes down, an execution fails and is told of; MongoDB comes back, and a rerun makes
    the clip."""
    _title(stage, "MongoDB goes down: an execution fails, and a rerun makes its clip")
    clip_id = stage.clip_id("rerun")
    source = {"bucket": stage.stack["source_bucket"], "key": key}
    stage.progress.line(
        "  Store retries once here, so that nobody waits; in a deployment it does for two minutes."
    )
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
        failed = stage.execution(clip_id)["name"]
        stage.clipflow("show", failed, "--watch", accept=(4,))
    folder = stage.folder("rerun")
    # The document cannot say so while MongoDB is down; the event is delivered again until it does.
    with stage.progress.step("the document says that it failed"):
        stage.wait(lambda: stage.find(clip_id), f"a document {clip_id}")
    _leave(folder, *_outcome(stage, clip_id, "failed"), stage.history(failed), "failed-")
    stage.clipflow("rerun", clip_id, "--wait")
    document, notification = _outcome(stage, clip_id, "available")
    _leave(folder, document, notification, stage.history(stage.execution(clip_id)["name"]))
    stage.download(document["clip"]["key"], folder, document["clip"]["bytes"])


def _title(stage: Stage, title: str) -> None:
    stage.progress.line(f"\n{coloured(title, 'bold')}")


def _time(text: str) -> Any:
    """A time as a request has it: a number where it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def _outcome(stage: Stage, clip_id: str, status: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document and the notification about a clip, both checked and shown."""
    document = stage.document(clip_id)
    _show(stage, "the document in MongoDB", document)
    _expect("the document's status", document.get("status"), status)
    with stage.progress.step("the notification arrives at the subscriber"):
        notification = stage.notification(clip_id, status)
    _show(stage, "the notification", notification)
    _expect(
        "the attribute status",
        notification.get("MessageAttributes", {}).get("status", {}).get("Value"),
        status,
    )
    return document, notification


def _show(stage: Stage, title: str, value: dict[str, Any]) -> None:
    stage.progress.line(
        f"  {title}:\n" + "\n".join(f"    {line}" for line in _json(value).splitlines())
    )


def _expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Failure(f"{what} should be {expected!r} and is {found!r}")


def _leave(folder: Path, document: Any, notification: Any, events: Any, prefix: str = "") -> None:
    for name, value in (
        ("document", document),
        ("notification", notification),
        ("history", events),
    ):
        (folder / f"{prefix}{name}.json").write_text(_json(value) + "\n", encoding="utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)
