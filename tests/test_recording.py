"""Files: shown when captured, sound in sync, nothing lost when the end comes early."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
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
    SinkError,
    SoundPiece,
    SourceError,
    UserError,
)
from puppet.output.file import FileSink
from puppet.output.video import VideoWriter
from tests.outputs import FPS, HEIGHT, MS, WIDTH, decode, index_of, picture

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
