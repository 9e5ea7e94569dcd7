"""JPEGs for the panel: the portrait, and the driver's landmarks as the contours picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from puppet.contract import Landmarks, Observation, Rgb
from puppet.draw import draw_contours
from puppet.studio.taps import DriverTap, PanelSink

LONGEST_SIDE = 512
QUALITY = 80
DRIVER_SIDE = 256
_FACE_SHARE = 0.42  # of the driver's window that the face takes
_INKS = np.array([[150, 165, 255], [100, 240, 190], [255, 130, 150]], np.float32).T / 255
"""Columns: the colour of the face's lines, of the eyes, of the mouth. The drawing itself has them
in pure red, green and blue; blue lips on black are hardly seen."""
_FOLLOW = 0.08  # how fast the window follows: head movement shall be seen in it


@dataclass(frozen=True, slots=True)
class Window:
    """A square of the driver's picture, in its pixels."""

    x: float
    y: float
    side: float


class PanelPictures:
    """Encodes what the taps hold; each picture once, for however many viewers. One thread."""

    def __init__(self, panel: PanelSink, driver: DriverTap) -> None:
        self._panel = panel
        self._driver = driver
        self._portrait: tuple[int, bytes] = (-1, b"")
        self._sketch: tuple[int, bytes] = (-1, b"")
        self._window: Window | None = None
        self._window_of: tuple[int, int] = (0, 0)

    def portrait(self) -> tuple[int, bytes] | None:
        """(number, JPEG) of the newest composed picture."""
        newest = self._panel.newest
        if newest is None:
            return None
        number, picture = newest
        if self._portrait[0] != number:
            self._portrait = (number, encode_jpeg(fit(picture.rgb, LONGEST_SIDE)))
        return self._portrait

    def driver(self) -> tuple[int, bytes] | None:
        """(number, JPEG) of the driver: contours, over their picture only if that is on."""
        newest = self._driver.newest
        if newest is None:
            return None
        number, observation, rgb = newest
        if self._sketch[0] != number:
            self._sketch = (number, encode_jpeg(self._draw(observation, rgb)))
        return self._sketch

    def _draw(self, observation: Observation, rgb: Rgb | None) -> Rgb:
        face = observation.landmarks
        if face is not None:
            self._window = follow(self._window, face, (face.width, face.height) != self._window_of)
            self._window_of = (face.width, face.height)
        elif rgb is not None and self._window is None:
            side = float(min(rgb.shape[:2]))
            self._window = Window((rgb.shape[1] - side) / 2, (rgb.shape[0] - side) / 2, side)
        if self._window is None:
            return np.zeros((DRIVER_SIDE, DRIVER_SIDE, 3), np.uint8)
        lines = None if face is None else contours_in(face, self._window)
        if rgb is None:
            return np.zeros((DRIVER_SIDE, DRIVER_SIDE, 3), np.uint8) if lines is None else lines
        below = cut_window(rgb, self._window)
        return below if lines is None else np.asarray(cv2.add(below, lines), np.uint8)


def follow(window: Window | None, face: Landmarks, jump: bool = False) -> Window:
    """The window moved a little towards the face; straight there the first time."""
    low, high = face.points[:, :2].min(0), face.points[:, :2].max(0)
    height = float(high[1] - low[1])
    side = min(max(height / _FACE_SHARE, 32.0), 2.0 * max(face.width, face.height))
    centre = (low + high) / 2
    wanted = Window(float(centre[0]) - side / 2, float(centre[1]) - side / 2, side)
    if window is None or jump:
        return wanted
    return Window(
        window.x + _FOLLOW * (wanted.x - window.x),
        window.y + _FOLLOW * (wanted.y - window.y),
        window.side + _FOLLOW * (wanted.side - window.side),
    )


def contours_in(face: Landmarks, window: Window) -> Rgb:
    """(256, 256, 3) uint8 RGB: the face's lines in the window."""
    points = face.points.copy()
    points[:, :2] = (points[:, :2] - (window.x, window.y)) * (2 / window.side) - 1
    return np.asarray(cv2.transform(draw_contours(points), _INKS), np.uint8)


def cut_window(rgb: Rgb, window: Window) -> Rgb:
    """(256, 256, 3): the window of the picture; black outside of it."""
    scale = DRIVER_SIDE / window.side
    move = np.array([[scale, 0, -window.x * scale], [0, scale, -window.y * scale]])
    return np.asarray(cv2.warpAffine(rgb, move, (DRIVER_SIDE, DRIVER_SIDE)), np.uint8)


def fit(rgb: Rgb, longest: int) -> Rgb:
    """The picture with at most `longest` pixels on its longer side."""
    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return rgb
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(rgb: Rgb) -> bytes:
    _, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )
    return jpeg.tobytes()
