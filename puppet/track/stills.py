"""All faces of one still picture: photos, paintings, statues, small faces, faces that fill it.

The face detector of MediaPipe sees the whole picture at 128x128, so a face has to be about a
fifth of it and have some air around it. Pictures are therefore tried as they are, with a
margin, and in overlapping tiles; each face found is then measured again in a crop framed
around it, where the mesh is at its best, and at last followed as if it were a video that stands
still.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from puppet.contract import Landmarks, Rgb
from puppet.track.follow import face_box, overlap
from puppet.track.mesh import Mesh, MeshFactory

MAX_FACES = 8
_SEEN_SIDE = 1280  # more pixels than this help no model; fewer are faster
_FACE_CROP = 2.0  # side of the crop a face is measured in, in units of the face
_LARGE_FACE = 0.2  # of the picture's longer side
_SMALLEST_FACE = 16  # pixels; smaller finds are texture
_SAME = 0.4  # overlap of two finds of one face
_LOOKS_TO_SETTLE, _LOOKS_KEPT = 6, 4
_FRAME_NS = 33_000_000


@dataclass(frozen=True, slots=True)
class _View:
    """A part of the picture as the detector is shown it."""

    x: float
    y: float
    scale: float  # view pixels per picture pixel
    rgb: Rgb

    def to_picture(self, face: Landmarks, width: int, height: int) -> Landmarks:
        points = face.points / np.float32(self.scale)
        points[:, :2] += np.array([self.x, self.y], np.float32)
        return Landmarks(np.ascontiguousarray(points, np.float32), width, height)


def search_faces(mesh: Mesh, rgb: Rgb) -> list[Landmarks]:
    """All faces, largest first, in the pixels of `rgb` ((H, W, 3) uint8)."""
    height, width = rgb.shape[:2]
    found: list[Landmarks] = []
    rounds = (_whole(rgb), _tiles(rgb, 2), _contrasty(rgb), _tiles(rgb, 3), _tiles(rgb, 8))
    for round_of_views in rounds:
        for view in round_of_views:
            for face in mesh.find(view.rgb, 0):
                placed = view.to_picture(face, width, height)
                if _plausible(placed) and not _known(placed, found):
                    found.append(placed)
        # One large face: whoever is small behind it does not matter. Else look closer once.
        if any(face_box(face).size >= _LARGE_FACE * max(width, height) for face in found):
            break
        if found and round_of_views is not rounds[0]:
            break
    measured = [_measure_again(mesh, rgb, face) for face in found]
    if round_of_views is not rounds[0]:
        # Looking this closely also finds faces in clouds: only what holds in a mirror is one.
        measured = [face for face in measured if _holds_mirrored(mesh, rgb, face)]
    unique: list[Landmarks] = []
    for face in sorted(measured, key=lambda f: -face_box(f).area):
        if not _known(face, unique):
            unique.append(face)
    return unique[:MAX_FACES]


def settle_face(open_mesh: MeshFactory, rgb: Rgb, face: Landmarks) -> Landmarks:
    """The same face, measured as a driver's is: followed until its landmarks rest.

    A search frames the mesh by the detector's box; following frames it by the landmarks found
    before, which settles within six looks. The two differ by 0.4 to 3.6 % of the distance of the
    eyes (0.8 % in the median of 19 portraits, tried once): a portrait measured the one way and
    driven by a face measured the other is bent at rest already. Some faces are seen in two ways
    by turns, so that several looks are averaged. Where the mesh loses the face or takes up
    another, `face` as it was.
    """
    view = _view_of(rgb, face)
    height, width = rgb.shape[:2]
    mesh = open_mesh(still=False, max_faces=1, confidence=0.5)
    looks: list[Landmarks] = []
    try:
        for look in range(_LOOKS_TO_SETTLE + _LOOKS_KEPT):
            looks += mesh.find(view.rgb, look * _FRAME_NS)
    finally:
        mesh.close()
    if len(looks) < _LOOKS_TO_SETTLE + _LOOKS_KEPT:
        return face
    kept = np.stack([look.points for look in looks[-_LOOKS_KEPT:]])
    mean = Landmarks(kept.mean(axis=0), looks[-1].width, looks[-1].height)
    settled = view.to_picture(mean, width, height)
    return settled if overlap(face_box(settled), face_box(face)) > _SAME else face


def _plausible(face: Landmarks) -> bool:
    box = face_box(face)
    inside = (
        (face.points[:, 0] >= -0.5 * box.size)
        & (face.points[:, 0] <= face.width + 0.5 * box.size)
        & (face.points[:, 1] >= -0.5 * box.size)
        & (face.points[:, 1] <= face.height + 0.5 * box.size)
    )
    return box.size >= _SMALLEST_FACE and bool(inside.all())


def _known(face: Landmarks, others: list[Landmarks]) -> bool:
    box = face_box(face)
    return any(overlap(box, face_box(other)) > 0.3 for other in others)


def _cut(rgb: Rgb, x: float, y: float, side_x: float, side_y: float) -> _View:
    """A view of a box of the picture, which may reach outside; at most _SEEN_SIDE pixels wide."""
    scale = min(1.0, _SEEN_SIDE / max(side_x, side_y))
    if max(side_x, side_y) < 256:
        scale = 256 / max(side_x, side_y)
    size = (max(1, round(side_x * scale)), max(1, round(side_y * scale)))
    if scale < 0.5:  # cv2.warpAffine has no area filter; shrink first
        small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix = np.array([[1, 0, -x * scale], [0, 1, -y * scale]], np.float64)
        source = small
    else:
        matrix = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]], np.float64)
        source = rgb
    view = cv2.warpAffine(
        source,
        matrix,
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(127, 127, 127),
    )
    return _View(x, y, scale, np.asarray(view, np.uint8))


def _view_of(rgb: Rgb, face: Landmarks) -> _View:
    """A square around a face, in whole pixels so that it is cut and not resampled."""
    box = face_box(face)
    side = round(box.size * _FACE_CROP)
    x, y = box.centre
    return _cut(rgb, round(x - side / 2), round(y - side / 2), side, side)


def _whole(rgb: Rgb) -> Iterator[_View]:
    height, width = rgb.shape[:2]
    yield _cut(rgb, 0, 0, width, height)
    margin = 0.5 * max(width, height)
    yield _cut(rgb, -margin, -margin, width + 2 * margin, height + 2 * margin)


def _tiles(rgb: Rgb, parts: int) -> Iterator[_View]:
    """Half-overlapping square tiles of 1/parts of the longer side."""
    height, width = rgb.shape[:2]
    side = max(width, height) / parts
    for top in np.arange(-side / 2, height, side / 2):
        for left in np.arange(-side / 2, width, side / 2):
            if left + side > 0.25 * side and top + side > 0.25 * side:
                yield _cut(rgb, float(left), float(top), side, side)


def _contrasty(rgb: Rgb) -> Iterator[_View]:
    """Statues, faded paintings: local contrast raised, with and without margin."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=4.0, tileGridSize=(6, 6)).apply(lab[:, :, 0])
    yield from _whole(np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8))


def _holds_mirrored(mesh: Mesh, rgb: Rgb, face: Landmarks) -> bool:
    """Whether the same face is found in the mirror image of its surroundings."""
    box = face_box(face)
    view = _view_of(rgb, face)
    mirrored = np.ascontiguousarray(view.rgb[:, ::-1])
    for seen in mesh.find(mirrored, 0):
        seen.points[:, 0] = view.rgb.shape[1] - seen.points[:, 0]
        if overlap(face_box(view.to_picture(seen, face.width, face.height)), box) > 0.5:
            return True
    return False


def _measure_again(mesh: Mesh, rgb: Rgb, face: Landmarks) -> Landmarks:
    """The same face, found in a crop made for it; as it was where that fails."""
    box = face_box(face)
    view = _view_of(rgb, face)
    height, width = rgb.shape[:2]
    again = [view.to_picture(seen, width, height) for seen in mesh.find(view.rgb, 0)]
    same = [seen for seen in again if overlap(face_box(seen), box) > _SAME]
    return max(same, key=lambda seen: overlap(face_box(seen), box)) if same else face
