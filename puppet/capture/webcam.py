"""Webcams through OpenCV."""

from __future__ import annotations

import math
import sys
import time
from functools import partial

import cv2
import numpy as np

from puppet.capture import v4l2
from puppet.capture.devices import CameraInfo, find_again
from puppet.capture.live import Feed, Grabbed, LiveSource
from puppet.contract import SourceError
from puppet.flow import Clock

DEFAULT_SIZE = (640, 480)
"""A face at arm's length fills the tracker's 192 pixels here already, and it decodes fastest."""
DEFAULT_FPS = 30.0
_BUFFERS = 3
"""One to be read, one waiting, one being filled: with a single one, what arrives while it is being
read is lost, and many cameras then deliver at half their rate. Age does not grow by it: the thread
always waits at the device, and see `_is_stale`."""
_STALE_MS = 50.0
_DAMAGED_IN_A_ROW = 30


def open_webcam(
    camera: CameraInfo,
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    clock: Clock = time.perf_counter_ns,
) -> LiveSource:
    """Opens a camera; it may be unplugged and plugged in again later (see LiveSource).

    `fps` and `size` are wishes: `size` and `fps_measured` of the source say what came of them.
    Raises SourceError when the camera cannot be opened now.
    """
    first = WebcamFeed(camera, fps, size, clock)
    again = partial(_reopen, camera, fps, size, clock)
    return LiveSource(camera.name, first, again, clock=clock)


def _reopen(
    camera: CameraInfo, fps: float | None, size: tuple[int, int] | None, clock: Clock
) -> Feed:
    return WebcamFeed(find_again(camera), fps, size, clock)


class WebcamFeed(Feed):
    """One opened camera."""

    def __init__(
        self, camera: CameraInfo, fps: float | None, size: tuple[int, int] | None, clock: Clock
    ) -> None:
        self._camera = camera
        self._clock = clock
        self._stamp_ms = 0.0
        self._least_delay_ms = math.inf
        self._device = _open(camera)
        width, height = size or DEFAULT_SIZE
        wishes = (
            # Uncompressed, most webcams manage 10 fps or less at 720p: ask before the size.
            (cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG")),
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, fps or DEFAULT_FPS),
            (cv2.CAP_PROP_BUFFERSIZE, _BUFFERS),
        )
        for property_id, value in wishes:
            self._device.set(property_id, value)  # what it refuses, it does its own way
        self.size = (
            int(self._device.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(self._device.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        claimed = self._device.get(cv2.CAP_PROP_FPS)
        self.fps_nominal = claimed if 0 < claimed < 1000 else None
        self.fourcc = _fourcc(self._device.get(cv2.CAP_PROP_FOURCC))

    def grab(self) -> Grabbed:
        skipped = damaged = 0
        try:
            while damaged < _DAMAGED_IN_A_ROW and self._device.grab():
                captured_at_ns = self._clock()
                if skipped < _BUFFERS and self._is_stale(captured_at_ns):
                    skipped += 1
                    continue
                decoded, picture = self._device.retrieve()
                bgr = self._as_picture(picture) if decoded else None
                if bgr is not None:
                    rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
                    return Grabbed(captured_at_ns, rgb, skipped)
                damaged += 1
        except cv2.error as error:
            raise SourceError(f"{self._camera.name} fails: {error}") from error
        raise SourceError(
            f"{self._camera.name} was unplugged or has stopped; waiting for it to come back"
        )

    def _as_picture(self, decoded: cv2.typing.MatLike | None) -> cv2.typing.MatLike | None:
        """(H, W, 3) BGR, or None for a damaged picture.

        OpenCV hands what the driver calls BGR3 or RGB3 over as a row of bytes. Other shapes must
        not get further: MediaPipe ends the whole process on some of them.
        """
        if decoded is None or not decoded.size:
            return None
        if decoded.ndim == 3 and decoded.shape[2] == 3 and decoded.shape[0] > 1:
            return decoded
        width, height = self.size
        if self.fourcc not in ("BGR3", "RGB3") or decoded.size != width * height * 3:
            return None
        picture = decoded.reshape(height, width, 3)
        return picture if self.fourcc == "BGR3" else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)

    def _is_stale(self, now_ns: int) -> bool:
        """Whether the picture lay in its buffer while a newer one came.

        Where the driver stamps its buffers (V4L2): by how much more time has passed since the
        stamp than in the best case seen, so that the stamp's meaning and clock do not matter.
        """
        stamp_ms = self._device.get(cv2.CAP_PROP_POS_MSEC) if self._camera.path else 0.0
        if stamp_ms <= self._stamp_ms:  # no stamps, or useless ones
            return False
        self._stamp_ms = stamp_ms
        delay_ms = now_ns / 1e6 - stamp_ms
        self._least_delay_ms = min(delay_ms, self._least_delay_ms)
        return delay_ms > self._least_delay_ms + _STALE_MS

    def close(self) -> None:
        self._device.release()


def _open(camera: CameraInfo) -> cv2.VideoCapture:
    if camera.path is not None:
        device = cv2.VideoCapture(camera.path, cv2.CAP_V4L2)
        remedy = "" if device.isOpened() else v4l2.why_not(camera.path)
    elif sys.platform == "win32":
        device = cv2.VideoCapture(camera.index, cv2.CAP_DSHOW)
        remedy = "close other programs that use it, and allow camera access in Settings > Privacy"
    else:
        device = cv2.VideoCapture(camera.index)
        remedy = (
            "close other programs that use it, and allow the terminal to use the camera in "
            "System Settings > Privacy & Security"
        )
    if not device.isOpened():
        device.release()
        raise SourceError(f"cannot open the camera {camera.name}: {remedy}")
    return device


def _fourcc(value: float) -> str:
    return int(value).to_bytes(4, "little", signed=False).decode("latin-1").strip("\0 ")
