"""A stand-in for AWS Elemental MediaConvert: its REST API for jobs, which run with FFmpeg.

    python -m local.mediaconvert PORT AWS_ENDPOINT

CreateJob refuses what the service refuses: settings that its model does not have, values out of
range, wrong time codes, a role or queue that is not there. It also refuses settings that clips do
not use (job_settings.py), so that a job that passes here uses only settings whose effect is known.
A job reads its inputs from S3, cuts and joins their clippings frame by frame, writes the output to
S3 and sends the service's events to EventBridge. Their source is `local.mediaconvert`, because only
AWS may send events from `aws.*`.

Jobs can be made to misbehave: `PUT /_behaviour` with a JSON object, for jobs whose destination
contains `destination`:

    {"destination": "clips/a/", "fail": {"code": 1040, "message": "…"}}   end in ERROR
    {"destination": "clips/a/", "stall": true}     never end, unless cancelled
    {"destination": "clips/a/", "wait": true}      stay in the queue until they behave otherwise
    {"destination": "clips/a/", "events": "lost"}  send no events; also "duplicated", "reordered"
    {"destination": "clips/a/"}                    behave again
"""

import base64
import dataclasses
import http.server
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from fractions import Fraction
from pathlib import Path
from typing import Any

from . import job_settings, services
from .job_settings import ACCOUNT, TIMECODE, Refusal, bad

_API = "/2017-08-29/"
_SOURCE = "local.mediaconvert"
_JOBS_AT_ONCE = 2
_PAGE = 20
_CONSTANT_RATES = (1, 5, 10, 15, 24, 30, 50, 60)
_TOKEN_SECONDS = 60


# Running a job.


class JobError(Exception):
    """Ends a job in ERROR."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass
class _Source:
    """An input for FFmpeg: its frames are numbered at `rate`, after a conversion to it if the rate
    varies. It is rotated by the `turn` filters, or else by its metadata. Its colours are set by the
    `tagged` filters, or else by its metadata."""

    path: Path
    rate: Fraction
    converted: bool
    frames: int
    start: float
    width: int
    height: int
    has_sound: bool
    turn: str | None = None
    tagged: str = ""


_TURNS = {
    "DEGREE_0": "null",
    "DEGREES_90": "transpose=clock",
    "DEGREES_180": "hflip,vflip",
    "DEGREES_270": "transpose=cclock",
}


def frame_number(timecode: str, rate: Fraction) -> int:
    """The number of the frame that a time code names, if the first one is 00:00:00:00.

    With a semicolon, two numbers are skipped every minute except every tenth (four at 59.94).

    # Errors
    JobError if there is no such frame at that rate."""
    found = TIMECODE.match(timecode)
    assert found
    hours, minutes, seconds, frame = (int(found[group]) for group in (1, 2, 3, 5))
    nominal = round(rate)
    if frame >= max(nominal, 1):
        raise JobError(
            1010,
            f"time code {timecode} has a frame number of {frame} at {nominal} frames per second",
        )
    number = ((hours * 60 + minutes) * 60 + seconds) * nominal + frame
    if found[4] == ":":
        return number
    if rate not in (Fraction(30000, 1001), Fraction(60000, 1001)):
        raise JobError(
            1010, f"time code {timecode} drops frames, which {rate} frames per second do not"
        )
    skipped, whole = nominal // 15, hours * 60 + minutes
    if minutes % 10 and seconds == 0 and frame < skipped:
        raise JobError(1010, f"time code {timecode} is one of those that are dropped")
    return number - skipped * (whole - whole // 10)


def _probe(path: Path, selector: dict[str, str]) -> _Source:
    options = ["-v", "error", "-of", "json", "-show_streams", "-show_format", "-count_packets"]
    answer = subprocess.run(
        ["ffprobe", *options, str(path)], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        said = answer.stderr.strip()[:200]
        raise JobError(1010, f"Unable to open input file: [Failed probe/open: [{said}]]")
    found = json.loads(answer.stdout)
    video = next((each for each in found["streams"] if each["codec_type"] == "video"), None)
    if not video:
        raise JobError(1020, "the input has no video")
    average, nominal = Fraction(video["avg_frame_rate"]), Fraction(video["r_frame_rate"])
    varies = abs(average - nominal) > nominal / 1000
    rate = _next_constant(average) if varies else nominal
    turn = _TURNS.get(selector.get("rotate", "DEGREE_0"))
    sideways = any(
        abs(each.get("rotation", 0)) % 180 == 90 for each in video.get("side_data_list", [])
    )
    sideways = "transpose" in turn if turn else sideways
    size = (video["width"], video["height"])
    return _Source(
        path=path,
        rate=rate,
        converted=varies,
        frames=int(video["nb_read_packets"]),
        start=max(
            0.0, float(video.get("start_time", 0)) - float(found["format"].get("start_time", 0))
        ),
        width=size[1] if sideways else size[0],
        height=size[0] if sideways else size[1],
        has_sound=any(each["codec_type"] == "audio" for each in found["streams"]),
        turn=turn,
        tagged=_COLOURS.get(selector.get("colorSpace", ""), ""),
    )


def _tagged(primaries: str, transfer: str, matrix: str) -> str:
    return f"setparams=color_primaries={primaries}:color_trc={transfer}:colorspace={matrix},"


_COLOURS = {
    "REC_601": _tagged("smpte170m", "smpte170m", "smpte170m"),
    "REC_709": _tagged("bt709", "bt709", "bt709"),
    "HDR10": _tagged("bt2020", "smpte2084", "bt2020nc"),
    "HLG_2020": _tagged("bt2020", "arib-std-b67", "bt2020nc"),
    "P3D65_HDR": _tagged("smpte432", "smpte2084", "bt709"),
    "P3D65_SDR": _tagged("smpte432", "iec61966-2-1", "bt709"),
}
"""How the service interprets input in a colour space (API reference, `ColorSpace`)."""


def _next_constant(average: Fraction) -> Fraction:
    return Fraction(
        next((rate for rate in _CONSTANT_RATES if rate >= average), _CONSTANT_RATES[-1])
    )


def arguments(
    settings: dict[str, Any], files: list[Path], image: Path | None, output: Path
) -> list[str]:
    """The command line that makes a job's output from the files of its inputs and of its image."""
    wanted = settings["outputGroups"][0]["outputs"][0]
    pictures = wanted["videoDescription"]
    codec = pictures["codecSettings"]
    encoder = codec.get("h264Settings") or codec["h265Settings"]
    specified = None
    if encoder.get("framerateControl") == "SPECIFIED":
        specified = Fraction(encoder["framerateNumerator"], encoder["framerateDenominator"])
    sound = next(
        (each["codecSettings"]["aacSettings"] for each in wanted.get("audioDescriptions", [])), None
    )
    selectors = [each.get("videoSelector", {}) for each in settings["inputs"]]
    sources = [_probe(file, each) for file, each in zip(files, selectors, strict=True)]
    rate = specified or sources[0].rate
    size = (pictures.get("width", sources[0].width), pictures.get("height", sources[0].height))
    pixels = "yuv420p10le" if encoder.get("codecProfile") == "MAIN10_MAIN" else "yuv420p"
    placed = _placed(pictures, *size, pixels)
    graph, parts = [], []
    for index, (source, each) in enumerate(zip(sources, settings["inputs"], strict=True)):
        clippings = each.get("inputClippings") or [{}]
        for clip, clipping in enumerate(clippings):
            start = (
                frame_number(clipping["startTimecode"], source.rate)
                if "startTimecode" in clipping
                else 0
            )
            # The end is inclusive.
            end = (
                frame_number(clipping["endTimecode"], source.rate) + 1
                if "endTimecode" in clipping
                else None
            )
            if start >= source.frames and not source.converted:
                raise JobError(
                    1404, f"the clip starts at frame {start}, and the input has {source.frames}"
                )
            parts.append((index, clip))
            graph.append(_part_pictures(index, clip, source, start, end, rate, placed))
            if sound:
                graph.append(
                    _part_sound(
                        index, clip, source, start, end, bool(each.get("audioSelectors")), sound
                    )
                )
    labels = "".join(f"[v{i}_{c}]" + (f"[a{i}_{c}]" if sound else "") for i, c in parts)
    graph.append(
        f"{labels}concat=n={len(parts)}:v=1:a={1 if sound else 0}[joined]"
        + ("[a]" if sound else "")
    )
    line: list[str] = ["ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y", "-threads", "2"]
    for source in sources:
        line += (["-noautorotate"] if source.turn else []) + ["-i", str(source.path)]
    over = "null"
    if image:
        line += ["-f", "png_pipe", "-i", str(image)]
        graph.append(
            _overlay(
                pictures["videoPreprocessors"]["imageInserter"]["insertableImages"][0], len(sources)
            )
        )
        over = "[image]overlay={imageX}:{imageY}:format=auto,format={pixels}".format(
            pixels=pixels, **pictures["videoPreprocessors"]["imageInserter"]["insertableImages"][0]
        )
    graph.append(f"[joined]{over}[v]")
    line += ["-filter_complex", ";".join(graph), "-map", "[v]", "-fps_mode", "passthrough"]
    level = encoder.get("qvbrSettings", {}).get("qvbrQualityLevel", 7)
    if codec["codec"] == "H_264":
        line += ["-c:v", "libx264", "-preset", "veryfast", "-crf", str(44 - 3 * level)]
    else:
        tag = encoder.get("writeMp4PackagingType", "HEV1").lower()
        line += [
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "log-level=error",
            "-crf",
            str(49 - 3 * level),
            "-tag:v",
            tag,
        ]
    line += [
        "-maxrate",
        str(encoder["maxBitrate"]),
        "-bufsize",
        str(2 * encoder["maxBitrate"]),
        "-pix_fmt",
        pixels,
    ]
    if sound:
        line += ["-map", "[a]", "-c:a", "aac", "-b:a", str(sound["bitrate"])]
    container = ["-map_metadata", "-1", "-movie_timescale", "90000", "-movflags", "+faststart"]
    return [*line, *container, "-f", "mp4", str(output)]


_TO_BT709 = (
    "zscale=transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=709,tonemap=hable,"
    "zscale=transfer=709:matrix=709:range=limited,"
)
"""Converts HDR pictures to SDR."""


def _placed(pictures: dict[str, Any], width: int, height: int, pixels: str) -> str:
    """The filters that crop an input and convert it to the output's size and colours."""
    corrected = "colorCorrector" in pictures.get("videoPreprocessors", {})
    colours = f"{_TO_BT709 if corrected else ''}format={pixels}"
    return f"{_scaled(pictures, width, height)},{colours}"


def _scaled(pictures: dict[str, Any], width: int, height: int) -> str:
    crop = "crop={width}:{height}:{x}:{y},".format(**pictures["crop"]) if "crop" in pictures else ""
    behaviour = pictures.get("scalingBehavior", "DEFAULT")
    if behaviour == "STRETCH_TO_OUTPUT":
        return f"{crop}scale={width}:{height}"
    if behaviour == "FILL":
        filled = f"scale={width}:{height}:force_original_aspect_ratio=increase"
        return f"{crop}{filled},crop={width}:{height}"
    fitted = f"scale={width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2"
    return f"{crop}{fitted},pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"


def _overlay(image: dict[str, Any], index: int) -> str:
    size = (
        f"scale={image['width']}:{image['height']},"
        if "width" in image and "height" in image
        else ""
    )
    opacity = image.get("opacity", 50) / 100
    return f"[{index}:v:0]{size}format=rgba,colorchannelmixer=aa={opacity}[image]"


def _part_pictures(
    index: int, clip: int, source: _Source, start: int, end: int | None, rate: Fraction, placed: str
) -> str:
    """The filters that cut the pictures of one clipping: `v{index}_{clip}`."""
    turn = f"{source.turn}," if source.turn else ""
    convert = f"fps={source.rate}," if source.converted else ""
    begun = f"[{index}:v:0]{source.tagged}{turn}"
    last = f":end_frame={end}" if end else ""
    again = f",fps={rate}" if rate != source.rate else ""
    cut = f"{convert}trim=start_frame={start}{last},setpts=PTS-STARTPTS{again}"
    return f"{begun}{cut},{placed},setsar=1,settb=1/90000[v{index}_{clip}]"


def _part_sound(
    index: int,
    clip: int,
    source: _Source,
    start: int,
    end: int | None,
    selected: bool,
    sound: dict[str, Any],
) -> str:
    """The filters that cut the audio of one clipping: `a{index}_{clip}`."""
    layout = {"CODING_MODE_1_0": "mono", "CODING_MODE_2_0": "stereo", "CODING_MODE_5_1": "5.1"}[
        sound["codingMode"]
    ]
    shape = f"aresample={sound['sampleRate']},aformat=channel_layouts={layout}"
    begin = source.start + float(start / source.rate)
    finish = f":end={source.start + float(end / source.rate)}" if end else ""
    if selected and source.has_sound:
        cut = f"atrim=start={begin}{finish},asetpts=PTS-STARTPTS"
        return f"[{index}:a:0]{cut},{shape}[a{index}_{clip}]"
    seconds = float(((end or source.frames) - start) / source.rate)
    return f"anullsrc=r={sound['sampleRate']}:cl={layout},atrim=duration={seconds}[a{index}_{clip}]"


class Service:
    """The jobs and their execution."""

    def __init__(self, aws_endpoint: str):
        self._endpoint = aws_endpoint
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(_JOBS_AT_ONCE)
        self._jobs: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, tuple[float, str]] = {}
        self._cancelled: dict[str, threading.Event] = {}
        self._behaviours: dict[str, dict[str, Any]] = {}

    def client(self, name: str) -> Any:
        """A client of one of the stack's AWS APIs."""
        return services.client(name, self._endpoint)

    def behave(self, behaviour: dict[str, Any]) -> None:
        """Sets how jobs for a destination behave."""
        unknown = behaviour.keys() - {"destination", "fail", "stall", "wait", "events"}
        if "destination" not in behaviour or unknown:
            raise bad("/", "a behaviour is destination and fail, stall, wait or events")
        with self._lock:
            self._behaviours[behaviour["destination"]] = behaviour

    def create(self, request: Any) -> dict[str, Any]:
        """CreateJob."""
        job_settings.check(request)
        queue = self._queue(request.get("queue", "Default"))
        self._check_role(request["role"])
        token = request.get("clientRequestToken")
        with self._lock:
            made, job_id = self._tokens.get(token or "", (0.0, ""))
            if token and time.time() - made < _TOKEN_SECONDS:
                return self._jobs[job_id]
            job_id = f"{int(time.time() * 1000)}-{secrets.token_hex(3)}"
            job = {
                "arn": f"arn:aws:mediaconvert:{services.REGION}:{ACCOUNT}:jobs/{job_id}",
                "id": job_id,
                "createdAt": int(time.time()),
                "queue": queue,
                "status": "SUBMITTED",
                "timing": {"submitTime": int(time.time())},
                **{name: value for name, value in request.items() if name not in ("queue", "tags")},
            }
            job.setdefault("userMetadata", {})
            self._jobs[job_id] = job
            self._cancelled[job_id] = threading.Event()
            if token:
                self._tokens[token] = (time.time(), job_id)
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return job

    def get(self, job_id: str) -> dict[str, Any]:
        """GetJob."""
        with self._lock:
            if job_id not in self._jobs:
                raise Refusal(
                    404, "NotFoundException", f"The specified job {job_id} was not found."
                )
            return self._jobs[job_id]

    def cancel(self, job_id: str) -> None:
        """CancelJob."""
        job = self.get(job_id)
        if job["status"] not in ("SUBMITTED", "PROGRESSING"):
            raise Refusal(
                409, "ConflictException", f"Job {job_id} is {job['status']} and cannot be canceled."
            )
        self._cancelled[job_id].set()

    def list(self, query: dict[str, str]) -> dict[str, Any]:
        """ListJobs and SearchJobs."""
        most = int(query.get("maxResults", _PAGE))
        if not 1 <= most <= _PAGE:
            raise bad("/maxResults", f"{most} is not from 1 to {_PAGE}")
        if len(query.get("inputFile", "")) > 300:
            raise bad("/inputFile", "has more than 300 characters")
        queue = self._queue(query["queue"]) if "queue" in query else None
        with self._lock:
            jobs = list(self._jobs.values())
        if query.get("order", "DESCENDING") == "DESCENDING":
            jobs.reverse()
        jobs = [
            job
            for job in jobs
            if query.get("status") in (None, job["status"])
            and queue in (None, job["queue"])
            and any(
                query.get("inputFile", "") in each["fileInput"]
                for each in job["settings"]["inputs"]
            )
        ]
        start = int(base64.b64decode(query["nextToken"])) if query.get("nextToken") else 0
        page: dict[str, Any] = {"jobs": jobs[start : start + most]}
        if start + most < len(jobs):
            page["nextToken"] = base64.b64encode(str(start + most).encode()).decode()
        return page

    def _queue(self, name: str) -> str:
        arn = f"arn:aws:mediaconvert:{services.REGION}:{ACCOUNT}:queues/Default"
        if name not in ("Default", arn):
            raise Refusal(404, "NotFoundException", f"The specified queue {name} was not found.")
        return arn

    def _check_role(self, arn: str) -> None:
        iam = self.client("iam")
        try:
            role = iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]
        except iam.exceptions.NoSuchEntityException:
            raise bad("/role", f"the role {arn} does not exist") from None
        if "mediaconvert.amazonaws.com" not in json.dumps(role["AssumeRolePolicyDocument"]):
            raise bad("/role", f"MediaConvert may not assume {arn}")

    def _behaviour(self, job: dict[str, Any]) -> dict[str, Any]:
        destination = _destination(job)
        with self._lock:
            return next(
                (each for part, each in self._behaviours.items() if part in destination), {}
            )

    def _run(self, job: dict[str, Any]) -> None:
        behaviour = self._behaviour(job)
        events = _Events(self, job, behaviour.get("events"))
        cancelled = self._cancelled[job["id"]]
        try:
            while self._behaviour(job).get("wait") and not cancelled.wait(0.05):
                pass
            with self._slots:
                if cancelled.is_set():
                    raise InterruptedError
                job["status"] = "PROGRESSING"
                events.send("PROGRESSING")
                progress = {
                    "phaseProgress": {"PROBING": {"status": "COMPLETE", "percentComplete": 100}},
                    "jobPercentComplete": 50,
                    "currentPhase": "TRANSCODING",
                    "retryCount": 0,
                }
                events.send("STATUS_UPDATE", framesDecoded=1, jobProgress=progress)
                if behaviour.get("fail"):
                    raise JobError(behaviour["fail"]["code"], behaviour["fail"]["message"])
                if behaviour.get("stall"):
                    cancelled.wait()
                    raise InterruptedError
                details = self._transcode(job, cancelled)
            job.update(
                status="COMPLETE", jobPercentComplete=100, outputGroupDetails=[details["api"]]
            )
            events.send(
                "COMPLETE", outputGroupDetails=[details["event"]], warnings=[], paddingInserted=0
            )
        except InterruptedError:
            job["status"] = "CANCELED"
            events.send("CANCELED")
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, a job ends
            code = error.code if isinstance(error, JobError) else 1999
            job.update(status="ERROR", errorCode=code, errorMessage=str(error))
            events.send("ERROR", errorCode=code, errorMessage=str(error))
        events.flush()
        print(f"{job['id']} {job['status']} {job.get('errorMessage', '')}", flush=True)

    def _transcode(self, job: dict[str, Any], cancelled: threading.Event) -> dict[str, Any]:
        s3 = self.client("s3")
        with tempfile.TemporaryDirectory(prefix="mediaconvert-") as folder:
            files = []
            for index, each in enumerate(job["settings"]["inputs"]):
                bucket, _, key = each["fileInput"][5:].partition("/")
                files.append(Path(folder) / f"input-{index}")
                try:
                    body = s3.get_object(Bucket=bucket, Key=key)["Body"]
                except (s3.exceptions.NoSuchKey, s3.exceptions.NoSuchBucket):
                    raise JobError(
                        1404, f"Unable to open input file [{each['fileInput']}]: not found"
                    ) from None
                with open(files[-1], "wb") as file:
                    file.writelines(body.iter_chunks(1 << 20))
            image = None
            for each in _images(job):
                bucket, _, key = each["imageInserterInput"][5:].partition("/")
                image = Path(folder) / "image.png"
                image.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            output = Path(folder) / "output.mp4"
            _run_ffmpeg(arguments(job["settings"], files, image, output), cancelled)
            uri = f"{_destination(job)}.mp4"
            bucket, _, key = uri[5:].partition("/")
            with open(output, "rb") as file:
                s3.put_object(Bucket=bucket, Key=key, Body=file, ContentType="video/mp4")
            return _details(output, uri)


def _run_ffmpeg(line: list[str], cancelled: threading.Event) -> None:
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said
        ) as process:
            while process.poll() is None:
                if cancelled.wait(0.02):
                    process.kill()
        if cancelled.is_set():
            raise InterruptedError
        if process.returncode:
            said.seek(0)
            why = said.read()[-500:]
            if "Invalid data found when processing input" in why:
                raise JobError(1075, f"Demuxer: [{why}]")
            raise JobError(1999, f"the encoder failed: {why}")


def _images(job: dict[str, Any]) -> list[dict[str, Any]]:
    pictures = job["settings"]["outputGroups"][0]["outputs"][0]["videoDescription"]
    inserter = pictures.get("videoPreprocessors", {}).get("imageInserter", {})
    images: list[dict[str, Any]] = inserter.get("insertableImages", [])
    return images


def _destination(job: dict[str, Any]) -> str:
    group = job["settings"]["outputGroups"][0]["outputGroupSettings"]
    return str(group["fileGroupSettings"]["destination"])


def _details(output: Path, uri: str) -> dict[str, Any]:
    """What the API and the event say about an output."""
    source = _probe(output, {"rotate": "AUTO"})
    options = ["-v", "error", "-of", "csv=p=0", "-show_entries", "format=duration"]
    duration = subprocess.run(
        ["ffprobe", *options, str(output)], capture_output=True, text=True, check=True
    ).stdout
    facts = {
        "durationInMs": round(float(duration) * 1000),
        "videoDetails": {"widthInPx": source.width, "heightInPx": source.height},
    }
    return {
        "api": {"outputDetails": [facts]},
        "event": {"outputDetails": [{"outputFilePaths": [uri], **facts}], "type": "FILE_GROUP"},
    }


class _Events:
    """Sends a job's events, or handles them as its behaviour says."""

    def __init__(self, service: Service, job: dict[str, Any], way: str | None):
        self._service, self._job, self._way = service, job, way
        self._held: list[dict[str, Any]] = []

    def send(self, status: str, **detail: Any) -> None:
        """Sends an event with the facts common to all events of a job, and `detail`."""
        event = {
            "Source": _SOURCE,
            "DetailType": "MediaConvert Job State Change",
            "Resources": [self._job["arn"]],
            "Detail": json.dumps(
                {
                    "timestamp": int(time.time() * 1000),
                    "accountId": ACCOUNT,
                    "queue": self._job["queue"],
                    "jobId": self._job["id"],
                    "status": status,
                    "userMetadata": self._job["userMetadata"],
                    **detail,
                }
            ),
        }
        if self._way == "reordered":
            self._held.insert(0, event)
        elif self._way != "lost":
            self._put([event, event] if self._way == "duplicated" else [event])

    def flush(self) -> None:
        """Sends the events that were held back, last first."""
        for event in self._held:
            self._put([event])

    def _put(self, events: list[dict[str, Any]]) -> None:
        self._service.client("events").put_events(Entries=events)


# The API.


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"
    service: Service

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, format: str, *values: Any) -> None:  # noqa: A002 - its name in the base
        print(format % values, flush=True)

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, answer = self._route(urllib.parse.urlsplit(self.path), body)
            kind = None
        except Refusal as refusal:
            status, answer, kind = refusal.status, {"message": str(refusal)}, refusal.kind
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if kind:
            self.send_header("x-amzn-ErrorType", kind)
        self.end_headers()
        self.wfile.write(text)

    def _route(self, url: urllib.parse.SplitResult, body: bytes) -> tuple[int, Any]:
        query = dict(urllib.parse.parse_qsl(url.query))
        path = url.path.removeprefix(_API)
        job_id = urllib.parse.unquote(path.removeprefix("jobs/"))
        if (self.command, url.path) == ("PUT", "/_behaviour"):
            self.service.behave(_parse(body))
            return 200, {}
        if (self.command, path) == ("POST", "jobs"):
            return 201, {"job": self.service.create(_parse(body))}
        if self.command == "GET" and path in ("jobs", "search"):
            return 200, self.service.list(query)
        if self.command == "GET" and path.startswith("jobs/"):
            return 200, {"job": self.service.get(job_id)}
        if self.command == "DELETE" and path.startswith("jobs/"):
            self.service.cancel(job_id)
            return 202, {}
        raise Refusal(
            404,
            "NotFoundException",
            f"{self.command} {url.path} is not an operation that is supported.",
        )


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        raise bad("/", "the body is not JSON") from None


def main() -> None:
    """Serves until the process ends."""
    port, aws_endpoint = int(sys.argv[1]), sys.argv[2]
    Handler.service = Service(aws_endpoint)
    http.server.ThreadingHTTPServer((services.HOST, port), Handler).serve_forever()


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    main()
