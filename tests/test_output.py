"""Outputs: one contract for all of them, and what is special about each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from puppet.capture.clip_sound import DriverSound
from puppet.capture.played import PlayedSource
from puppet.capture.video import video_recording
from puppet.contract import (
    Frame,
    Picture,
    Sink,
    SinkError,
    SoundPiece,
    SourceError,
    UserError,
)
from puppet.output import FanOut, open_sink
from puppet.output.file import FileSink
from puppet.output.mjpeg import MjpegSink
from puppet.output.null import NullSink
from puppet.output.pace import Schedule
from puppet.output.preview import PreviewSink
from puppet.output.video import VideoWriter
from puppet.output.virtual import VirtualCameraSink, explain
from puppet.pipeline.actions import KEY_LINES

WIDTH, HEIGHT, FPS = 192, 128, 30.0
MS = 1_000_000


def picture(index: int, at_ns: int | None = None) -> Picture:
    """Its brightness tells the index (up to 50), in steps a codec keeps apart."""
    rgb = np.full((HEIGHT, WIDTH, 3), 4 + 5 * index, np.uint8)
    rgb[:, : WIDTH // 2, 0] = 250
    return Picture(rgb, index * 33 * MS if at_ns is None else at_ns, index)


def index_of(rgb: np.ndarray) -> int:
    return round((float(rgb[20:-20, WIDTH // 2 + 16 : -16, 1].mean()) - 4) / 5)


def decode(path: Path, *, cut: bool = False) -> list[tuple[float, np.ndarray]]:
    """`cut`: the file may end in mid-picture."""
    shown = []
    with av.open(str(path)) as container:
        try:
            for f in container.decode(video=0):
                shown.append((float(f.pts * f.time_base), f.to_ndarray(format="rgb24")))
        except av.error.InvalidDataError:
            assert cut
    return shown


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


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


# --- video --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_pictures_are_shown_when_they_were_captured(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    times_ms = [0, 33, 66, 200, 233, 500, 501, 533]  # a loop with gaps and a burst
    sink = FileSink(path)
    sink.open(WIDTH, HEIGHT, FPS)
    for index, at_ms in enumerate(times_ms):
        sink.send(picture(index, 7_000_000_000 + at_ms * MS))
    assert not path.exists()
    sink.close()
    decoded = decode(path)
    assert [index_of(rgb) for _, rgb in decoded] == list(range(8))
    start = decoded[0][0]
    assert [t - start for t, _ in decoded] == pytest.approx([t / 1e3 for t in times_ms], abs=2e-3)
    assert list(tmp_path.iterdir()) == [path]


def test_colours_survive(tmp_path: Path) -> None:
    path = tmp_path / "c.mp4"
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    for i, colour in enumerate(colours):
        rgb[:, 64 * i : 64 * (i + 1)] = colour
    writer = VideoWriter(path, WIDTH, HEIGHT, 25)
    for i in range(5):
        writer.add(rgb, i / 25)
    writer.close()
    bgr = cv2.VideoCapture(str(path)).read()[1]
    for i, colour in enumerate(colours):
        middle = bgr[64, 64 * i + 32, ::-1].astype(int)
        assert np.abs(middle - colour).max() < 14, (middle, colour)


def test_times_that_do_not_rise_are_moved(tmp_path: Path) -> None:
    path = tmp_path / "t.mp4"
    with_times = [0.0, 0.0, 0.1, 0.05, 0.2]
    writer = VideoWriter(path, WIDTH, HEIGHT, FPS)
    for index, at_s in enumerate(with_times):
        writer.add(picture(index).rgb, at_s)
    writer.close()
    times = [t for t, _ in decode(path)]
    assert len(times) == 5
    assert times == sorted(set(times))


def test_nothing_recorded_leaves_no_file(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "empty.mp4")
    sink.open(WIDTH, HEIGHT, FPS)
    sink.close()
    assert list(tmp_path.iterdir()) == []


RECORD_FOR_EVER = """
    import sys, time, numpy as np
    from pathlib import Path
    from puppet.contract import Picture
    from puppet.output.file import FileSink
    sink = FileSink(Path(sys.argv[1]))
    sink.open(192, 128, 30.0)
    rng = np.random.default_rng(0)
    for index in range(100000):
        rgb = np.full((128, 192, 3), 4 + 5 * (index % 50), np.uint8)
        sink.send(Picture(rgb, index * 33_000_000, index))
        if index == 90:
            print("now", flush=True)
        time.sleep(0.002)
"""


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_killed_recording_is_playable_and_is_not_overwritten(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"call{suffix}"
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RECORD_FOR_EVER), str(path)],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == b"now"
    child.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    child.wait(10)
    child.stdout.close()
    part = tmp_path / f"call.part{suffix}"
    assert list(tmp_path.iterdir()) == [part]
    decoded = decode(part, cut=True)
    assert len(decoded) >= 60  # 90 pictures were sent: at most a second is lost
    assert [index_of(rgb) for _, rgb in decoded[:50]] == list(range(50))

    kept = part.read_bytes()
    sink = FileSink(path)
    sink.open(WIDTH, HEIGHT, FPS)
    sink.send(picture(3))
    sink.close()
    assert part.read_bytes() == kept
    assert index_of(decode(path)[0][1]) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_a_named_error_and_keeps_what_was_written(tmp_path: Path) -> None:
    code = """
        import resource, sys, numpy as np
        from pathlib import Path
        from puppet.contract import Frame, Picture, SinkError
        from puppet.output.file import FileSink
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        sink = FileSink(Path(sys.argv[1]))
        sink.open(192, 128, 30.0)
        rng = np.random.default_rng(0)
        try:
            for i in range(2000):
                sink.send(Picture(rng.integers(0, 256, (128, 192, 3), np.uint8), i * 33000000, i))
        except SinkError as error:
            print(error)
        sink.close()
    """
    path = tmp_path / "big.mp4"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "the disk is full" in done.stdout
    assert len(decode(tmp_path / "big.part.mp4", cut=True)) > 5


@pytest.mark.parametrize(
    ("name", "what"),
    [("no/such/folder/a.mp4", "does not exist"), ("a.avi", r"NAME\.mp4"), (".", "folder")],
)
def test_files_that_cannot_be_written(tmp_path: Path, name: str, what: str) -> None:
    sink = FileSink(tmp_path / name)
    with pytest.raises((SinkError, UserError), match=what):
        sink.open(WIDTH, HEIGHT, FPS)


def make_clip(path: Path, *, fps: int = 25, seconds: int = 4, late_s: float = 0.0) -> None:
    """A clip whose picture flashes and whose sound beeps at second 1, 2 and 3.

    `late_s`: the sound track starts that much later than the pictures.
    """
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound = out.add_stream("aac", rate=44100, layout="mono")
        for i in range(fps * seconds):
            flash = i % fps == 0 and i > 0
            shade = np.full((64, 64, 3), 255 * flash, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        out.mux(video.encode(None))
        t = np.arange(round(44100 * late_s), 44100 * seconds) / 44100
        beep = np.sin(2 * np.pi * 1000 * t) * ((t % 1.0 < 0.04) & (t >= 1))
        for start in range(0, len(t), 1024):
            part = beep[None, start : start + 1024].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, round(44100 * late_s) + start
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))


def beeps_s(path: Path) -> list[float]:
    """When beeps begin, on the clock of the file."""
    with av.open(str(path)) as clip:
        resampler = av.AudioResampler("flt", "mono", 48000)
        loud: list[float] = []
        for decoded in clip.decode(audio=0):
            for frame in resampler.resample(decoded):
                at = float(frame.pts * frame.time_base)
                samples = frame.to_ndarray()[0]
                loud += [at + i / 48000 for i in np.flatnonzero(np.abs(samples) > 0.3)]
    return [t for before, t in zip([-9.0, *loud], loud, strict=False) if t - before > 0.2]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("late_s", [0.0, 0.5])
def test_sound_stays_in_sync_to_within_a_frame(tmp_path: Path, suffix: str, late_s: float) -> None:
    clip, path = tmp_path / "driver.mp4", tmp_path / f"out{suffix}"
    make_clip(clip, late_s=late_s)
    writer = VideoWriter(path, WIDTH, HEIGHT, 25, audio_from=clip)
    assert writer.has_sound
    for i in range(90):  # less than the clip: the sound ends with the pictures
        writer.add(picture(50 if i % 25 == 0 and i > 0 else 0).rgb, i / 25)
    writer.close()
    flashes = [t for t, rgb in decode(path) if index_of(rgb) > 25]
    heard = beeps_s(path)
    assert len(flashes) == len(heard) == 3
    assert max(abs(a - b) for a, b in zip(flashes, heard, strict=True)) < 1 / 25
    with av.open(str(path)) as out:
        assert out.duration is not None
        assert out.duration / 1e6 == pytest.approx(90 / 25, abs=0.1)


class Talker:
    """A microphone that beeps at second 1, 2 and 3 after `zero_ns`; its time stamps scatter by
    some 30 ms, as real ones do. From `gone_s` on it is silent; a piece is lost at `gap_s`."""

    name = "talker"

    def __init__(self, zero_ns: int, *, gone_s: float = 9.0, gap_s: float = 9.0) -> None:
        self.zero_ns, self.gone_s, self.gap_s = zero_ns, gone_s, gap_s
        self.until_s = -0.4  # it listens before the first picture comes
        self.at_s = self.until_s
        self.is_open = False
        self._scatter = np.random.default_rng(1)

    def open(self) -> None:
        self.is_open = True

    def take(self) -> list[SoundPiece]:
        pieces = []
        while self.at_s + 0.01 <= min(self.until_s, self.gone_s):
            t = self.at_s + np.arange(480) / 48000
            beep = 0.9 * np.sin(2 * np.pi * 1000 * t) * ((t % 1.0 < 0.04) & (t >= 0.9))
            told_s = self.at_s + self._scatter.uniform(-0.015, 0.015)
            if not self.gap_s <= self.at_s < self.gap_s + 0.2:
                told_ns = self.zero_ns + round(told_s * 1e9)
                pieces.append(SoundPiece(beep.astype(np.float32), told_ns))
            self.at_s += 0.01
        return pieces

    def close(self) -> None:
        self.is_open = False


def record_talker(path: Path, talker: Talker, seconds: float = 3.6, fps: int = 25) -> None:
    """Pictures reach the sink 100 ms after they were captured; they flash with the beeps."""
    sink = FileSink(path, microphone=talker)
    sink.open(WIDTH, HEIGHT, fps)
    assert talker.is_open
    for i in range(round(seconds * fps)):
        talker.until_s = i / fps + 0.1
        shade = picture(50 if i % fps == 0 and i > 0 else 0).rgb
        sink.send(Picture(shade, talker.zero_ns + i * 1_000_000_000 // fps, i))
    sink.close()
    assert not talker.is_open


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("gap_s", [9.0, 1.4])
def test_a_microphone_is_recorded_in_sync(tmp_path: Path, suffix: str, gap_s: float) -> None:
    path = tmp_path / f"out{suffix}"
    record_talker(path, Talker(5_000_000_000, gap_s=gap_s))
    flashes = [t for t, rgb in decode(path) if index_of(rgb) > 25]
    heard = beeps_s(path)
    assert len(flashes) == len(heard) == 3
    late_ms = [1e3 * (b - a) for a, b in zip(flashes, heard, strict=True)]
    print("sound after picture, ms:", [round(late, 1) for late in late_ms])
    assert max(map(abs, late_ms)) < 20
    with av.open(str(path)) as out:
        assert out.duration is not None
        assert out.duration / 1e6 == pytest.approx(3.6, abs=0.1)


@pytest.mark.parametrize("skipped", [0, 33])
def test_the_driving_clip_s_own_sound_is_recorded_round_after_round(
    tmp_path: Path, skipped: int
) -> None:
    clip, path = tmp_path / "driver.mp4", tmp_path / "out.mp4"
    make_clip(clip, late_s=0.5)
    source = PlayedSource(video_recording(clip), loop=True, realtime=False)
    for _ in range(skipped):  # the recording begins while the clip plays
        source.read(1.0)
    sink = FileSink(path, microphone=DriverSound(lambda: source.playback))
    sink.open(WIDTH, HEIGHT, FPS)
    for i in range(190 - skipped):
        frame = source.read(1.0)
        assert isinstance(frame, Frame)
        shade = picture(50 if frame.rgb.mean() > 128 else 0).rgb
        sink.send(Picture(shade, frame.captured_at_ns, i))
    sink.close()
    source.close()
    flashes = [t for t, rgb in decode(path) if index_of(rgb) > 25]
    heard = beeps_s(path)
    assert len(flashes) == len(heard) == 6 - (skipped > 0)  # 1, 2, 3 and 5, 6, 7 s
    assert max(abs(a - b) for a, b in zip(flashes, heard, strict=True)) < 1 / 25


def test_a_driver_without_sound_is_said(tmp_path: Path) -> None:
    silent = tmp_path / "silent.mp4"
    record_talker(silent, Talker(0, gone_s=-1.0), seconds=1.0)
    with av.open(str(silent)) as made, av.open(str(tmp_path / "mute.mp4"), "w") as out:
        stream = out.add_stream_from_template(made.streams.video[0])
        for packet in made.demux(made.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    mute = PlayedSource(video_recording(tmp_path / "mute.mp4"), realtime=False)
    for playing, why in ((mute.playback, "no sound track"), (None, "name a microphone")):
        sink = FileSink(tmp_path / "out.mp4", microphone=DriverSound(lambda p=playing: p))
        with pytest.raises(SinkError, match=why):
            sink.open(WIDTH, HEIGHT, FPS)
    assert not (tmp_path / "out.mp4").exists()


def test_sound_ends_with_pictures_that_come_late(tmp_path: Path) -> None:
    """A slow loop: the microphone is a second ahead of the pictures when the recording ends."""
    path, talker = tmp_path / "out.mp4", Talker(0)
    sink = FileSink(path, microphone=talker)
    sink.open(WIDTH, HEIGHT, FPS)
    for i in range(50):
        talker.until_s = i / 25 + 1.0
        sink.send(Picture(picture(0).rgb, i * 40_000_000, i))
    sink.close()
    with av.open(str(path)) as out:
        ends = {s.type: float(s.duration * s.time_base) for s in out.streams}
    assert ends["audio"] == pytest.approx(ends["video"], abs=0.05)


def test_a_microphone_that_goes_leaves_the_pictures(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    record_talker(path, Talker(0, gone_s=1.5))
    assert len(decode(path)) == 90
    assert len(beeps_s(path)) == 1


def test_a_microphone_that_hears_nothing_gives_a_playable_video(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    record_talker(path, Talker(0, gone_s=-1.0), seconds=1.0)
    assert len(decode(path)) == 25


def test_a_microphone_that_cannot_be_had_is_said_and_leaves_no_file(tmp_path: Path) -> None:
    class Absent(Talker):
        def open(self) -> None:
            raise SourceError("the microphone is in use")

    with pytest.raises(SinkError, match="in use"):
        FileSink(tmp_path / "out.mp4", microphone=Absent(0)).open(WIDTH, HEIGHT, FPS)
    assert not list(tmp_path.iterdir())


def test_a_clip_without_sound_gives_a_video_without_sound(tmp_path: Path) -> None:
    clip = tmp_path / "silent.mp4"
    writer = VideoWriter(clip, WIDTH, HEIGHT, FPS)
    writer.add(picture(0).rgb, 0.0)
    writer.close()
    writer = VideoWriter(tmp_path / "o.mp4", WIDTH, HEIGHT, FPS, audio_from=clip)
    assert not writer.has_sound
    writer.add(picture(0).rgb, 0.0)
    writer.close()
    assert len(decode(tmp_path / "o.mp4")) == 1


# --- page ---------------------------------------------------------------------------------------


@pytest.fixture
def page() -> Iterator[MjpegSink]:
    sink = MjpegSink(0)
    sink.open(WIDTH, HEIGHT, FPS)
    yield sink
    sink.close()


def get(sink: MjpegSink, path: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(f"{sink.url}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_the_page_and_the_newest_picture(page: MjpegSink) -> None:
    assert b"/stream.mjpg" in get(page, "")[1]
    for index in (1, 30):
        page.send(picture(index))
        status, jpeg = get(page, "picture.jpg")
        bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert status == 200
        assert index_of(bgr[..., ::-1]) == index
    assert get(page, "other")[0] == 404


def test_the_stream_is_parts_of_jpeg(page: MjpegSink) -> None:
    seen: list[int] = []
    done = threading.Event()

    def feed() -> None:
        for index in range(40):
            page.send(picture(index))
            if done.wait(0.02):
                return

    feeder = threading.Thread(target=feed)
    feeder.start()
    with urllib.request.urlopen(f"{page.url}stream.mjpg", timeout=10) as stream:
        assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace")
        for _ in range(5):
            assert stream.readline().startswith(b"--picture")
            stream.readline()
            length = int(stream.readline().split(b":")[1])
            stream.readline()
            bgr = cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR)
            seen.append(index_of(bgr[..., ::-1]))
            stream.readline()
    done.set()
    feeder.join()
    assert seen == sorted(set(seen))


def test_only_loopback_and_only_own_pages(page: MjpegSink) -> None:
    page.send(picture(0))
    port = int(page.url.rsplit(":", 1)[1].strip("/"))  # type: ignore[union-attr]
    assert get(page, "", Host="evil.example")[0] == 403
    assert get(page, "picture.jpg", Host=f"evil.example:{port}")[0] == 403
    assert get(page, "stream.mjpg", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert get(page, "picture.jpg", Host=f"localhost:{port}")[0] == 200
    assert page._server is not None
    assert page._server.server_address[0] == "127.0.0.1"


def test_a_stalled_viewer_stalls_nobody_and_viewers_are_bounded(page: MjpegSink) -> None:
    port = int(page.url.rsplit(":", 1)[1].strip("/"))  # type: ignore[union-attr]
    page.send(picture(0))
    ask = f"GET /stream.mjpg HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    stalled = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    for connection in stalled:
        connection.sendall(ask)
        assert connection.recv(12) == b"HTTP/1.0 200"  # and then never reads again
    assert get(page, "picture.jpg")[0] == 503
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1080, 1920, 3), np.uint8)
    sending = threading.Thread(
        target=lambda: [page.send(Picture(noise, 0, i)) for i in range(200)], daemon=True
    )
    sending.start()
    sending.join(5.0)
    assert not sending.is_alive()
    closing = threading.Thread(target=page.close, daemon=True)
    closing.start()
    closing.join(5.0)
    assert not closing.is_alive()
    for connection in stalled:
        connection.close()


def test_a_taken_port_names_the_option(page: MjpegSink) -> None:
    port = int(page.url.rsplit(":", 1)[1].strip("/"))  # type: ignore[union-attr]
    with pytest.raises(SinkError, match=rf"port {port} is taken.*--sink mjpeg:{port + 1}"):
        MjpegSink(port).open(WIDTH, HEIGHT, FPS)


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
    no_camera = tmp_path / "video5"
    no_camera.touch()
    with pytest.raises(SinkError, match="not a virtual one"):
        VirtualCameraSink(str(no_camera)).open(WIDTH, HEIGHT, FPS)


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


# --- schedule and fan-out -----------------------------------------------------------------------


def test_the_schedule_keeps_its_rate_and_does_not_burst() -> None:
    schedule = Schedule(25.0, 0)
    ticks = []
    for _ in range(50):
        ticks.append(schedule.due_ns)
        schedule.advance(schedule.due_ns + 3 * MS, None)  # a little late each time: no drift
    assert set(np.diff(ticks)) == {40 * MS}
    schedule.advance(10_000 * MS, None)  # stuck for 8 s
    assert schedule.due_ns == 10_040 * MS


def test_the_schedule_moves_towards_the_pictures() -> None:
    schedule = Schedule(25.0, 0)
    for k in range(200):  # pictures of the same rate, 20 ms before each first tick
        schedule.advance(schedule.due_ns, k * 40 * MS - 20 * MS)
    assert abs(schedule.due_ns - (200 * 40 * MS - 20 * MS)) < 2 * MS


class Probe:
    """A sink of the test: remembers, waits or fails as told."""

    wants_cutout = False

    def __init__(self, name: str, *, paced: bool = False) -> None:
        self.name = name
        self.paced = paced
        self.seen: list[int] = []
        self.threads: set[int] = set()
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()
        self.fail: Exception | None = None

    def open(self, width: int, height: int, fps: float) -> None:
        self.threads.add(threading.get_ident())
        if isinstance(self.fail, UserError):
            raise self.fail

    def send(self, picture: Picture) -> None:
        self.threads.add(threading.get_ident())
        self.gate.wait(20)
        if self.fail is not None:
            raise self.fail
        self.seen.append(picture.index)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


def test_a_slow_sink_drops_and_the_others_get_everything() -> None:
    fan, fast, slow = FanOut(WIDTH, HEIGHT, FPS), Probe("fast"), Probe("slow")
    fan.add(fast)
    fan.add(slow)
    slow.gate.clear()
    for index in range(20):
        fan.send(picture(index))
        wait_until(lambda index=index: len(fast.seen) == index + 1)  # type: ignore[misc]
    slow.gate.set()
    assert fan.close() == ()
    assert fast.seen == list(range(20))
    assert slow.seen[-1] == 19  # the newest is not lost at the end
    by_name = {s.name: s for s in fan.stats()}
    assert by_name["slow"].sent + by_name["slow"].dropped == 20
    assert by_name["slow"].dropped >= 17
    assert by_name["fast"].dropped == 0
    assert len(fast.threads) == len(slow.threads) == 1
    assert fast.threads != slow.threads
    assert fast.closed == slow.closed == 1


def test_a_failing_sink_is_told_once_and_leaves_the_others() -> None:
    told: list[tuple[str, Exception]] = []
    fan = FanOut(WIDTH, HEIGHT, FPS, on_failure=lambda name, error: told.append((name, error)))
    good, bad = Probe("good"), Probe("bad")
    fan.add(good)
    fan.add(bad)
    bad.fail = ZeroDivisionError("device gone")
    for index in range(5):
        fan.send(picture(index))
        wait_until(lambda index=index: len(good.seen) == index + 1)  # type: ignore[misc]
    wait_until(lambda: fan.alive == 1)
    fan.close()
    assert [(name, type(error)) for name, error in told] == [("bad", SinkError)]
    assert "device gone" in str(told[0][1])
    assert isinstance(told[0][1].__cause__, ZeroDivisionError)
    assert {s.name: s.error is None for s in fan.stats()} == {"good": True, "bad": False}
    assert bad.closed == 1


def test_a_sink_that_cannot_open_is_not_added() -> None:
    told: list[str] = []
    fan = FanOut(WIDTH, HEIGHT, FPS, on_failure=lambda name, error: told.append(name))
    bad = Probe("bad")
    bad.fail = UserError("no such thing")
    with pytest.raises(UserError, match="no such thing"):
        fan.add(bad)
    assert fan.names == ()
    assert told == []
    bad.fail = None
    fan.add(bad)
    with pytest.raises(UserError, match="on already"):
        fan.add(Probe("bad"))
    fan.close()


def test_sinks_come_and_go_while_pictures_flow(tmp_path: Path) -> None:
    fan = FanOut(WIDTH, HEIGHT, FPS)
    fan.add(NullSink())
    file = FileSink(tmp_path / "part.mp4")
    for index in range(30):
        if index == 5:
            fan.add(file)
        if index == 25:
            fan.remove(file.name)
            assert (tmp_path / "part.mp4").exists()
        fan.send(picture(index))
        time.sleep(0.005)
    assert fan.names == ("null",)
    fan.close()
    indices = [index_of(rgb) for _, rgb in decode(tmp_path / "part.mp4")]
    assert indices
    assert set(indices) <= set(range(5, 25))
    assert {s.name for s in fan.stats()} == {"null", file.name}
    with pytest.raises(UserError):
        fan.remove("nothing")
    with pytest.raises(SinkError, match="closed"):
        fan.add(NullSink())


def test_closing_does_not_wait_for_a_stuck_sink() -> None:
    fan, stuck = FanOut(WIDTH, HEIGHT, FPS), Probe("stuck")
    fan.add(stuck)
    stuck.gate.clear()
    fan.send(picture(0))
    assert fan.close(timeout_s=0.1) == ("stuck",)
    stuck.gate.set()


def test_a_paced_sink_repeats_the_newest_picture() -> None:
    fan, camera = FanOut(WIDTH, HEIGHT, 100.0), Probe("camera", paced=True)
    fan.add(camera)
    fan.send(picture(1))
    wait_until(lambda: len(camera.seen) >= 4)
    fan.send(picture(2))
    wait_until(lambda: camera.seen.count(2) >= 3)
    assert fan.close() == ()
    assert camera.seen == sorted(camera.seen)
    (stats,) = fan.stats()
    assert stats.sent == 2
    assert stats.repeated == len(camera.seen) - 2
    assert stats.age_ms.count == 2


def test_only_composed_pictures_can_leave() -> None:
    fan, probe = FanOut(WIDTH, HEIGHT, FPS), Probe("probe")
    fan.add(probe)
    frame = Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0, 0)
    for item in (frame, frame.rgb):
        with pytest.raises(TypeError, match="only a composed Picture"):
            fan.send(item)  # type: ignore[arg-type]
    fan.close()
    assert probe.seen == []


def test_what_is_now_is_not_hidden_by_what_was() -> None:
    now = [0]
    fan = FanOut(WIDTH, HEIGHT, FPS, clock=lambda: now[0])
    sink = NullSink()
    fan.add(sink)
    for i in range(20):
        now[0] += 1000 * MS
        late_ms = 400 if i < 16 else 40  # a slow runtime, then a fast one
        fan.send(Picture(picture(i).rgb, now[0] - late_ms * MS, i))
        wait_until(lambda wanted=i + 1: fan.stats()[0].sent == wanted)  # type: ignore[misc]
    assert fan.stats()[0].age_ms.p50 == 400
    assert fan.stats(4)[0].age_ms.p50 == 40
    fan.close()


def test_age_is_from_capture_to_sent() -> None:
    fan = FanOut(WIDTH, HEIGHT, FPS, clock=lambda: 1_025 * MS)
    fan.add(NullSink())
    fan.send(picture(0, at_ns=1_000 * MS))
    fan.close()
    (stats,) = fan.stats()
    assert stats.age_ms.p50 == pytest.approx(25.0)


def test_outputs_are_imported_only_when_asked_for() -> None:
    code = (
        "import sys, puppet.output; puppet.output.open_sink('null');"
        "heavy = {'cv2', 'av', 'pyvirtualcam', 'http.server'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
