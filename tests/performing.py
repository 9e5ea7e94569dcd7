"""What tests of the whole loop are played with: an avatar, drivers, a sink that keeps pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.compose.label import make_label
from puppet.compose.settings import LabelSettings
from puppet.contract import Frame, Observation, Picture, SourceSilent
from puppet.pipeline.generator import EngineSettings
from tests.faces import face

Rgb = NDArray[np.uint8]

QUICK = EngineSettings(tier="coarse")
"""The generator that every installation has and that keeps up on a busy processor."""
MAGENTA, LIME = (255, 0, 255), (0, 255, 0)
"""No portrait here has them; the driver's clip is full of them."""


def astronaut() -> Rgb:
    """(512, 512, 3): Eileen Collins, NASA, in the public domain."""
    from skimage import data

    return np.asarray(data.astronaut(), np.uint8)


def save_astronaut(path: Path) -> Path:
    assert cv2.imwrite(str(path), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    return path


def make_avatar(folder: Path, name: str = "astronaut") -> Path:
    """A real avatar of the astronaut, made by the real code; the bundle's folder."""
    from puppet.avatar.bundle import save_avatar
    from puppet.avatar.consent import Consent
    from puppet.avatar.create import create_avatar

    photo = save_astronaut(folder / "astronaut.png")
    bundle = folder / f"{name}.avatar"
    return save_avatar(create_avatar(photo, name, Consent("public-domain"), folder=bundle))


def driver_frames(count: int, width: int = 480, height: int = 360) -> list[Rgb]:
    """A face with blue skin that moves before a magenta and lime chessboard: unmistakable."""
    rows, columns = np.indices((height, width)) // 8
    board = np.where(((rows + columns) % 2)[..., None], MAGENTA, LIME).astype(np.uint8)
    head = np.ascontiguousarray(astronaut()[0:260, 90:350, ::-1])
    side = round(height * 0.72)
    head = cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA)
    frames = []
    for i in range(count):
        frame = board.copy()
        x = round((width - side) / 2 + 20 * np.sin(i / 6))
        y = round((height - side) / 2 + 8 * np.sin(i / 9))
        frame[y : y + side, x : x + side] = head
        frames.append(frame)
    return frames


def share_of_driver(rgb: Rgb) -> float:
    """The share of pixels that look like the driver's chessboard; 0 in every portrait here."""
    pixels = rgb.reshape(-1, 3).astype(np.int16)
    alike = [np.abs(pixels - np.array(c)).max(axis=1) < 70 for c in (MAGENTA, LIME)]
    return float(np.mean(alike[0] | alike[1]))


def write_clip(path: Path, frames: list[Rgb], fps: int = 30, tone: bool = False) -> Path:
    """An H.264 clip, with a tone as its sound if wanted."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=fps, options={"crf": "14", "preset": "ultrafast"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        sound = out.add_stream("aac", rate=48_000, layout="mono") if tone else None
        for frame in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(video.encode(None))
        if sound is not None:
            wave = 0.3 * np.sin(np.arange(48_000 * len(frames) // fps) * 2 * np.pi * 440 / 48_000)
            piece = av.AudioFrame.from_ndarray(
                wave.astype(np.float32)[None], format="fltp", layout="mono"
            )
            piece.sample_rate = 48_000
            out.mux(sound.encode(piece))
            out.mux(sound.encode(None))
    return path


def read_clip(path: Path) -> list[Rgb]:
    with av.open(str(path)) as clip:
        return [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]


def streams_of(path: Path) -> list[str]:
    with av.open(str(path)) as clip:
        return sorted(stream.type for stream in clip.streams)


class Script:
    """A source played from a list of steps: observations and frames at 30 a second, pauses,
    errors. A public source of no camera, as traces are."""

    name = "script"
    size = (512, 512)
    fps_nominal: float | None = 30.0
    fps_measured: float | None = 30.0
    length: int | None = None
    dropped = 0

    def __init__(self, steps: list[object], interval_s: float = 1 / 30) -> None:
        """A step is landmarks or None (no face), a picture, a float (seconds of silence), an
        error to raise, or "end"."""
        self._steps = list(steps)
        self._interval_s = interval_s
        self._index = 0
        self._silent_until = 0.0
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> Frame | Observation | None:
        while not self._closed.is_set():
            waiting = self._silent_until - time.perf_counter()
            if waiting > 0:
                self._closed.wait(min(waiting, timeout_s))
                if waiting > timeout_s:
                    raise SourceSilent("the script is silent")
                continue
            step = self._steps.pop(0) if self._steps else "end"
            if isinstance(step, float):
                self._silent_until = time.perf_counter() + step
                continue
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, str):
                return None
            self._closed.wait(self._interval_s)
            self._index += 1
            now = time.perf_counter_ns()
            if isinstance(step, np.ndarray):
                return Frame(step, now, self._index)
            return Observation(step, now, self._index)  # type: ignore[arg-type]
        return None

    def close(self) -> None:
        self._closed.set()


def moving_faces(count: int) -> list[object]:
    """Landmarks of a head that turns and talks."""
    return [
        face(turn=(0.0, 0.2 * np.sin(i / 8), 0.0), mouth_open=0.1 * (1 + np.sin(i / 3)))
        for i in range(count)
    ]


class KeepingSink:
    """Keeps every picture it gets."""

    name = "keeping"
    wants_cutout = False

    def __init__(self, on_picture: Callable[[int], None] | None = None) -> None:
        self.pictures: list[Picture] = []
        self.closed = False
        self._on_picture = on_picture

    def open(self, width: int, height: int, fps: float) -> None:
        self.format = (width, height, fps)

    def send(self, picture: Picture) -> None:
        self.pictures.append(picture)
        if self._on_picture is not None:
            self._on_picture(len(self.pictures))

    def close(self) -> None:
        self.closed = True


class NoTracker:
    """For sources that deliver observations."""

    name = "none"

    def track(self, frame: Frame) -> Observation:
        raise AssertionError("a source of observations needs no tracker")

    def close(self) -> None:
        pass


def shows_label(rgb: Rgb, settings: LabelSettings | None = None) -> bool:
    """Whether the opaque parts of the label are where they belong (a codec may have been there)."""
    height, width = rgb.shape[:2]
    label = make_label(settings or LabelSettings(), (width, height))
    assert label is not None
    ink = label.rgba[..., 3] > 200
    seen = label.region(rgb)[ink].astype(float)
    ought = label.rgba[..., :3][ink].astype(float)
    # The pill lets 14 % of what is behind it through.
    return float(np.abs(seen - ought).mean()) < 30
