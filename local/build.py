"""Builds the functions and packs them as Lambda wants them: `target/lambda/<name>.zip` and `ffmpeg-layer.zip`."""

import json
import os
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import Callable

from . import paths, processes
from .console import Failure, Progress

NEWEST_GLIBC = (2, 34)
"""The C library of Amazon Linux 2023, which `provided.al2023` runs on."""

_EPOCH = (1980, 1, 1, 0, 0, 0)


def build(progress: Progress) -> list[str]:
    """Compiles and packs what is out of date; returns the names of the functions.

    # Errors
    Failure when the build fails, or when a binary needs a newer C library than Lambda has.
    """
    names, folder = _functions()
    with progress.step("compile the functions and the command") as step:
        _compile(names, step.say)
        step.say("")
    with progress.step("package the functions"):
        for name in names:
            package(folder / name, paths.LAMBDA_PACKAGES / f"{name}.zip")
        for stale in set(paths.LAMBDA_PACKAGES.glob("*.zip")) - {_zip(name) for name in [*names, "ffmpeg-layer"]}:
            stale.unlink()
    return names


def command() -> Path:
    """The command `clipflow`."""
    return _functions()[1] / "clipflow"


def package(binary: Path, archive: Path) -> None:
    """Packs a function's binary as `bootstrap`, after checking that it runs on Lambda."""
    needed = max(glibc_versions(binary), default=(0,))
    if needed > NEWEST_GLIBC:
        raise Failure(
            f"{binary.name} needs glibc {'.'.join(map(str, needed))}, and Lambda has"
            f" {'.'.join(map(str, NEWEST_GLIBC))}. Build on a system with an older C library, or with `cargo lambda build` (see local/README.md)."
        )
    _pack({"bootstrap": binary}, archive)


def package_layer() -> None:
    """Packs FFmpeg as a layer; its `bin/` is on a function's PATH."""
    _pack({f"bin/{name}": paths.BIN / name for name in ("ffmpeg", "ffprobe")}, _zip("ffmpeg-layer"))


def glibc_versions(binary: Path) -> set[tuple[int, ...]]:
    """The versions of the C library whose symbols a 64-bit little-endian ELF file asks for, from `.gnu.version_r`."""
    data = binary.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise Failure(f"{binary} is no 64-bit little-endian ELF file")
    table, entry_size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + index * entry_size) for index in range(count)]
    versions = set()
    for _, kind, _, _, offset, _, link, libraries, _, _ in sections:
        if kind != 0x6FFFFFFE:
            continue
        strings = sections[link][4]
        for _ in range(libraries):
            _, symbols, _, first, next_library = struct.unpack_from("<HHIII", data, offset)
            at = offset + first
            for _ in range(symbols):
                name_offset, next_symbol = struct.unpack_from("<II", data, at + 8)
                name = data[strings + name_offset : data.index(b"\0", strings + name_offset)].decode()
                if name.startswith("GLIBC_") and name[6:].replace(".", "").isdigit():
                    versions.add(tuple(int(part) for part in name[6:].split(".")))
                at += next_symbol
            offset += next_library
    return versions


def _functions() -> tuple[list[str], Path]:
    """Names of the packages below functions/ that are programs, and the folder that cargo puts the programs in."""
    answer = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version=1", "--locked"],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise Failure(f"cargo cannot read the workspace:\n{answer.stderr}")
    metadata = json.loads(answer.stdout)
    names = [
        package["name"]
        for package in metadata["packages"]
        if Path(package["manifest_path"]).is_relative_to(paths.ROOT / "functions")
        and any("bin" in target["kind"] for target in package["targets"])
    ]
    return sorted(names), Path(metadata["target_directory"]) / "release"


def _compile(names: list[str], say: Callable[[str], None]) -> None:
    done = 0

    def on_line(line: str) -> None:
        nonlocal done
        if line.lstrip().startswith("Compiling "):
            done += 1
            say(f"{done} crates, {line.split()[1]}")

    # The command without its own defaults: they sign in to AWS, which nothing local needs, and take long to compile.
    arguments = ["cargo", "build", "--release", "--locked", "--bins", "--package", "cli", "--no-default-features"]
    for name in names:
        arguments += ["--package", name]
    processes.run(arguments, log=paths.LOGS / "build.log", environment=processes.environment(), on_line=on_line)


def _zip(name: str) -> Path:
    return paths.LAMBDA_PACKAGES / f"{name}.zip"


def _pack(members: dict[str, Path], archive: Path) -> None:
    """Writes an archive that depends on nothing but its members' contents, unless it is there already."""
    if _is_current(members, archive):
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_suffix(".new")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
        for name, file in sorted(members.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100755 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, file.read_bytes(), compresslevel=6)
    os.replace(unfinished, archive)


def _is_current(members: dict[str, Path], archive: Path) -> bool:
    try:
        with zipfile.ZipFile(archive) as packed:
            found = {entry.filename: (entry.file_size, entry.CRC) for entry in packed.infolist()}
    except (OSError, zipfile.BadZipFile):
        return False
    return found == {name: (file.stat().st_size, zlib.crc32(file.read_bytes())) for name, file in members.items()}
