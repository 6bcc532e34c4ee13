"""Fuzzes the MP4 reader with cargo-fuzz: `crates/mp4-cut/fuzz/`."""

import shutil
import zlib
from pathlib import Path

from . import packages, paths, prerequisites, processes, stack
from .console import Progress

_VERSION = "0.13.1"
_INSTALLED = paths.STATE / f"cargo-fuzz-{_VERSION}"
_TARGET = "mp4"
_CRATE = paths.ROOT / "crates" / "mp4-cut" / "fuzz"
_WORK = paths.TARGET / "fuzz"
_CORPUS = _WORK / "corpus"
"""What has led further into the reader, kept from run to run."""
_SEEDS = _WORK / "seeds"
_ARTIFACTS = _WORK / "artifacts"

# No sanitizer: the reader has no unsafe code, so that any toolchain will do. The fuzz target bounds
# memory itself; what libFuzzer bounds is what is left if that should fail.
_BUILD = ["--fuzz-dir", str(_CRATE), "--sanitizer", "none", "--target-dir", str(_WORK), _TARGET]
_LIMITS = ["-max_len=16384", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]

_PICTURES = "-f lavfi -i testsrc2=size=32x18:rate=25:duration=0.6"
# On pictures as small as those above, x265 crashes now and then.
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
"""What each seed is made with."""


def prepare(progress: Progress, seconds: int) -> list[str]:
    """Makes everything ready, and returns the command that fuzzes for `seconds`.

    # Errors
    Failure when something is missing, does not compile or cannot be installed.
    """
    prerequisites.check_for_fuzzing()
    packages.install(progress)
    _install(progress)
    with progress.step("compile the fuzz target") as step:

        def on_line(line: str) -> None:
            if line.lstrip().startswith("Compiling "):
                step.say(line.split()[1])

        processes.run(
            [*_cargo_fuzz(), "build", *_BUILD],
            log=paths.LOGS / "fuzz-build.log",
            environment=processes.environment(),
            on_line=on_line,
        )
        step.say("")
    with progress.step("make files to begin with"):
        _make_seeds()
    for folder in (_CORPUS, _ARTIFACTS):
        folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-dict={_CRATE / 'mp4.dict'}",
        f"-artifact_prefix={_ARTIFACTS}/",
        f"-max_total_time={seconds}",
    ]
    return [*_cargo_fuzz(), "run", *_BUILD, str(_CORPUS), str(_SEEDS), "--", *_LIMITS, *options]


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
    _SEEDS.mkdir(parents=True)
    for name, arguments in _SEED_FILES.items():
        processes.run(
            [
                "ffmpeg",
                "-nostdin",
                "-v",
                "error",
                *arguments.split(),
                "-bitexact",
                str(_SEEDS / name),
            ],
            log=paths.LOGS / "seeds.log",
            environment=stack.environment(),
        )
    (_SEEDS / "compressed.mov").write_bytes(_with_compressed_index(_SEEDS / "pcm.mov"))


def _with_compressed_index(file: Path) -> bytes:
    """A QuickTime file with its index compressed, which FFmpeg cannot write; it lies behind the
    media."""
    data = file.read_bytes()
    start = data.rindex(b"moov") - 4
    moov = data[start:]
    compressed = _box(b"dcom", b"zlib") + _box(
        b"cmvd", len(moov).to_bytes(4, "big") + zlib.compress(moov)
    )
    return data[:start] + _box(b"moov", _box(b"cmov", compressed))


def _box(kind: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + kind + body
