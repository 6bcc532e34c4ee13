"""Fuzzes the code that reads untrusted files and requests, with cargo-fuzz: `crates/*/fuzz/`."""

import re
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

from . import packages, paths, prerequisites, processes, stack
from .console import Progress, Step

_VERSION = "0.13.1"
_INSTALLED = paths.STATE / f"cargo-fuzz-{_VERSION}"
_CRATES = {
    "mp4": "mp4-cut",
    "h264": "mp4-cut",
    "hevc": "mp4-cut",
    "edits": "mp4-cut",
    "fragments": "mp4-cut",
    "ts": "mp4-cut",
    "requests": "model",
}
"""The crate of each target."""
TARGETS = tuple(_CRATES)
_WORK = paths.TARGET / "fuzz"
_CORPUS = _WORK / "corpus"
"""The inputs that reached new code in each target, kept from run to run."""
_SEEDS = _WORK / "seeds"
_ARTIFACTS = _WORK / "artifacts"

# libFuzzer's limits apply if a target's own bounds fail.
_LIMITS = ["-max_len=16384", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]

_PICTURES = "-f lavfi -i testsrc2=size=32x18:rate=25:duration=0.6"
# On pictures as small as the others, x265 crashes now and then.
_LARGER_PICTURES = "-f lavfi -i testsrc2=size=64x64:rate=25:duration=0.6"
_SOUND = "-f lavfi -i anoisesrc=r=8000:d=0.6:a=0.01"
_H264 = "-c:v libx264 -preset ultrafast -crf 51 -pix_fmt yuv420p -g 5 -bf 2"
_AAC = "-c:a aac -b:a 8k"
_SEED_FILES = {
    "b-frames.mp4": f"{_PICTURES} {_SOUND} {_H264} {_AAC} -movflags +faststart",
    "intra.mp4": f"{_PICTURES} {_H264} -g 1",
    "one-group.mp4": f"{_PICTURES} {_H264} -g 99 -b_strategy 0 -bf 3 -color_primaries bt709"
    " -aspect 4:3",
    "open-groups.mov": f"{_PICTURES} {_H264} -x264-params open-gop=1 -output_ts_offset 1",
    "pcm.mov": f"{_PICTURES} {_SOUND} {_H264} -c:a pcm_u8 -ar 8000 -t 0.3",
    "adpcm.mov": f"{_PICTURES} {_SOUND} -c:v mjpeg -q:v 31 -c:a adpcm_ima_qt -t 0.2",
    "hevc.mp4": f"{_LARGER_PICTURES} {_SOUND} -c:v libx265 -preset ultrafast -crf 51"
    " -x265-params log-level=error:info=0 -c:a libopus -b:a 6k -timecode 01:00:00:00",
    "signed.mp4": f"{_PICTURES} {_H264} -movflags +negative_cts_offsets",
    "tracks.mp4": f"{_SOUND} {_PICTURES} -itsoffset 0.2 {_SOUND} -map 0 -map 1 -map 2 {_H264}"
    f" {_AAC} -metadata:s:a:0 language=deu",
    "fragments.mp4": f"{_PICTURES} {_H264} -movflags +frag_keyframe+empty_moov+global_sidx",
    "dash.mp4": f"{_PICTURES} {_SOUND} {_H264} {_AAC} -movflags +dash+delay_moov+skip_trailer",
    "random-access.mp4": f"{_PICTURES} {_SOUND} {_H264} {_AAC} -movflags +frag_keyframe+delay_moov",
    "stream.ts": f"{_PICTURES} {_H264} -frames:v 2",
    "stream.mkv": f"{_PICTURES} {_H264} -frames:v 2",
}
"""The options for each seed."""


def prepare(progress: Progress, targets: Sequence[str], seconds: int) -> list[list[str]]:
    """Prepares everything, and returns the commands that fuzz each target for `seconds`.

    # Errors
    Failure if something is missing, does not compile or cannot be installed."""
    prerequisites.check_for_fuzzing()
    packages.install(progress)
    _install(progress)
    for target in targets:
        with progress.step(f"compile the fuzz target {target}") as step:

            def on_line(line: str, step: Step = step) -> None:
                if line.lstrip().startswith("Compiling "):
                    step.say(line.split()[1])

            processes.run(
                [*_cargo_fuzz(), "build", *_build(target)],
                log=paths.LOGS / "fuzz-build.log",
                environment=processes.environment(),
                on_line=on_line,
            )
            step.say("")
    with progress.step("make files to begin with"):
        _make_seeds()
    return [_command(target, seconds) for target in targets]


def _build(target: str) -> list[str]:
    """The options that build a target. No sanitizer: none of the fuzzed code is unsafe, so any
    toolchain will do."""
    crate = paths.ROOT / "crates" / _CRATES[target] / "fuzz"
    work = _WORK / _CRATES[target]
    return ["--fuzz-dir", str(crate), "--sanitizer", "none", "--target-dir", str(work), target]


def _command(target: str, seconds: int) -> list[str]:
    corpus, artifacts = _CORPUS / target, _ARTIFACTS / target
    for folder in (corpus, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    options = [f"-artifact_prefix={artifacts}/", f"-max_total_time={seconds}"]
    words = paths.ROOT / "crates" / _CRATES[target] / "fuzz" / f"{target}.dict"
    if words.exists():
        options.append(f"-dict={words}")
    folders = [str(corpus), str(_SEEDS / target)]
    return [*_cargo_fuzz(), "run", *_build(target), *folders, "--", *_LIMITS, *options]


def _cargo_fuzz() -> list[str]:
    return [str(_INSTALLED / "bin" / "cargo-fuzz"), "fuzz"]


def _install(progress: Progress) -> None:
    if (_INSTALLED / "bin" / "cargo-fuzz").exists():
        return
    with progress.step("install cargo-fuzz"):
        processes.run(
            [
                "cargo",
                "install",
                "cargo-fuzz",
                "--version",
                _VERSION,
                "--locked",
                "--root",
                str(_INSTALLED),
            ],
            log=paths.LOGS / "cargo-fuzz.log",
            environment=processes.environment(),
        )


def _make_seeds() -> None:
    shutil.rmtree(_SEEDS, ignore_errors=True)
    for target in TARGETS:
        (_SEEDS / target).mkdir(parents=True)
    files = _SEEDS / "mp4"
    for name, arguments in _SEED_FILES.items():
        processes.run(
            [
                "ffmpeg",
                "-nostdin",
                "-v",
                "error",
                *arguments.split(),
                "-bitexact",
                str(files / name),
            ],
            log=paths.LOGS / "seeds.log",
            environment=stack.environment(),
        )
    (files / "compressed.mov").write_bytes(_with_compressed_index(files / "pcm.mov"))
    _make_parts(files)
    for example in sorted((paths.ROOT / "examples").glob("*.json")):
        shutil.copy(example, _SEEDS / "requests")


def _make_parts(files: Path) -> None:
    """The parts of good files that the targets replace with fuzzer input."""
    for file in sorted(files.iterdir()):
        data = file.read_bytes()
        samples = data[data.find(b"mdat") + 4 :][:2000]
        for target, kind in (("h264", b"avcC"), ("hevc", b"hvcC")):
            for sets in _bodies(data, kind)[-1:]:
                part = len(sets).to_bytes(2, "big") + sets + samples
                (_SEEDS / target / file.name).write_bytes(part)
        for edits in _bodies(data, b"elst")[:1]:
            (_SEEDS / "edits" / file.name).write_bytes(edits)
        if b"moof" in data:
            (_SEEDS / "fragments" / file.name).write_bytes(data[data.index(b"moof") - 4 :])
        if file.suffix in (".ts", ".mkv"):
            # The video stream's number comes first.
            (_SEEDS / "ts" / file.name).write_bytes(b"\x01\x00" + data)


def _bodies(data: bytes, kind: bytes) -> list[bytes]:
    """The bodies of the boxes of a kind."""
    names = [found.start() for found in re.finditer(re.escape(kind), data)]
    ends = [name - 4 + int.from_bytes(data[name - 4 : name], "big") for name in names]
    return [data[name + 4 : end] for name, end in zip(names, ends, strict=True) if end > name]


def _with_compressed_index(file: Path) -> bytes:
    """A QuickTime file with a compressed index, which FFmpeg cannot write; it follows the media."""
    data = file.read_bytes()
    start = data.rindex(b"moov") - 4
    moov = data[start:]
    compressed = _box(b"dcom", b"zlib") + _box(
        b"cmvd", len(moov).to_bytes(4, "big") + zlib.compress(moov)
    )
    return data[:start] + _box(b"moov", _box(b"cmov", compressed))


def _box(kind: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + kind + body
