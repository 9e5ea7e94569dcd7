"""The command line as a person meets it: what it says, what it writes, how it fails and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import typer

from engines.contract import EngineFailed
from puppet.cli import main as program
from puppet.cli.failure import INTERRUPTED, MENDABLE, UNEXPECTED, guarded
from puppet.cli.options import parse_size, size_for
from puppet.contract import UserError
from puppet.pipeline.live import LiveRun
from tests.performing import (
    driver_frames,
    make_avatar,
    read_clip,
    save_astronaut,
    share_of_driver,
    streams_of,
    write_clip,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `astronaut.avatar`, `astronaut.png` and `driver.mp4`."""
    folder = tmp_path_factory.mktemp("world")
    make_avatar(folder)
    write_clip(folder / "driver.mp4", driver_frames(45), tone=True)
    return folder


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def puppet(*arguments: str) -> int:
    """Runs the program in this process; its exit code."""
    with pytest.raises(SystemExit) as end:
        program.main(arguments)
    code = end.value.code
    assert isinstance(code, int)
    return code


def started(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "puppet.cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


# --- help -----------------------------------------------------------------------------------


def test_calls_get_a_wide_picture_unless_asked_otherwise() -> None:
    assert size_for([], None) == "512x512"
    assert size_for(["preview", "mjpeg"], None) == "512x512"
    assert size_for(["preview", "virtual:/dev/video10"], None) == "1280x720"
    assert size_for(["virtual"], "640x480") == "640x480"


def test_help_names_every_command_and_where_to_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert puppet("--help") == 0
    text = capsys.readouterr().out
    for name in ("demo", "avatar", "run", "studio", "render", "devices", "doctor"):
        assert f" {name} " in text
    listed = typer.main.get_command(program.build()).list_commands(None)
    assert listed == sorted(listed, key=program.ORDER.index)
    assert all(name in text for name in listed)
    assert "puppet demo" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert puppet("--version") == 0
    assert capsys.readouterr().out.startswith("webcam-puppet ")


# --- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--avatar", "nobody", "--camera", "demo"], "There is no avatar 'nobody'"),
        (["run", "--avatar", "{w}/astronaut.avatar", "--sink", "telepathy"], "unknown output"),
        (["run", "--avatar", "{w}/astronaut.avatar", "--size", "large"], "WIDTHxHEIGHT"),
        (["run", "--avatar", "{w}/astronaut.avatar", "--size", "511x511"], "even"),
        (["run", "--avatar", "{w}/astronaut.avatar", "--background", "beach"], "transparent"),
        (["run", "--avatar", "{w}/astronaut.avatar", "--label-elsewhere", " "], "name it"),
        (["run", "--avatar", "{w}/astronaut.avatar", "--pose", "yoga"], "relative or absolute"),
        (
            ["run", "--avatar", "{w}/astronaut.avatar", "--report", "{w}/gone/report.json"],
            "no such folder",
        ),
        (
            ["run", "--avatar", "{w}/astronaut.avatar", "--record-trace", "{w}/gone/me.npz"],
            "no such folder",
        ),
        (["demo", "--out", "{w}"], "that is a folder"),
        (
            [
                "render", "--avatar", "{w}/astronaut.avatar", "--driver", "{w}/driver.mp4",
                "-o", "~nobody-here/out.mp4",
            ],
            "no such folder",
        ),
        (
            [
                "run", "--avatar", "{w}/astronaut.avatar", "--camera", "{w}/driver.mp4",
                "--sink", "file:{w}/driver.mp4",
            ],
            "is what drives",
        ),
        (
            ["run", "--avatar", "{w}/astronaut.avatar", "--camera", "{w}/gone.mp4"],
            "there is no video file",
        ),
        (
            [
                "run", "--avatar", "{w}/astronaut.avatar", "--camera", "{w}/driver.mp4",
                "--sink", "null", "--require-gpu", "--runtime", "openvino",
            ],
            "GPU",
        ),
        (
            [
                "run", "--avatar", "{w}/astronaut.avatar", "--camera", "{w}/driver.mp4",
                "--sink", "null", "--runtime", "abacus",
            ],
            "Known:",
        ),
        (
            ["render", "-a", "{w}/astronaut.avatar", "-d", "{w}/astronaut.avatar/avatar.json",
             "-o", "{w}/x.mp4"],
            "not a video",
        ),
        (
            ["render", "-a", "{w}/astronaut.avatar", "-d", "{w}/driver.mp4", "-o", "{w}/x.avi"],
            "NAME.mp4",
        ),
        (["avatar", "create", "{w}/astronaut.png", "--name", "a"], "--consent"),
        (
            ["avatar", "create", "{w}/astronaut.png", "--name", "a/b", "--consent", "self"],
            "cannot be an avatar's name",
        ),
        (["avatar", "show", "nobody"], "There is no avatar 'nobody'"),
        (["avatar", "remove", "nobody"], "There is no avatar 'nobody'"),
    ],
)  # fmt: skip
def test_a_mistake_gets_a_sentence(
    arguments: list[str], says: str, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert puppet(*(a.format(w=world) for a in arguments)) == MENDABLE
    shown = capsys.readouterr()
    assert says in shown.err
    assert "Traceback" not in shown.err + shown.out


def test_wrong_usage_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert puppet("run") == MENDABLE
    assert "--avatar" in capsys.readouterr().err
    assert puppet("dance") == MENDABLE
    assert "dance" in capsys.readouterr().err


def test_the_unexpected_is_short_and_its_details_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def burst() -> None:
        raise ZeroDivisionError("a bug")

    assert guarded(burst) == UNEXPECTED
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: a bug" in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) == 2
    (kept,) = (tmp_path / "home" / "errors").glob("error-*.txt")
    assert str(kept) in shown
    assert "Traceback" in kept.read_text(encoding="utf-8")


def test_errors_of_engines_and_missing_libraries_are_sentences(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def engine() -> None:
        raise EngineFailed("out of memory on the device")

    def library() -> None:
        raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert guarded(engine) == MENDABLE
    assert "out of memory on the device" in capsys.readouterr().err
    assert guarded(library) == MENDABLE
    assert "apt-get install libgl1" in capsys.readouterr().err
    assert guarded(interrupted) == INTERRUPTED


def test_a_crash_in_a_library_says_where_it_happened() -> None:
    code = "from puppet.cli import main as program\n"
    code += "program.build = lambda: lambda **_: __import__('ctypes').string_at(0)\n"
    code += "program.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode not in (0, UNEXPECTED)
    assert "string_at" in done.stderr


def test_sizes() -> None:
    assert parse_size("1280x720") == (1280, 720)
    assert parse_size(" 512 X 512 ") == (512, 512)
    for text in ("", "512", "x", "512x", "-5x5", "1e3x5"):
        with pytest.raises(UserError):
            parse_size(text)


# --- commands -------------------------------------------------------------------------------


def test_an_avatar_from_making_to_removing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert puppet("avatar", "list") == 0
    assert "no avatars yet" in capsys.readouterr().out
    photo = save_astronaut(tmp_path / "photo.png")
    create = ("avatar", "create", str(photo), "--name", "eileen", "--consent", "public-domain",
              "--whose", "Eileen [/b] [NASA]")  # fmt: skip
    assert puppet(*create) == 0
    assert puppet(*create) == MENDABLE
    assert "--force" in capsys.readouterr().err
    assert puppet("avatar", "list") == 0
    assert "eileen" in capsys.readouterr().out
    assert puppet("avatar", "show", "eileen") == 0
    assert "public-domain" in capsys.readouterr().out
    assert puppet("avatar", "remove", "eileen", "--yes") == 0
    assert puppet("avatar", "show", "eileen") == MENDABLE


def test_an_output_that_failed_is_named_again_at_the_end(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fall(*_: object) -> None:
        raise OSError("the cable fell [out]")

    monkeypatch.setattr("puppet.output.null.NullSink.send", fall)
    out = tmp_path / "on.mp4"
    assert (
        puppet(
            "run", "--avatar", str(world / "astronaut.avatar"), "--camera", "demo",
            "-s", "null", "-s", f"file:{out}", "--seconds", "2",
        )
        == 0
    )  # fmt: skip
    after_the_table = capsys.readouterr().out.split("Milliseconds per picture")[1]
    assert "! the output null failed: OSError: the cable fell [out]" in after_the_table
    assert out.stat().st_size > 0


def test_run_with_a_file_as_camera(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "out.mp4", tmp_path / "report.json"
    code = puppet(
        "run", "-a", str(world / "astronaut.avatar"), "-c", str(world / "driver.mp4"),
        "-s", "null", "-s", f"file:{out}", "--seconds", "2.5", "--report", str(report),
        "--size", "640x360", "--background", "blur",
    )  # fmt: skip
    assert code == 0
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["size"] == [640, 360]
    assert content["seconds"] >= 2.5  # the clip is shorter: it was looped
    pictures = read_clip(out)
    assert pictures[0].shape == (360, 640, 3)
    assert max(share_of_driver(rgb) for rgb in pictures) == 0.0
    shown = capsys.readouterr().out
    assert "generate" in shown
    assert "age" in shown


def test_render_carries_the_sound(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mp4"
    common = ("-a", str(world / "astronaut.avatar"), "-d", str(world / "driver.mp4"))
    assert puppet("render", *common, "-o", str(out)) == 0
    assert len(read_clip(out)) == 45
    assert streams_of(out) == ["audio", "video"]
    assert str(out) in capsys.readouterr().out
    assert puppet("render", *common, "-o", str(out), "--no-audio", "--seconds", "0.5") == 0
    assert len(read_clip(out)) == 15
    assert streams_of(out) == ["video"]


def test_render_does_not_write_over_its_driver(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = world / "driver.mp4"
    before = clip.read_bytes()
    same = world / "." / ".." / world.name / "driver.mp4"
    assert puppet("render", "-a", str(world / "astronaut.avatar"), "-d", str(clip), "-o", str(same))
    assert clip.read_bytes() == before
    assert "it would be lost" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("number", ENDS)
def test_a_signal_ends_a_run_with_a_playable_file(
    number: signal.Signals, world: Path, tmp_path: Path
) -> None:
    out, report = tmp_path / "out.mp4", tmp_path / "report.json"
    # Under nohup or in the background the tests themselves ignore it, and so would the program.
    before = signal.signal(number, signal.SIG_DFL)
    process = started(
        "run", "-a", world / "astronaut.avatar", "-c", world / "driver.mp4",
        "-s", f"file:{out}", "--report", report,
    )  # fmt: skip
    signal.signal(number, before)
    part = tmp_path / "out.part.mp4"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 30_000):
        time.sleep(0.1)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert "age" in stdout
    assert len(read_clip(out)) > 1  # a busy machine makes few pictures by then
    assert not part.exists()
    assert json.loads(report.read_text(encoding="utf-8"))["frames_out"] > 1


def test_doctor_names_a_remedy_for_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    code = puppet("doctor", "--json")
    content = json.loads(capsys.readouterr().out)
    assert code == (0 if content["ok"] else 1)
    names = {check["name"] for check in content["checks"]}
    assert {
        "Python", "OpenCV", "face tracker", "generator weights", "video files", "cameras",
        "virtual camera", "preview window", "data folder",
    } <= names  # fmt: skip
    assert any(name.startswith("runtime ") for name in names)
    assert all(check["remedy"] for check in content["checks"] if check["status"] != "ok")
    assert {"cpu", "cores"} <= set(content["machine"])
    assert puppet("doctor") == code
    assert "OpenCV" in capsys.readouterr().out


def test_doctor_says_when_nothing_can_be_saved(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert puppet("doctor", "--json") == 1
    checks = {c["name"]: c for c in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["data folder"]["status"] == "fail"
    assert "PUPPET_HOME" in checks["data folder"]["remedy"]


def test_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert puppet("devices", "--json") == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
    assert puppet("devices") == 0


def test_a_higher_package_adds_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [
        metadata.EntryPoint("extra", "tests.test_cli:extra", program.GROUP),
        metadata.EntryPoint("single", "tests.test_cli:single", program.GROUP),
        metadata.EntryPoint("broken", "tests.no_such_module:app", program.GROUP),
    ]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries)
    assert puppet("--help") == 0
    shown = capsys.readouterr().out
    assert "Bigger things." in shown
    assert "Not available here" in shown
    assert puppet("extra", "hello") == 0
    assert "hello from above" in capsys.readouterr().out
    assert puppet("single", "--times", "2") == 0
    assert "twice" in capsys.readouterr().out
    assert puppet("broken", "--anything") == MENDABLE
    assert "cannot run" in capsys.readouterr().err


extra = typer.Typer(help="Bigger things.")


@extra.callback()
def _extra() -> None:
    """Bigger things."""


@extra.command()
def hello() -> None:
    """Say hello."""
    print("hello from above")


def single(times: int = 1) -> None:
    """A function as a command."""
    print("twice" if times == 2 else "once")


def test_a_demo_that_is_ended_at_once_says_that_there_is_no_video(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = LiveRun.start

    def ended_at_once(run: LiveRun) -> None:
        run.stop()
        begin(run)

    monkeypatch.setattr(LiveRun, "start", ended_at_once)
    assert puppet("demo", "--out", str(tmp_path / "demo.mp4")) == 0
    assert "There is no video: the demo was ended before its first picture." in (
        capsys.readouterr().out.replace("\n", " ")
    )
    assert not list(tmp_path.glob("*.mp4*"))


def test_demo_writes_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo.mp4"
    assert puppet("demo", "--seconds", "2", "--out", str(out)) == 0
    pictures = read_clip(out)
    assert len(pictures) > 10
    assert "audio" in streams_of(out)
    shown = capsys.readouterr().out
    assert str(out) in shown
    assert "age" in shown
    still = [np.abs(a.astype(int) - pictures[0]).mean() for a in pictures]
    assert max(still) > 0.5  # it moves


def test_a_run_that_ends_in_an_error_leaves_its_report(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are what a bug report needs."""

    def fall(*_: object) -> None:
        raise OSError("the cable fell out")

    monkeypatch.setattr("puppet.output.null.NullSink.send", fall)
    report = tmp_path / "run.json"
    assert (
        puppet(
            "run", "--avatar", str(world / "astronaut.avatar"), "--camera", "demo", "-s", "null",
            "--runtime", "onnxruntime", "--report", str(report),
        )
        == MENDABLE
    )  # fmt: skip
    written = json.loads(report.read_text(encoding="utf-8"))
    assert "the cable fell out" in written["error"]
    assert written["error"] in capsys.readouterr().err
    assert written["frames_in"] > 0
    assert written["runtime"]["runtime"] == "onnxruntime"
