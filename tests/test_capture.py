"""Sources on real files, made here, and on a real (loopback) network."""

from __future__ import annotations

import contextlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from puppet.capture import devices, open_source, stream, v4l2
from puppet.capture.demo import DEMO_DRIVER
from puppet.capture.devices import CameraInfo, find_again, find_camera
from puppet.capture.live import Grabbed, LiveSource
from puppet.contract import Frame, Source, SourceError, SourceSilent

MS = 1_000_000


def grey(level: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    return np.full((size[1], size[0], 3), level, np.uint8)


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    times_ms: Sequence[int] | None = None,
    codec: str = "ffv1",
    pix_fmt: str = "yuv420p",
    fps: int = 25,
    options: dict[str, str] | None = None,
) -> Path:
    """ffv1 loses nothing but colour resolution, and takes any size."""
    with av.open(str(path), "w", options=options or {}) as container:
        video = container.add_stream(codec, rate=fps)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = pix_fmt
        video.codec_context.time_base = Fraction(1, 1000)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.pts = times_ms[i] if times_ms else i * 1000 // fps
            frame.time_base = Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return path


def all_frames(spec: str | Path, **options: float | bool) -> list[Frame]:
    source = open_source(str(spec), realtime=False, **options)
    with contextlib.closing(source):
        return list(iter(lambda: source.read(1.0), None))


def levels(frames: Sequence[Frame]) -> list[int]:
    return [round(float(f.rgb.mean()) / 10) for f in frames]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures, 40 ms apart, of grey 0, 10, 20 ..."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    return write_video(path, [grey(10 * i) for i in range(10)])


# Video files ---------------------------------------------------------------------------------


def test_offline_gives_every_picture_with_its_own_time(clip: Path) -> None:
    source = open_source(str(clip), realtime=False, clock=lambda: 7_000)
    assert (source.name, source.size, source.fps_nominal) == ("clip.mkv", (64, 48), 25)
    frames = [source.read(1.0) for _ in range(10)]
    assert source.read(1.0) is None
    assert levels(frames) == list(range(10))
    assert [f.captured_at_ns for f in frames] == [7_000 + i * 40 * MS for i in range(10)]
    assert [f.index for f in frames] == list(range(10))
    assert source.dropped == 0
    assert source.fps_measured == pytest.approx(25)
    rgb = frames[0].rgb
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert rgb.flags.writeable


def test_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [0, 10, 50, 51, 400, 1200]
    path = write_video(tmp_path / "vfr.mkv", [grey(10 * i) for i in range(6)], times_ms=times)
    frames = all_frames(path)
    assert [(f.captured_at_ns - frames[0].captured_at_ns) // MS for f in frames] == times


def test_a_clip_that_does_not_start_at_zero(tmp_path: Path) -> None:
    times = [5000, 5040, 5080]
    path = write_video(tmp_path / "cut.mkv", [grey(9)] * 3, times_ms=times)
    source = open_source(str(path), realtime=False, clock=lambda: 0)
    assert [source.read(1.0).captured_at_ns // MS for _ in range(3)] == [0, 40, 80]


def test_loop_goes_on_in_time_and_index(clip: Path) -> None:
    source = open_source(str(clip), realtime=False, loop=True)
    frames = [source.read(1.0) for _ in range(25)]
    source.close()
    assert levels(frames) == [*range(10), *range(10), *range(5)]
    assert set(np.diff([f.captured_at_ns for f in frames])) == {40 * MS}
    assert [f.index for f in frames] == list(range(25))


def test_realtime_comes_when_it_is_due(clip: Path) -> None:
    source = open_source(str(clip))
    began = time.perf_counter_ns()
    frames = list(iter(lambda: source.read(1.0), None))
    assert frames[0].captured_at_ns >= began
    for frame in frames:  # never early; how late depends on the machine
        due = frames[0].captured_at_ns + frame.index * 40 * MS
        assert frame.captured_at_ns >= due - MS
        assert levels([frame]) == [frame.index]
    assert len(frames) + source.dropped == 10
    assert source.fps_measured is not None


class HandClock:
    """Stands still until it is set. Only for sources that need not wait."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def test_late_reader_gets_the_newest(clip: Path) -> None:
    clock = HandClock()
    source = open_source(str(clip), clock=clock)
    assert source.read(1.0).index == 0
    clock.ns = 215 * MS  # pictures 1 to 4 are past, 5 (due at 200) is the present one
    frame = source.read(1.0)
    assert (frame.index, levels([frame]), source.dropped) == (5, [5], 4)
    assert frame.captured_at_ns == clock.ns
    clock.ns = 240 * MS
    assert source.read(1.0).index == 6
    clock.ns = 10_000 * MS  # the end is past: the last picture, then the end
    assert source.read(1.0).index == 9
    assert source.read(1.0) is None
    assert source.dropped == 6


def test_reader_slower_than_the_skipping_budget_still_sees_pictures(clip: Path) -> None:
    now = [0]

    def slow_machine() -> int:  # every look at the clock finds 60 ms gone
        now[0] += 60 * MS
        return now[0]

    source = open_source(str(clip), loop=True, clock=slow_machine)
    frames = [source.read(1.0) for _ in range(20)]
    assert all(isinstance(f, Frame) for f in frames)
    assert frames[-1].index < 200


def test_next_picture_is_far_away(tmp_path: Path) -> None:
    pictures = [grey(0), grey(10), grey(20)]
    path = write_video(tmp_path / "slow.mkv", pictures, times_ms=[0, 60_000, 61_000])
    source = open_source(str(path))
    assert source.read(1.0).index == 0
    with pytest.raises(SourceSilent, match=r"slow.mkv: the next picture comes in"):
        source.read(0.05)
    threading.Timer(0.1, source.close).start()
    assert source.read(59.9) is None  # close ends a waiting read
    source.close()
    assert source.read(1.0) is None


@pytest.mark.parametrize("size", [(63, 47), (65, 48), (2, 2), (7, 5)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "gray", "yuv444p"])
def test_odd_sizes_and_formats(tmp_path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    path = write_video(tmp_path / "odd.mkv", [grey(120, size)] * 2, pix_fmt=pix_fmt)
    frames = all_frames(path)
    assert len(frames) == 2
    assert frames[0].rgb.shape == (size[1], size[0], 3)
    assert np.abs(frames[0].rgb.astype(int) - 120).max() <= 2


def test_colours_are_rgb(tmp_path: Path) -> None:
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 200
    frame = all_frames(write_video(tmp_path / "red.mkv", [red], pix_fmt="yuv444p"))[0]
    assert np.abs(frame.rgb[20, 20].astype(int) - (200, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((0, 1, -1, 0), (0, -1)),  # 90 degrees clockwise: the top left corner goes right
        ((-1, 0, 0, -1), (-1, -1)),
        ((0, -1, 1, 0), (-1, 0)),
    ],
    ids=["90", "180", "270"],
)
def test_rotation_of_phones(
    tmp_path: Path, matrix: tuple[int, ...], corner: tuple[int, int]
) -> None:
    picture = grey(20, (64, 32))
    picture[:8, :8] = 220
    path = write_video(tmp_path / "phone.mp4", [picture], codec="mpeg4")
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, 8.3.2: the matrix of a version 0 box
    a, b, c, d = (v * 0x10000 for v in matrix)
    for i, value in enumerate((a, b, 0, c, d, 0)):
        data[at + 4 * i : at + 4 * i + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    source = open_source(str(path), realtime=False)
    rgb = source.read(1.0).rgb
    assert source.size == rgb.shape[1::-1] == ((64, 32) if matrix[0] else (32, 64))
    assert rgb.flags.c_contiguous
    bright = np.unravel_index(np.argmax(cv2.blur(rgb[..., 0], (7, 7))), rgb.shape[:2])
    expected = [0 if c == 0 else n - 1 for c, n in zip(corner, rgb.shape[:2], strict=True)]
    assert np.abs(np.subtract(bright, expected)).max() < 8


def test_sound_and_name_with_colon(tmp_path: Path) -> None:
    path = tmp_path / "10:30 take.mkv"
    with av.open(f"file:{path}", "w", format="matroska") as container:
        video, audio = container.add_stream("ffv1", rate=25), container.add_stream("pcm_s16le")
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3):
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey(50), format="rgb24")))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
        sound.sample_rate = 48_000
        container.mux(audio.encode(sound))
    assert len(all_frames(path)) == 3


def test_truncated_video_plays_what_is_there(clip: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (30, 48, 64, 3), np.uint8)
    whole = write_video(tmp_path / "whole.mkv", list(noise))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 5 <= len(all_frames(cut)) < 30


def test_damage_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 255, (30, 48, 64, 3), np.uint8)
    path = write_video(tmp_path / "hit.mkv", list(noise))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)
    assert 20 <= len(all_frames(path)) <= 30


def cut_off_mp4(path: Path) -> None:
    """An interrupted recording: the table of contents, at the end, was never written."""
    whole = path.with_name("whole.mp4")
    write_video(whole, [grey(90)] * 20, codec="mpeg4")
    data = whole.read_bytes()
    path.write_bytes(data[: data.index(b"moov")])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "none.mp4": (lambda p: None, "there is no video file .*check the path"),
    "empty.mp4": (lambda p: p.touch(), "is empty: record or download it again"),
    "noise.mp4": (lambda p: p.write_bytes(os.urandom(5000)), "it is damaged.*download it again"),
    "cut.mp4": (cut_off_mp4, "cut off before it was finished"),
    "folder.mp4": (lambda p: p.mkdir(), "no pictures in the folder .*put pictures there"),
    "headless.mkv": (
        lambda p: p.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(2000)),
        "cannot read headless.mkv",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_videos_say_what_to_do(tmp_path: Path, name: str) -> None:
    make, message = BROKEN[name]
    make(tmp_path / name)
    with pytest.raises(SourceError, match=message):
        open_source(str(tmp_path / name))


def test_file_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    with av.open(str(path), "w") as container:
        audio = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(audio.encode(frame))
    with pytest.raises(SourceError, match="has no video in it"):
        open_source(str(path))


def test_files_are_closed(clip: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("counts /proc/self/fd")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        source = open_source(str(clip), realtime=False)
        source.read(1.0)
        source.close()
        source.close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_demo(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puppet.capture.demo.files", lambda package: tmp_path)
    with pytest.raises(SourceError, match="install webcam-puppet again"):
        open_source("demo")
    (tmp_path / "data").mkdir()
    shutil.copy(clip, tmp_path / "data" / DEMO_DRIVER)
    assert levels(all_frames("demo")) == list(range(10))


# Pictures ------------------------------------------------------------------------------------


def test_folder_in_natural_order_at_the_given_rate(tmp_path: Path) -> None:
    for i in (0, 1, 2, 10, 11):
        cv2.imwrite(str(tmp_path / f"face_{i}.PNG"), grey(10 * i))
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_source(str(tmp_path), fps=10, realtime=False, clock=lambda: 0)
    frames = list(iter(lambda: source.read(1.0), None))
    assert (source.length, source.fps_nominal) == (5, 10)
    assert levels(frames) == [0, 1, 2, 10, 11]
    assert [f.captured_at_ns // MS for f in frames] == [0, 100, 200, 300, 400]
    assert levels(all_frames(tmp_path / "face_1*.PNG")) == [1, 10, 11]
    assert levels(all_frames(tmp_path / "face_2.PNG")) == [2]


def test_exif_rotation(tmp_path: Path) -> None:
    picture = grey(20, (64, 32))
    picture[:16, :16] = 220  # top left
    done, jpeg = cv2.imencode(".jpg", picture)
    assert done
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # orientation 6
    exif = b"Exif\0\0" + tiff
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "phone.jpg").write_bytes(jpeg[:2].tobytes() + segment + jpeg[2:].tobytes())
    source = open_source(str(tmp_path / "phone.jpg"), realtime=False)
    rgb = source.read(1.0).rgb
    assert source.size == (32, 64)
    assert rgb[4, -4, 0] > 180  # turned clockwise: top right
    assert rgb[4, 4, 0] < 60


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_transparency_becomes_grey(tmp_path: Path, depth: type[np.unsignedinteger]) -> None:
    full = np.iinfo(depth).max
    bgra = np.zeros((8, 8, 4), depth)
    bgra[..., 2] = full  # red everywhere, seen in the upper half only
    bgra[:4, :, 3] = full
    cv2.imwrite(str(tmp_path / "logo.png"), bgra)
    rgb = all_frames(tmp_path / "logo.png")[0].rgb
    assert rgb[1, 1].tolist() == [255, 0, 0]
    assert rgb[6, 6].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    "picture",
    [np.full((7, 5), 130, np.uint8), np.full((7, 5), 130 * 257, np.uint16), grey(130, (5, 7))],
    ids=["grey", "grey16", "colour"],
)
def test_grey_and_16_bit(tmp_path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), picture)
    rgb = all_frames(tmp_path / "p.png")[0].rgb
    assert (rgb.shape, rgb.dtype) == ((7, 5, 3), np.uint8)
    assert (rgb == 130).all()


def test_broken_pictures(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no pictures in the folder .*put pictures there"):
        open_source(str(tmp_path))
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 not really")
    with pytest.raises(SourceError, match="save it again as PNG or JPEG"):
        open_source(str(tmp_path))
    with pytest.raises(SourceError, match=r"no pictures in .*missing.png"):
        open_source(str(tmp_path / "missing.png"))
    with pytest.raises(SourceError, match=r"frame_\*.png; or give the folder"):
        open_source(str(tmp_path / "%04d.png"))
    cv2.imwrite(str(tmp_path / "0.png"), grey(30))
    cv2.imwrite(str(tmp_path / "b.png"), grey(40))
    frames = all_frames(tmp_path)  # a broken one in the middle is a lost picture
    assert levels(frames) == [3, 4]
    assert frames[1].captured_at_ns - frames[0].captured_at_ns == 80 * MS


# Live sources --------------------------------------------------------------------------------


class FaultyFeed:
    """A device that hands over `count` pictures, then fails."""

    size, fps_nominal = (4, 4), 30.0

    def __init__(self, count: int, log: list[str]) -> None:
        self._left, self._log = count, log

    def grab(self) -> Grabbed:
        if self._left == 0:
            raise SourceError("pulled out")
        self._left -= 1
        time.sleep(0.002)
        return Grabbed(time.perf_counter_ns(), grey(0, (4, 4)))

    def close(self) -> None:
        self._log.append("closed")


def read_until_silent(source: Source, timeout_s: float) -> tuple[list[Frame], str]:
    frames: list[Frame] = []
    try:
        while True:
            frames.append(source.read(timeout_s))
    except SourceSilent as silent:
        return frames, str(silent)


def test_lost_device_is_waited_for_and_comes_back() -> None:
    log: list[str] = []
    there = threading.Event()

    def connect() -> FaultyFeed:
        if not there.is_set():
            raise SourceError("not plugged in")
        return FaultyFeed(10**6, log)

    source = LiveSource("cam", FaultyFeed(5, log), connect, retry_s=0.01)
    read, said = read_until_silent(source, 0.2)
    assert said == "no picture from cam for 0.2 s: pulled out (trying again: not plugged in)"
    assert log == ["closed"]
    there.set()
    again = source.read(5.0)
    assert again.index > read[-1].index
    assert source.reconnects == 1
    assert source.lost is None
    source.close()
    assert source.read(1.0) is None
    assert log == ["closed", "closed"]


def test_slow_reader_gets_the_newest_and_drops_are_counted() -> None:
    source = LiveSource("cam", FaultyFeed(10**6, []), lambda: FaultyFeed(0, []))
    first = source.read(5.0)
    while source.dropped < 5:
        time.sleep(0.01)
    frame = source.read(5.0)
    source.close()
    assert frame.index >= 5
    assert frame.index - first.index - 1 <= source.dropped


def test_close_returns_though_the_device_hangs() -> None:
    release = threading.Event()

    class Hanging(FaultyFeed):
        def grab(self) -> Grabbed:
            release.wait(30)
            raise SourceError("late")

    source = LiveSource("cam", Hanging(1, []), lambda: FaultyFeed(0, []))
    with pytest.raises(SourceSilent, match="connected but sends nothing"):
        source.read(0.05)
    reader = threading.Thread(target=source.read, args=(30.0,))
    reader.start()
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    release.set()


def test_an_error_of_a_library_s_own_is_a_lost_device_that_may_come_back() -> None:
    there = threading.Event()

    class Buggy(FaultyFeed):
        def grab(self) -> Grabbed:
            raise ZeroDivisionError("no rate")

        def close(self) -> None:
            raise OSError("closed already")

    def connect() -> FaultyFeed:
        if not there.is_set():
            raise RuntimeError("no bus")
        return FaultyFeed(10**6, [])

    source = LiveSource("cam", Buggy(1, []), connect, retry_s=0.01)
    _, said = read_until_silent(source, 0.2)
    assert said.endswith("ZeroDivisionError: no rate (trying again: RuntimeError: no bus)")
    there.set()
    assert source.read(5.0) is not None
    source.close()


# Streams -------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # the client may go at any time
                answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/cam"
    finally:
        server.shutdown()
        server.server_close()


def mjpeg(pictures: int, then: Callable[[], object] = lambda: None) -> Callable[..., None]:
    """An IP camera: a JPEG every 20 ms, with its number as grey level."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
        handler.end_headers()
        for i in range(pictures):
            jpeg = cv2.imencode(".jpg", grey(i % 250))[1].tobytes()
            head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            handler.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.02)
        then()

    return answer


def test_live_stream_ends_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(mjpeg(40)) as url, contextlib.closing(open_source(url)) as source:
        assert isinstance(source, LiveSource)
        assert source.size == (64, 48)
        frames = []
        while source.reconnects == 0 or not frames or frames[-1].index < 45:
            frames.append(source.read(5.0))
        assert frames[0].rgb.shape == (48, 64, 3)
        assert source.fps_measured < 60


def test_stalled_stream_keeps_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "TIMEOUT_S", (5.0, 0.5))
    stalled = threading.Event()
    with serving(mjpeg(30, lambda: stalled.wait(20))) as url:
        source = open_source(url)
        _, said = read_until_silent(source, 0.3)
        assert said.startswith(f"no picture from {url} for 0.3 s")
        source.close()
        stalled.set()


def test_film_on_a_server_is_played_not_raced(clip: Path) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        data = clip.read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    with serving(answer) as url:
        assert levels(all_frames(url)) == list(range(10))
        source = open_source(url)
        frames = list(iter(lambda: source.read(1.0), None))
        assert frames[-1].captured_at_ns - frames[0].captured_at_ns >= 355 * MS


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda h: h.send_error(404)) as url, pytest.raises(SourceError, match="refuses"):
        open_source(url)
    with pytest.raises(SourceError, match="the sender is running"):
        open_source(url)  # nobody listens any more
    monkeypatch.setattr(stream, "TIMEOUT_S", (0.3, 0.3))
    hold = threading.Event()
    with serving(lambda h: hold.wait(20) and None) as url:
        with pytest.raises(SourceError, match="no answer in time"):
            open_source(url)
        hold.set()


def test_addresses() -> None:
    address = stream.stream_address("rtsp://user:secret@cam.local:554/live?token=abc")
    assert address.name == "rtsp://cam.local:554/live"
    assert ("rtsp_transport", "tcp") in address.options
    with pytest.raises(SourceError, match="use one of"):
        open_source("gopher://old/world")


# Cameras (the real ones are in tests/camvm) --------------------------------------------------

CAMERAS = [
    CameraInfo(0, "HD Webcam: HD Webcam", "/dev/video0", False, "usb-1"),
    CameraInfo(2, "HD Webcam: HD Webcam", "/dev/video2", False, "usb-2"),
    CameraInfo(4, "Logi C920", "/dev/video4", False, "usb-3"),
    CameraInfo(10, "Logi C920 (puppet)", "/dev/video10", True, "platform"),
]


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> list[CameraInfo]:
    there = list(CAMERAS)
    monkeypatch.setattr(devices, "list_cameras", lambda: list(there))
    monkeypatch.setattr(devices, "can_list_cameras", lambda: True)
    return there


def test_find_by_name_and_number(cameras: list[CameraInfo]) -> None:
    assert find_camera("logi c920").index == 4
    assert find_camera("Logi").index == 4  # not the virtual one that is called like it
    assert find_camera("puppet").index == 10  # but that too if it is named
    assert find_camera("hd webcam").index == 0  # two of a kind: the first
    assert find_camera("2").path == "/dev/video2"
    assert find_camera("HD webcam: HD webcam (2)").index == 2
    assert [*devices.by_name(cameras)] == [
        "HD Webcam: HD Webcam (0)",
        "HD Webcam: HD Webcam (2)",
        "Logi C920",
        "Logi C920 (puppet)",
    ]
    with pytest.raises(SourceError, match=r"there is no camera 99; choose one of: 0 \(HD Webcam"):
        find_camera("99")
    with pytest.raises(SourceError, match=r"no file 'Sony', and no camera.*4 \(Logi C920\)"):
        find_camera("Sony")
    with pytest.raises(SourceError, match="several cameras"):
        find_camera("c")


def test_default_is_never_a_virtual_output(cameras: list[CameraInfo]) -> None:
    assert devices.default_camera().index == 0
    del cameras[:3]
    with pytest.raises(SourceError, match="plug one in"):
        devices.default_camera()


def test_the_same_camera_is_found_again(cameras: list[CameraInfo]) -> None:
    second = cameras.pop(1)
    assert find_again(second).index == 0  # its twin, if it is the only one
    cameras.append(CameraInfo(6, second.name, "/dev/video6", False, "usb-2"))
    assert find_again(second).index == 6  # same socket, new number
    assert find_again(CAMERAS[2]) == CAMERAS[2]
    cameras.clear()
    with pytest.raises(SourceError, match="is not plugged in; waiting"):
        find_again(second)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="V4L2 is Linux's")
def test_without_a_camera_the_message_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "list_cameras", list)
    monkeypatch.setattr(devices, "can_list_cameras", lambda: True)
    for spec in ("98765", "/dev/video987654", "Brio"):
        with pytest.raises(SourceError, match="no camera is plugged in: plug one in, or drive"):
            devices.find_camera(spec)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="V4L2 is Linux's")
def test_what_is_not_a_camera(tmp_path: Path) -> None:
    assert v4l2.query("/dev/null") is None
    assert v4l2.query("/dev/video987654") is None
    with pytest.raises(SourceError, match="cannot use /dev/video987654: it is not plugged in"):
        open_source("/dev/video987654")
    with pytest.raises(SourceError, match="there is no camera 98765"):
        open_source("98765")
    assert isinstance(devices.list_cameras(), list)


def test_rates_that_make_no_sense() -> None:
    with pytest.raises(SourceError, match="make no sense"):
        open_source("demo", fps=0)


def test_import_is_light() -> None:
    code = "import sys, puppet.capture; print([m for m in ('cv2', 'av') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
