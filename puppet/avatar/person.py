"""Where in a picture the person is: a rough probability map, from a network or from colours.

MediaPipe's selfie segmentation (in the 0.10.21 wheel) works on photos and, surprisingly well, on
paintings and statues. Where it is not available or its answer cannot be a head, GrabCut (Rother
et al., SIGGRAPH 2004) finds the person from a head-and-shoulders shape around the face.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.avatar.framing import FACE_OVAL, CropBox, cut, oval_mask, paste_matrix
from puppet.contract import Landmarks, Rgb
from puppet.track.quiet import quiet_environment, without_chatter

_SEEN = 512


class Segmenter:
    """MediaPipe's selfie segmentation; `available` tells whether it is there."""

    def __init__(self) -> None:
        self._graph: Any = None
        quiet_environment()
        try:
            from mediapipe.python.solutions import selfie_segmentation
        except ImportError:  # later releases of MediaPipe have no solutions
            return
        with without_chatter():
            self._graph = selfie_segmentation.SelfieSegmentation(model_selection=0)
            self._graph.process(np.zeros((64, 64, 3), np.uint8))

    @property
    def available(self) -> bool:
        return self._graph is not None

    def person(self, rgb: Rgb) -> NDArray[np.float32]:
        """Probability 0..1, (H, W) float32: the mean of the picture's and its mirror's answer."""
        straight = self._graph.process(rgb).segmentation_mask
        mirrored = self._graph.process(np.ascontiguousarray(rgb[:, ::-1])).segmentation_mask
        mean = (np.asarray(straight) + np.asarray(mirrored)[:, ::-1]) / 2
        return np.asarray(np.clip(mean, 0, 1), np.float32)

    def close(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()


def person_in_crop(segmenter: Segmenter, crop: Rgb, face: Landmarks) -> NDArray[np.float32]:
    """Probability (H, W) float32 of the person whose `face` is in the square `crop`."""
    if segmenter.available:
        found = _own_part(segmenter.person(crop), oval_mask(face))
        if believable(found, face):
            return found
    return _by_colours(crop, face)


def person_in_picture(
    segmenter: Segmenter, picture: Rgb, box: CropBox, in_crop: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Probability (H, W) float32 in the whole picture; `in_crop` rules inside the crop."""
    height, width = picture.shape[:2]
    inside = _pasted(in_crop, box, width, height)
    known = _covers(box, width, height)
    inside[~known] = 0
    if known.all():
        return inside
    centre_x, centre_y = box.x + box.side / 2, box.y + box.side / 2
    around = np.zeros((height, width), np.float32)
    covered = np.zeros((height, width), np.float32)
    for side in _growing_sides(box.side, max(height, width)):
        # Bodies are below faces: the view grows downwards more than upwards.
        view = CropBox(centre_x - side / 2, centre_y - side * 0.42, side)
        if segmenter.available:
            seen = segmenter.person(np.asarray(cut(picture, view, _SEEN), np.uint8))
        else:
            seen = _continued(in_crop, box, view)
        share = (1 - covered) * _sureness(view, width, height)
        around += share * _pasted(seen, view, width, height)
        covered += share
    around /= np.maximum(covered, 1e-3)
    # A soft hand-over from the crop's answer to the wider views'.
    near = np.clip(cv2.distanceTransform(known.astype(np.uint8), cv2.DIST_L2, 3), 0, None)
    trust = np.clip(np.asarray(near, np.float32) / max(1.0, 0.06 * box.side), 0, 1)
    trust[known & _outside_margin(box, width, height)] = 1.0
    mixed = trust * inside + (1 - trust) * around
    return _own_part(mixed.astype(np.float32), (inside > 0.9).astype(np.uint8))


def _outside_margin(box: CropBox, width: int, height: int) -> NDArray[np.bool_]:
    """Pixels of the crop whose nearest crop edge is the picture's own edge or beyond."""

    def along(start: float, length: int) -> NDArray[np.bool_]:
        at = np.arange(length)
        clear = np.ones(length, np.bool_)
        if start > 0:
            clear &= at - start >= 0.06 * box.side
        if start + box.side < length:
            clear &= start + box.side - at >= 0.06 * box.side
        return clear

    return np.asarray(np.outer(along(box.y, height), along(box.x, width)), np.bool_)


def _growing_sides(start: float, longest: float) -> list[float]:
    sides = [start * 1.6]
    while sides[-1] < 2 * longest and len(sides) < 6:
        sides.append(sides[-1] * 1.6)
    return sides


def _pasted(
    values: NDArray[np.float32], box: CropBox, width: int, height: int
) -> NDArray[np.float32]:
    matrix = paste_matrix(box, values.shape[0])
    size = (width, height)
    pasted = cv2.warpAffine(
        values, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(pasted, np.float32)


def _sureness(view: CropBox, width: int, height: int) -> NDArray[np.float32]:
    """1 inside a view, falling to 0 at its edges and outside: views hand over softly."""

    def along(start: float, length: int) -> NDArray[np.float64]:
        inside = np.minimum(np.arange(length) - start, start + view.side - 1 - np.arange(length))
        return np.clip(inside / (0.12 * view.side), 0, 1)

    return np.outer(along(view.y, height), along(view.x, width)).astype(np.float32)


def _covers(box: CropBox, width: int, height: int) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[0:height, 0:width]
    across = (columns >= box.x) & (columns <= box.x + box.side - 1)
    return np.asarray(across & (rows >= box.y) & (rows <= box.y + box.side - 1), np.bool_)


def _continued(in_crop: NDArray[np.float32], box: CropBox, view: CropBox) -> NDArray[np.float32]:
    """The crop's last row carried on downwards: a body, where nothing can look for one."""
    size = _SEEN
    scale = size / view.side
    matrix = np.array(
        [
            [box.side / in_crop.shape[0] * scale, 0, (box.x - view.x) * scale],
            [0, box.side / in_crop.shape[0] * scale, (box.y - view.y) * scale],
        ],
        np.float64,
    )
    body = cv2.warpAffine(
        in_crop, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    crop_top = int(max(0, (box.y - view.y) * scale))
    body[:crop_top] = 0
    return np.asarray(body, np.float32)


def _own_part(person: NDArray[np.float32], seed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Only the connected part that holds `seed`, without holes: no neighbours, no furniture."""
    solid = (person > 0.5).astype(np.uint8)
    solid[seed > 0] = 1
    count, parts = cv2.connectedComponents(solid)
    own = np.zeros_like(solid)
    touched = np.unique(parts[seed > 0])
    for part in touched[touched > 0]:
        own[parts == part] = 1
    if count <= 1 or not own.any():
        return person
    contours, _ = cv2.findContours(own, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(own)
    cv2.drawContours(filled, contours, -1, (1,), cv2.FILLED)
    small_hole = _small_holes((filled & (1 - own)).astype(np.uint8), limit=own.size // 150)
    near = cv2.dilate(own, np.ones((9, 9), np.uint8))
    kept = np.where(near > 0, person, 0.0)
    kept = np.where(small_hole | (seed > 0), np.maximum(kept, 0.95), kept)
    return kept.astype(np.float32)


def _small_holes(holes: NDArray[np.uint8], limit: int) -> NDArray[np.bool_]:
    count, parts, stats, _ = cv2.connectedComponentsWithStats(holes)
    small = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] <= limit]
    return np.isin(parts, small)


def believable(person: NDArray[np.float32], face: Landmarks) -> bool:
    """Whether a mask can be this head: covers the face, has a neck, and is not everything."""
    solid = person > 0.5
    oval = oval_mask(face) > 0
    if not oval.any() or solid[oval].mean() < 0.9:
        return False
    points = face.points[list(FACE_OVAL), :2]
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    width, height = float(right - left), float(bottom - top)
    rows = slice(int(min(bottom + 0.02 * height, face.height - 2)), None)
    columns = slice(int(max(left + 0.2 * width, 0)), int(max(right - 0.2 * width, 1)))
    neck = solid[rows, columns][: max(1, int(0.15 * height))]
    if neck.size and neck.mean() < 0.4:
        return False
    share = float(solid.mean())
    return 1.1 * float(oval.mean()) < share < 0.93


def _by_colours(crop: Rgb, face: Landmarks) -> NDArray[np.float32]:
    """GrabCut, started from the face oval, hair around it, neck and shoulders below it."""
    side = 256
    small = np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    points = face.points[list(FACE_OVAL), :2] * (side / face.width)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    x, y = float(left + right) / 2, float(top + bottom) / 2
    wide, high = float(right - left), float(bottom - top)

    labels = np.full((side, side), cv2.GC_BGD, np.uint8)
    _ellipse(labels, x, y - 0.12 * high, 1.05 * wide, 0.98 * high, cv2.GC_PR_BGD)
    cv2.rectangle(labels, (0, int(y + 0.2 * high)), (side, side), (cv2.GC_PR_BGD,), cv2.FILLED)
    _ellipse(labels, x, y - 0.1 * high, 0.64 * wide, 0.68 * high, cv2.GC_PR_FGD)
    shoulders = np.array(
        [
            (x - 0.32 * wide, y + 0.4 * high),
            (x + 0.32 * wide, y + 0.4 * high),
            (x + 0.4 * wide, y + 0.68 * high),
            (x + 1.25 * wide, y + 0.98 * high),
            (x + 1.35 * wide, side + 2.0),
            (x - 1.35 * wide, side + 2.0),
            (x - 1.25 * wide, y + 0.98 * high),
            (x - 0.4 * wide, y + 0.68 * high),
        ]
    )
    cv2.fillPoly(labels, [np.round(shoulders).astype(np.int32)], (cv2.GC_PR_FGD,))
    cv2.fillPoly(labels, [np.round(points).astype(np.int32)], (cv2.GC_FGD,))
    prior = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    models = np.zeros((1, 65), np.float64), np.zeros((1, 65), np.float64)
    cv2.setRNGSeed(1)  # GrabCut starts from random clusters; the same picture, the same matte
    cv2.grabCut(
        np.ascontiguousarray(small[:, :, ::-1]),
        labels,
        (0, 0, 1, 1),
        *models,
        6,
        cv2.GC_INIT_WITH_MASK,
    )
    cutout = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    cutout = np.asarray(cv2.morphologyEx(cutout, cv2.MORPH_OPEN, np.ones((3, 3))), np.float32)
    rough = np.asarray(cv2.GaussianBlur(cutout, (0, 0), 2.0), np.float32)
    rough = np.asarray(cv2.resize(rough, (face.width, face.height)), np.float32)
    found = _own_part(rough, oval_mask(face))
    if believable(found, face):
        return found
    plain = np.asarray(cv2.GaussianBlur(prior, (0, 0), 3.0), np.float32)
    return np.asarray(cv2.resize(plain, (face.width, face.height)), np.float32)


def _ellipse(
    labels: NDArray[np.uint8], x: float, y: float, half_wide: float, half_high: float, value: int
) -> None:
    axes = (max(1, round(half_wide)), max(1, round(half_high)))
    cv2.ellipse(labels, (round(x), round(y)), axes, 0, 0, 360, (value,), cv2.FILLED)
