"""The last check of `puppet doctor`: pictures go into the virtual camera and must come out."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from puppet.capture.devices import CameraInfo, list_cameras
from puppet.contract import Picture, Rgb, Sink, SinkError

SIZE, FPS = (1280, 720), 30.0
WANTED = 15
"""So many of the pictures that were sent must be seen again."""
LIMIT_S = 12.0
_COLOURS = ((200, 20, 20), (20, 200, 20), (20, 20, 200))
_TOLERANCE = 24  # YUV and its colour spaces: a few levels; wrong channels: hundreds
_BITS = 8


@dataclass(slots=True)
class Proof:
    """What came of it. `problem` is None when the pictures arrived."""

    device: str
    seen: int = 0
    size: tuple[int, int] | None = None
    delays_ms: list[float] = field(default_factory=list)
    problem: str | None = "nothing came back"
    remedy: str = ""


def draw(number: int) -> Rgb:
    """The test picture: three colour fields, and below them its number as black or white bars."""
    width, height = SIZE
    rgb = np.zeros((height, width, 3), np.uint8)
    for i, colour in enumerate(_COLOURS):
        rgb[: height // 2, i * width // 3 : (i + 1) * width // 3] = colour
    bars = np.repeat([255 * (number >> bit & 1) for bit in range(_BITS)], width // _BITS)
    rgb[height * 3 // 4 :] = bars[None, :, None]
    return rgb


def recognise(rgb: Rgb) -> int | None:
    """The number in a test picture; None for anything else, also for swapped colours."""
    height, width = rgb.shape[:2]
    for i, colour in enumerate(_COLOURS):
        there = rgb[height // 4, i * width // 3 + width // 6].astype(int)
        if np.abs(there - colour).max() > _TOLERANCE:
            return None
    bars = rgb[height * 7 // 8, width // (2 * _BITS) :: width // _BITS, 1][:_BITS] > 128
    return int(sum(1 << bit for bit, white in enumerate(bars) if white))


def prove(
    sink: Sink,
    reader: Callable[[str], cv2.VideoCapture] | None = None,
    limit_s: float = LIMIT_S,
) -> Proof:
    """Feeds the sink's camera and reads it back, for about `limit_s` at most.

    `reader` opens the camera that the sink names for reading. Anybody who looks at the camera
    just then sees the test pictures.
    """
    stop, opened = threading.Event(), threading.Event()
    sent: dict[int, float] = {}
    errors: list[Exception] = []

    def feed() -> None:
        try:
            sink.open(*SIZE, FPS)
            opened.set()
            number = 0
            while not stop.wait(1 / FPS):
                rgb = draw(number)
                sent[number] = time.perf_counter()
                sink.send(Picture(rgb, time.perf_counter_ns(), number))
                number = (number + 1) % (1 << _BITS)
        except (SinkError, OSError, RuntimeError) as error:
            errors.append(error)
        finally:
            sink.close()
            opened.set()

    feeder = threading.Thread(target=feed, name="proof-feed", daemon=True)
    feeder.start()
    opened.wait(limit_s)
    proof = Proof(str(getattr(sink, "device", None) or sink.name))
    if not errors and opened.is_set():
        # A driver may hang in opening or reading: then the thread is left behind.
        watcher = threading.Thread(
            target=_watch,
            args=(proof, sent, reader or _open, limit_s * 0.75),
            name="proof-watch",
            daemon=True,
        )
        watcher.start()
        watcher.join(limit_s)
        if watcher.is_alive():
            proof = Proof(proof.device, problem="reading it back hangs", remedy=_load_again())
    stop.set()
    feeder.join(3.0)
    if errors:
        proof.problem, proof.remedy = str(errors[0]), "see the message"
    elif not opened.is_set():
        proof.problem, proof.remedy = "opening it hangs", _load_again()
    return proof


def _watch(
    proof: Proof,
    sent: dict[int, float],
    reader: Callable[[str], cv2.VideoCapture],
    limit_s: float,
) -> None:
    camera, strange = None, 0
    until = time.perf_counter() + limit_s
    try:
        while proof.seen < WANTED and time.perf_counter() < until:
            if camera is None or not camera.isOpened():
                time.sleep(0.1)  # the device becomes a camera with the first picture
                camera = reader(proof.device)
                continue
            got, bgr = camera.read()
            if not got or bgr is None or bgr.ndim != 3:
                continue
            rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
            number = recognise(rgb)
            if number is None or number not in sent:
                strange += 1
                continue
            proof.seen += 1
            proof.size = (rgb.shape[1], rgb.shape[0])
            proof.delays_ms.append((time.perf_counter() - sent[number]) * 1e3)
    finally:
        if camera is not None:
            camera.release()
    if proof.seen >= WANTED and proof.size == SIZE:
        proof.problem = None
        return
    if proof.seen >= WANTED and proof.size is not None:
        proof.problem = f"pictures of {SIZE} came back as {proof.size}"
    elif strange:
        proof.problem = f"{strange} pictures came back, but other ones or with other colours"
    elif camera is None or not camera.isOpened():
        proof.problem = "it takes pictures but cannot be opened as a camera"
    else:
        proof.problem = f"only {proof.seen} of {WANTED} pictures came back"
    proof.remedy = _load_again()


def _open(device: str) -> cv2.VideoCapture:
    if sys.platform.startswith("linux"):
        return cv2.VideoCapture(device, cv2.CAP_V4L2)
    camera = _named(device, list_cameras())
    backend = cv2.CAP_DSHOW if sys.platform == "win32" else cv2.CAP_AVFOUNDATION
    capture = cv2.VideoCapture(camera.index if camera else 0, backend) if camera else None
    if capture is None:
        return cv2.VideoCapture()
    for wish, value in zip(
        (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), SIZE, strict=True
    ):
        capture.set(wish, value)
    return capture


def _named(device: str, cameras: list[CameraInfo]) -> CameraInfo | None:
    exact = [c for c in cameras if c.name.casefold() == device.casefold()]
    return next(iter(exact or [c for c in cameras if c.is_virtual_output]), None)


def _load_again() -> str:
    if sys.platform.startswith("linux"):
        return (
            "close every program that uses it, then load the module again: sudo modprobe -r "
            "v4l2loopback && sudo modprobe v4l2loopback devices=1 video_nr=10 "
            "card_label=webcam-puppet exclusive_caps=1"
        )
    if sys.platform == "darwin":
        return (
            "close OBS and every program that uses the camera; in System Settings allow the "
            "camera extension of OBS (General > Login Items & Extensions) and this terminal "
            "(Privacy & Security > Camera); then try again"
        )
    return (
        "close OBS and every program that uses the camera; allow desktop apps to use the camera "
        "(Settings > Privacy & security > Camera); then try again"
    )
