"""The parts of the local stack that neither start nor change it."""

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import zipfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from local import build, checks, console, demo, deploy, guard, paths, services
from local.console import Failure


class InFolder(unittest.TestCase):
    """A test with its own folder."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))


class ConsoleTest(unittest.TestCase):
    def test_durations_are_as_exact_as_a_person_wants_them(self) -> None:
        shown = [console.seconds(duration) for duration in (0.04, 9.94, 12.4, 59.4, 185)]
        self.assertEqual(shown, ["0.0 s", "9.9 s", "12 s", "59 s", "3 min 05 s"])

    def test_text_has_no_colour_outside_a_terminal(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(console.coloured("text", "red"), "text")


class BuildTest(InFolder):
    def test_a_package_depends_on_nothing_but_its_contents(self) -> None:
        program = self.folder / "program"
        program.write_bytes(b"code")
        packages = []
        for name, modified in (("a", 1_000_000_000), ("b", 1_500_000_000)):
            way = build.Build("debug", (), self.folder / name, 6)
            os.utime(program, (modified, modified))
            build._pack({"bootstrap": program}, "trim", way)
            packages.append(way.zip("trim").read_bytes())
        self.assertEqual(*packages)
        with zipfile.ZipFile(self.folder / "a" / "trim.zip") as packed:
            (entry,) = packed.infolist()
            self.assertEqual((entry.filename, entry.external_attr >> 16), ("bootstrap", 0o100755))
            self.assertEqual(packed.read(entry), b"code")

    def test_a_package_is_written_again_when_its_contents_differ(self) -> None:
        program, way = self.folder / "program", build.Build("debug", (), self.folder, 6)
        for code in (b"code", b"edoc"):
            program.write_bytes(code)
            build._pack({"bootstrap": program}, "trim", way)
            with zipfile.ZipFile(way.zip("trim")) as packed:
                self.assertEqual(packed.read("bootstrap"), code)

    def test_a_function_that_is_too_large_with_the_layer_is_refused(self) -> None:
        program, way = self.folder / "program", build.Build("debug", (), self.folder, 1)
        program.write_bytes(bytes(build.LARGEST_UNPACKED // 2))
        build._pack({"bin/ffmpeg": program}, "ffmpeg-layer", way)
        build._pack({"bootstrap": program}, "trim", way)
        build.check_size(way)
        programs = {"bin/ffmpeg": program, "bin/ffprobe": self.folder / "trim.zip"}
        build._pack(programs, "ffmpeg-layer", way)
        with self.assertRaisesRegex(Failure, "trim and the layer have"):
            build.check_size(way)

    def test_the_c_library_of_a_program_is_read_from_it(self) -> None:
        versions = build.glibc_versions(Path(sys.executable).resolve())
        self.assertIn((2, 2, 5), versions)
        with self.assertRaisesRegex(Failure, "no 64-bit"):
            build.glibc_versions(Path(__file__))

    def test_a_build_is_where_cargo_puts_it(self) -> None:
        with mock.patch.dict(os.environ, {"CARGO_TARGET_DIR": str(self.folder)}):
            self.assertEqual(build.command(), self.folder / "debug" / "clipflow")


class DefinitionTest(unittest.TestCase):
    def test_what_terraform_fills_in_as_a_number_is_one(self) -> None:
        text = checks.filled_in(
            '{"TimeoutSeconds": "{% $number(\'${a_timeout}\') %}", "Arn": "${arn}"}'
        )
        self.assertEqual(text, '{"TimeoutSeconds": 1, "Arn": "${arn}"}')


class DeployTest(InFolder):
    def test_a_mirror_is_a_folder_that_holds_the_provider(self) -> None:
        mirror = self.folder / "registry.terraform.io" / "hashicorp" / "aws"
        with mock.patch.dict(os.environ, {"TF_PLUGIN_MIRROR": str(self.folder)}):
            self.assertNotEqual(deploy.plugin_mirror(), str(self.folder))
            mirror.mkdir(parents=True)
            self.assertEqual(deploy.plugin_mirror(), str(self.folder))

    def test_a_deployment_is_another_one_when_a_variable_is(self) -> None:
        same = [deploy.inputs(variables) for variables in ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
        self.assertEqual(*same)
        self.assertNotEqual(deploy.inputs({"a": 1, "b": 3}), same[0])


class GuardTest(unittest.TestCase):
    def test_a_process_is_known_by_its_start(self) -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            ticks = guard.start_ticks(process.pid)
            self.assertIsNotNone(ticks)
            self.assertIn(process.pid, guard.descendants(os.getpid()))
            self.assertEqual(guard.start_ticks(process.pid), ticks)
            process.kill()
        self.assertIsNone(guard.start_ticks(process.pid))

    def test_a_guarded_program_ends_with_its_owner(self) -> None:
        reader, writer = os.pipe()
        command = [
            sys.executable,
            "-I",
            "-S",
            str(paths.LOCAL / "guard.py"),
            "command",
            str(reader),
        ]
        script = "sleep 60 & echo $!; wait"
        with subprocess.Popen(
            [*command, "sh", "-c", script], pass_fds=[reader], stdout=subprocess.PIPE, text=True
        ) as process:
            os.close(reader)
            assert process.stdout
            sleeper = int(process.stdout.readline())
            os.close(writer)
            self.assertEqual(process.wait(10), 143)
        self.assertIsNone(guard.start_ticks(sleeper))

    def test_a_service_is_paused_killed_and_started_again_by_orders(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        control, status = folder / "control", folder / "services.json"
        os.mkfifo(control)
        reader, writer = os.pipe()
        service = {
            "name": "sleeper",
            "arguments": ["sleep", "60"],
            "environment": {"PATH": os.environ["PATH"]},
            "log": str(folder / "log"),
        }
        command = [sys.executable, "-I", "-S", str(paths.LOCAL / "guard.py"), "services"]
        supervisor = subprocess.Popen(
            [*command, str(reader), str(control), str(status)],
            pass_fds=[reader],
            stdin=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(supervisor.wait, 10)
        self.addCleanup(os.close, writer)
        os.close(reader)
        assert supervisor.stdin
        supervisor.stdin.write(json.dumps([service]))
        supervisor.stdin.close()

        def pid() -> int:
            text = status.read_text() if status.exists() else "{}"
            sleeper: dict[str, int] = json.loads(text).get("services", {}).get("sleeper", {})
            return sleeper.get("pid", 0)

        def state() -> str:
            return Path(f"/proc/{pid()}/stat").read_text().rpartition(")")[2].split()[0]

        def until(condition: Callable[[], bool]) -> None:
            limit = time.monotonic() + 10
            while not condition():
                self.assertLess(time.monotonic(), limit)
                time.sleep(0.01)

        until(lambda: pid() != 0)
        first = pid()
        control.write_text("pause sleeper\n")
        until(lambda: state() == "T")
        control.write_text("resume sleeper\n")
        until(lambda: state() == "S")
        control.write_text("kill sleeper\n")
        until(lambda: pid() == 0)
        self.assertIsNone(guard.start_ticks(first))
        control.write_text("start sleeper\n")
        until(lambda: pid() not in (0, first))
        self.assertIsNone(supervisor.poll())

    def test_a_guarded_program_hands_on_its_exit_code(self) -> None:
        reader, writer = os.pipe()
        command = [
            sys.executable,
            "-I",
            "-S",
            str(paths.LOCAL / "guard.py"),
            "command",
            str(reader),
        ]
        for script, code in (("exit 7", 7), ("kill -9 $$", 137)):
            done = subprocess.run([*command, "sh", "-c", script], pass_fds=[reader], check=False)
            self.assertEqual(done.returncode, code)
        os.close(reader)
        os.close(writer)


class DemoTest(unittest.TestCase):
    def test_a_recording_is_named_after_its_camera_and_its_start(self) -> None:
        key = demo._recording_key("north.1", 1_764_000_000_123)
        self.assertEqual(key, "recordings/north.1/2025/11/24/north.1.20251124T160000123.mp4")

    def test_a_time_is_a_number_where_it_can_be_one(self) -> None:
        self.assertEqual([demo._time("1.5"), demo._time("25%")], [1.5, "25%"])

    def test_a_video_of_somebodys_own_is_cut_in_its_middle(self) -> None:
        video = Path(__file__)
        self.assertEqual(demo.Choice(video, None, None).resolved(), (video, "25%", "75%"))
        self.assertEqual(demo.Choice(video, "1", None).resolved(), (video, "1", "75%"))
        with self.assertRaisesRegex(Failure, "there is no video"):
            demo.Choice(Path("/nowhere.mp4"), None, None).resolved()


class ServicesTest(unittest.TestCase):
    def test_functions_run_side_by_side_as_the_machine_can(self) -> None:
        for processors, functions in ((1, 3), (2, 6), (8, 24), (None, 3)):
            with mock.patch.object(os, "cpu_count", return_value=processors):
                self.assertEqual(services._concurrency(), functions)

    def test_ports_are_kept_while_they_are_free(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.enterContext(mock.patch.object(paths, "PORTS", Path(folder) / "ports.json"))
            first = services.ports(fresh=True)
            self.assertEqual(services.ports(fresh=True), first)
            self.assertEqual(len(set(first.values())), 3)
            taken = self.enterContext(contextlib.closing(socket.socket()))
            taken.bind((services.HOST, first["mongodb"]))
            taken.listen()
            self.assertEqual(services.ports(fresh=False), first)
            self.assertNotIn(first["mongodb"], services.ports(fresh=True).values())
