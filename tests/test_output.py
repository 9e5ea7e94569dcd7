"""Outputs: one contract for all of them; preview and virtual camera."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from puppet.contract import (
    Picture,
    Sink,
    SinkError,
    UserError,
)
from puppet.output import open_sink
from puppet.output.null import NullSink
from puppet.output.preview import PreviewSink
from puppet.output.virtual import VirtualCameraSink, explain
from puppet.pipeline.actions import KEY_LINES
from tests.outputs import FPS, HEIGHT, WIDTH, picture

# --- the contract -------------------------------------------------------------------------------


def has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@pytest.fixture(params=["null", "mp4", "webm", "mjpeg", "preview", "virtual"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    kind = request.param
    if kind == "preview" and not has_display():
        pytest.skip("no display here")
    if kind == "virtual" and not any(Path("/dev").glob("video*")):
        pytest.skip("no virtual camera device here")
    spec = {"mp4": f"file:{tmp_path}/a.mp4", "webm": f"file:{tmp_path}/a.webm",
            "mjpeg": "mjpeg:0"}.get(kind, kind)  # fmt: skip
    made = open_sink(spec)
    yield made
    made.close()


def test_contract(sink: Sink) -> None:
    assert isinstance(sink.name, str)
    assert sink.wants_cutout in (True, False)
    sink.open(WIDTH, HEIGHT, FPS)
    for index in range(10):
        shown = picture(index)
        before = shown.rgb.copy()
        sink.send(shown)
        assert np.array_equal(shown.rgb, before), "a sink must not write to the picture"
    sink.close()
    sink.close()


def test_contract_reopens(sink: Sink) -> None:
    for _ in range(2):
        sink.open(WIDTH, HEIGHT, FPS)
        sink.send(picture(0))
        sink.close()


def test_contract_close_without_open(sink: Sink) -> None:
    sink.close()


def test_sending_to_a_closed_sink_is_a_named_error(sink: Sink) -> None:
    if isinstance(sink, NullSink):
        pytest.skip("the null sink has no state")
    with pytest.raises(SinkError):
        sink.send(picture(0))


@pytest.mark.parametrize(
    "spec", ["", "file", "file:", "nul", "mjpeg:x", "mjpeg:70000", "preview:1", "rtmp://x"]
)
def test_unknown_outputs_are_refused_with_a_remedy(spec: str) -> None:
    with pytest.raises(UserError, match=r"choose one of|--sink file:|a port is"):
        open_sink(spec)


def test_specs_keep_what_follows_the_first_colon() -> None:
    assert open_sink("file:C:/a/b.mp4").name.endswith("b.mp4")
    assert open_sink("virtual:/dev/video9").name == "virtual:/dev/video9"


# --- preview, virtual camera --------------------------------------------------------------------


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about X and Wayland")
def test_a_preview_without_display_names_what_to_use_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SinkError, match=r"no display.*--sink mjpeg"):
        PreviewSink().open(WIDTH, HEIGHT, FPS)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about X")
def test_a_display_out_of_reach_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    sink = PreviewSink()
    with pytest.raises(SinkError, match=r"cannot open the preview window.*--sink mjpeg"):
        sink.open(WIDTH, HEIGHT, FPS)
    sink.close()


def test_mirror_and_help_change_the_preview_only() -> None:
    sink = PreviewSink()
    shown = picture(10)
    before = shown.rgb.copy()
    assert sink._decorated(shown) is shown.rgb
    sink.mirror = True
    assert np.array_equal(sink._decorated(shown), before[:, ::-1])
    sink.text = ("q\tquit",)
    assert not np.array_equal(sink._decorated(shown), before[:, ::-1])
    assert np.array_equal(shown.rgb, before)


@pytest.mark.parametrize("size", [(512, 512), (1280, 720), (320, 240), (360, 640)])
def test_the_list_of_keys_fits_the_preview(size: tuple[int, int]) -> None:
    width, height = size
    sink = PreviewSink()
    sink.text = KEY_LINES
    shown = sink._decorated(Picture(np.zeros((height, width, 3), np.uint8), 0, 0))
    rows, columns = np.nonzero(shown.max(axis=2) > 100)
    assert 0.5 * width < columns.max() < 0.995 * width
    assert columns.min() > 0
    assert 0.05 * height < rows.max() < 0.7 * height


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about V4L2")
def test_virtual_camera_errors_tell_the_remedy(tmp_path: Path) -> None:
    pytest.importorskip("pyvirtualcam")
    with pytest.raises(SinkError, match=r"no device /dev/video97.*modprobe.*video_nr=97"):
        VirtualCameraSink("/dev/video97").open(WIDTH, HEIGHT, FPS)
    with pytest.raises(SinkError, match="not a virtual one"):
        VirtualCameraSink("/dev/null").open(WIDTH, HEIGHT, FPS)
    (tmp_path / "there").touch()
    for path in (tmp_path / "there", tmp_path / "missing", Path("/dev/../etc/hosts")):
        with pytest.raises(SinkError, match="no camera device; name one such as /dev/video10"):
            VirtualCameraSink(str(path)).open(WIDTH, HEIGHT, FPS)


@pytest.mark.parametrize("device", [None, "Unity Video Capture #2"])
def test_unity_capture_gets_the_person_without_background(
    monkeypatch: pytest.MonkeyPatch, device: str | None
) -> None:
    """Against the library's interface: Unity Capture itself runs on Windows only."""
    sent: list[np.ndarray] = []

    class Camera:
        backend = "stand-in"

        def __init__(self, *_: object, fmt: str, device: str | None) -> None:
            self.fmt, self.device = fmt, device or "first"

        def send(self, pixels: np.ndarray) -> None:
            assert pixels.shape[2] == len(self.fmt)
            sent.append(pixels)

        def close(self) -> None:
            pass

    library = SimpleNamespace(Camera=Camera, PixelFormat=SimpleNamespace(RGB="RGB", RGBA="RGBA"))
    monkeypatch.setitem(sys.modules, "pyvirtualcam", library)
    monkeypatch.setattr("puppet.output.virtual._check_device", lambda _: None)
    sink = VirtualCameraSink(device)
    sink.open(WIDTH, HEIGHT, FPS)
    shown = picture(3)
    cut_out = np.dstack((shown.rgb, np.zeros(shown.rgb.shape[:2], np.uint8)))
    sink.send(shown)
    sink.send(replace(shown, cutout=cut_out))
    sink.close()
    if device is None:
        assert not sink.wants_cutout
        assert [pixels is shown.rgb for pixels in sent] == [True, True]
    else:
        assert sink.wants_cutout
        assert len(sent) == 1, "nothing before there is a cut-out"
        assert sent[0] is cut_out


@pytest.mark.parametrize(
    ("message", "platform", "remedy"),
    [
        ("No v4l2 loopback device found at /dev/video[0-99].", "linux", "exclusive_caps=1"),
        ("could not be opened: due to missing permissions.", "linux", "usermod -aG video"),
        ("Virtual camera device /dev/video1 is not a video output device.", "linux", "devices"),
        ("could not be opened: Device or resource busy", "linux", "another program"),
        ("OBS Virtual Camera is not installed in your system.", "darwin", "OBS 30"),
        ("OBS Virtual Camera device not found! Did you install OBS?", "win32", "Install OBS"),
        ("something new", "linux", "something new"),
    ],
)
def test_virtual_camera_messages(message: str, platform: str, remedy: str) -> None:
    assert remedy in explain(message, "/dev/video1", platform)


def test_outputs_are_imported_only_when_asked_for() -> None:
    code = (
        "import sys, puppet.output; puppet.output.open_sink('null');"
        "heavy = {'cv2', 'av', 'pyvirtualcam', 'http.server'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
