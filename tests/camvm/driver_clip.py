"""The clip that the webcam of the camera machine shows: a face that moves, then one that jumps."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

WIDTH, HEIGHT, FPS = 640, 480, 30
_STILL_S = 1.2
_JUMPS = 4


def make_driver_clip(face_clip: Path, out: Path, seconds: float = 3.0) -> Path:
    """The face clip's beginning, then two of its faces in turn, each for `_STILL_S`.

    The jumps between the two can be found again in the portrait: that is how the delay of the
    whole program is measured.
    """
    frames = _frames(face_clip, round(seconds * FPS))
    small = np.stack([f[::8, ::8].astype(np.int16) for f in frames])
    difference = np.abs(small - small[0]).mean(axis=(1, 2, 3))
    other = frames[int(difference.argmax())]
    still = round(_STILL_S * FPS)
    frames += ([frames[0]] * still + [other] * still) * _JUMPS
    with av.open(str(out), "w") as file:
        video = file.add_stream("mjpeg", rate=FPS, options={"qmin": "2", "qmax": "4"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for frame in frames:
            file.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(video.encode(None))
    return out


def _frames(clip: Path, count: int) -> list[np.ndarray]:
    """`count` pictures at FPS, fitted into the webcam's picture with grey beside them."""
    found: list[np.ndarray] = []
    with av.open(str(clip)) as file:
        for frame in file.decode(video=0):
            while len(found) < count and (frame.time or 0.0) >= len(found) / FPS - 1e-3:
                found.append(_fitted(frame.to_ndarray(format="rgb24")))
            if len(found) == count:
                break
    return found


def _fitted(rgb: np.ndarray) -> np.ndarray:
    scale = min(WIDTH / rgb.shape[1], HEIGHT / rgb.shape[0])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    out = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
    y, x = (HEIGHT - small.shape[0]) // 2, (WIDTH - small.shape[1]) // 2
    out[y : y + small.shape[0], x : x + small.shape[1]] = small
    return out
