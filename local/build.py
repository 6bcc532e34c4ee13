"""Builds the functions and packs them for Lambda as `<name>.zip` and `ffmpeg-layer.zip`: for AWS,
and for the local stack."""

import concurrent.futures
import dataclasses
import json
import os
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from . import paths, prerequisites, processes
from .console import Failure, Progress

NEWEST_GLIBC = (2, 34)
"""The C library of Amazon Linux 2023, which `provided.al2023` runs on."""

LARGEST_UNPACKED = 262_144_000
"""The maximum total size of a function and its layers, in bytes (Lambda developer guide, "Lambda
quotas")."""

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class Build:
    """How to compile and pack."""

    profile: str
    """The folder below cargo's target folder."""
    arguments: tuple[str, ...]
    """Cargo's options for profile, packages, features and target."""
    packages: Path
    """Where the packages go."""
    compression: int
    """From 1 (fast) to 9 (small)."""
    architecture: str = prerequisites.architecture()
    """The target architecture, by Lambda's name."""
    command: tuple[str, ...] = ("cargo", "build")
    """The command that compiles."""
    programs: Path = paths.BIN
    """The folder with FFmpeg for that architecture."""

    def zip(self, name: str) -> Path:
        """The package of a function, or the layer's."""
        return self.packages / f"{name}.zip"


FOR_AWS = Build(
    "release", ("--release", "--exclude=cli", "--exclude=tests"), paths.LAMBDA_PACKAGES, 9
)
"""The build that is deployed: small and fast."""

# A test is built too, because cargo then compiles dependencies with the features that tests need,
# so the stack and `cargo test` share them. The command is built without default features: signing
# in to AWS takes long to compile.
FOR_STACK = Build("debug", ("--no-default-features", "--test=records"), paths.STACK_PACKAGES, 1)
"""The build that the local stack runs: compiled in half the time, with overflow checks at run
time."""


def build(way: Build, progress: Progress) -> None:
    """Compiles and packs what is out of date.

    # Errors
    Failure if the build fails, or if a binary for AWS needs a newer C library than Lambda has."""
    names, target = _functions()
    with progress.step("compile the functions") as step:
        _compile(way, step.say)
        step.say("")

    def pack(name: str) -> None:
        binary = target / way.profile / name
        if way is FOR_AWS:
            _check_glibc(binary)
        _pack({"bootstrap": binary}, name, way)

    with progress.step("package the functions"):
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(pack, names))
        # Terraform refuses packages built for an architecture other than the deployed one.
        (way.packages / "architecture").write_text(f"{way.architecture}\n")
        for stale in set(way.packages.glob("*.zip")) - {
            way.zip(name) for name in [*names, "ffmpeg-layer"]
        }:
            stale.unlink()


def command() -> Path:
    """The command `clipflow`."""
    return _functions()[1] / FOR_STACK.profile / "clipflow"


def package_layer(way: Build) -> None:
    """Packs FFmpeg as a layer; its `bin/` is on a function's PATH.

    # Errors
    Failure if the largest function would be too large with it."""
    # MiniStack mounts no layers but counts their size, and the stack's functions are larger than
    # those for AWS. So its layer contains only the smaller program.
    names = ("ffprobe",) if way is FOR_STACK else ("ffmpeg", "ffprobe")
    programs = {f"bin/{name}": way.programs / name for name in names}
    _pack(programs, "ffmpeg-layer", way)
    if way is not FOR_STACK:
        for program in programs.values():
            _check_glibc(program)
        check_size(way)


def check_size(way: Build) -> None:
    """Checks that Lambda accepts every function together with the layer.

    # Errors
    Failure if one is too large."""
    layer = way.zip("ffmpeg-layer")
    for package in set(way.packages.glob("*.zip")) - {layer}:
        unpacked = _unpacked(layer) + _unpacked(package)
        if unpacked > LARGEST_UNPACKED:
            raise Failure(
                f"{package.stem} and the layer have {unpacked:,} bytes, and Lambda takes"
                f" {LARGEST_UNPACKED:,}."
            )


def glibc_versions(binary: Path) -> set[tuple[int, ...]]:
    """The C library versions whose symbols a 64-bit little-endian ELF file needs, from
    `.gnu.version_r`."""
    data = binary.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise Failure(f"{binary} is no 64-bit little-endian ELF file")
    table, entry_size, count = (
        struct.unpack_from("<Q", data, 40)[0],
        *struct.unpack_from("<HH", data, 58),
    )
    sections = [
        struct.unpack_from("<IIQQQQIIQQ", data, table + index * entry_size)
        for index in range(count)
    ]
    versions = set()
    for _, kind, _, _, begin, _, link, libraries, _, _ in sections:
        if kind != 0x6FFFFFFE:
            continue
        strings, offset = sections[link][4], begin
        for _ in range(libraries):
            _, symbols, _, first, next_library = struct.unpack_from("<HHIII", data, offset)
            at = offset + first
            for _ in range(symbols):
                name_offset, next_symbol = struct.unpack_from("<II", data, at + 8)
                name = data[
                    strings + name_offset : data.index(b"\0", strings + name_offset)
                ].decode()
                if name.startswith("GLIBC_") and name[6:].replace(".", "").isdigit():
                    versions.add(tuple(int(part) for part in name[6:].split(".")))
                at += next_symbol
            offset += next_library
    return versions


def _check_glibc(binary: Path) -> None:
    needed = max(glibc_versions(binary), default=(0,))
    if needed > NEWEST_GLIBC:
        raise Failure(
            f"{binary.name} needs glibc {'.'.join(map(str, needed))}, and Lambda has"
            f" {'.'.join(map(str, NEWEST_GLIBC))}. Build on a system with an older C library, or"
            " with `cargo lambda build` (see local/README.md)."
        )


def _functions() -> tuple[list[str], Path]:
    """Names of the packages below functions/ that are programs, and cargo's target folder."""
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
    return sorted(names), Path(metadata["target_directory"])


def _compile(way: Build, say: Callable[[str], None]) -> None:
    done = 0

    def on_line(line: str) -> None:
        nonlocal done
        if line.lstrip().startswith("Compiling "):
            done += 1
            say(f"{done} crates, {line.split()[1]}")

    arguments = [
        *way.command,
        "--locked",
        "--workspace",
        "--exclude=bench",
        "--exclude=hostile",
        "--bins",
        *way.arguments,
    ]
    processes.run(
        arguments,
        log=paths.LOGS / "build.log",
        environment=processes.environment(),
        on_line=on_line,
    )


def _pack(members: dict[str, Path], name: str, way: Build) -> None:
    """Writes an archive that depends only on its members' contents, unless it already exists."""
    archive = way.zip(name)
    if _is_current(members, archive):
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    unfinished = archive.with_suffix(".new")
    with zipfile.ZipFile(unfinished, "w") as packed:
        for member, file in sorted(members.items()):
            entry = zipfile.ZipInfo(member, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100755 << 16
            packed.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED, way.compression)
    os.replace(unfinished, archive)


def _unpacked(archive: Path) -> int:
    with zipfile.ZipFile(archive) as packed:
        return sum(entry.file_size for entry in packed.infolist())


def _is_current(members: dict[str, Path], archive: Path) -> bool:
    try:
        with zipfile.ZipFile(archive) as packed:
            found = {entry.filename: (entry.file_size, entry.CRC) for entry in packed.infolist()}
    except (OSError, zipfile.BadZipFile):
        return False
    return found == {
        name: (file.stat().st_size, zlib.crc32(file.read_bytes())) for name, file in members.items()
    }
