"""Which of several faces is the driver's, and staying with it.

The video graph of MediaPipe follows one face cheaply (no detection while it holds), but takes
up any face when it starts or has lost its own. So whenever it has taken up a face, all faces
are looked for once; if there are others and it took the wrong one, it is shown one picture
in which only the right face is left, and follows that from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from puppet.contract import Frame, Landmarks, Observation, Rgb
from puppet.track.mesh import Mesh
from puppet.track.teeth import measure_teeth

REMEMBER_NS = 3_000_000_000
"""After this long without the face, the largest face is the driver, not the nearest."""
SAME_FACE_OVERLAP = 0.2
"""Two boxes of one face in successive pictures overlap by at least this (intersection/union)."""


@dataclass(frozen=True, slots=True)
class Box:
    """A face's bounding box in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    @property
    def size(self) -> float:
        return max(self.right - self.left, self.bottom - self.top)


def face_box(face: Landmarks) -> Box:
    low, high = face.points[:, :2].min(axis=0), face.points[:, :2].max(axis=0)
    return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0..1."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one.area + other.area - shared)


def choose_face(boxes: Sequence[Box], last: Box | None) -> int:
    """Index of the driver among `boxes` (not empty): nearest to `last`, else the largest.

    Nearest counts distance and change of size alike, in units of the last face's size; a box
    that overlaps is always before one that does not.
    """
    if last is None:
        return max(range(len(boxes)), key=lambda i: boxes[i].area)

    def strangeness(i: int) -> tuple[bool, float]:
        box = boxes[i]
        (x, y), (last_x, last_y) = box.centre, last.centre
        distance = float(np.hypot(x - last_x, y - last_y)) / max(last.size, 1.0)
        growth = abs(float(np.log(max(box.size, 1.0) / max(last.size, 1.0))))
        return overlap(box, last) == 0.0, distance + growth

    return min(range(len(boxes)), key=strangeness)


class FollowingTracker:
    """The Tracker contract over two meshes: `video` follows one face, `everyone` finds all.

    Owns both meshes. Used by one thread.
    """

    def __init__(self, video: Mesh, everyone: Mesh | None) -> None:
        self.name = video.name
        self._video = video
        self._everyone = everyone
        self._last: Box | None = None
        self._seen_at_ns = 0
        self._holding = False
        self._time_ns = -1

    def track(self, frame: Frame) -> Observation:
        """One frame's landmarks; they are a new array that the caller owns."""
        # Cameras and clocks may repeat a stamp; the graph's must strictly increase.
        self._time_ns = max(self._time_ns + 1, frame.captured_at_ns)
        face = self._find_one(frame.rgb)
        if face is None:
            self._holding = False
        else:
            self._last = face_box(face)
            self._seen_at_ns = self._time_ns
            self._holding = True
            face = replace(face, teeth=measure_teeth(frame.rgb, face.points))
        return Observation(face, frame.captured_at_ns, frame.index)

    def _find_one(self, rgb: Rgb) -> Landmarks | None:
        found = self._video.find(rgb, self._time_ns)
        if not found:
            return None
        face = found[0]
        if self._everyone is None or (self._holding and self._is_last(face)):
            return face
        return self._settle_on_driver(rgb, face)

    def _is_last(self, face: Landmarks) -> bool:
        return self._last is not None and overlap(face_box(face), self._last) >= SAME_FACE_OVERLAP

    def _settle_on_driver(self, rgb: Rgb, taken: Landmarks) -> Landmarks | None:
        """The video graph has just taken up `taken`: is it the driver?"""
        assert self._everyone is not None
        faces = self._everyone.find(rgb, self._time_ns)
        if len(faces) < 2:
            return taken
        recent = self._time_ns - self._seen_at_ns < REMEMBER_NS
        boxes = [face_box(face) for face in faces]
        driver = choose_face(boxes, self._last if recent else None)
        if overlap(boxes[driver], face_box(taken)) >= SAME_FACE_OVERLAP:
            return taken
        # Nothing to see: the graph lets go. Then only the driver's face: it takes that up.
        for picture in (np.zeros_like(rgb), only_face(rgb, boxes, driver)):
            self._time_ns += 1
            seen = self._video.find(picture, self._time_ns)
        return seen[0] if seen else faces[driver]

    def close(self) -> None:
        self._video.close()
        if self._everyone is not None:
            self._everyone.close()


def only_face(rgb: Rgb, boxes: Sequence[Box], keep: int) -> Rgb:
    """A copy of the picture with every other face blanked and `keep` with its surroundings."""
    picture = rgb.copy()
    grown = _grown(boxes[keep], 0.35, rgb)
    kept = rgb[grown].copy()
    for i, box in enumerate(boxes):
        if i != keep:
            picture[_grown(box, 0.35, rgb)] = 0
    picture[grown] = kept
    for i, box in enumerate(boxes):
        if i != keep and overlap(box, boxes[keep]) == 0.0:
            picture[_grown(box, 0.0, rgb)] = 0
    return picture


def _grown(box: Box, share: float, rgb: Rgb) -> tuple[slice, slice]:
    more = box.size * share
    height, width = rgb.shape[:2]

    def clip(low: float, high: float, end: int) -> slice:
        return slice(int(np.clip(low - more, 0, end)), int(np.clip(high + more, 0, end)))

    return clip(box.top, box.bottom, height), clip(box.left, box.right, width)
