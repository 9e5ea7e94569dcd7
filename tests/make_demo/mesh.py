"""Triangle meshes, and bending a painted layer from one set of points to another."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.make_demo.topology import LIPS_INNER, eye_ring

Shape = NDArray[np.float64]
Triangles = NDArray[np.int64]
Layer = NDArray[np.uint8]  # (H, W, 4), colour premultiplied by alpha
_FINE = 4  # sub-pixel bits of cv2's polygon filling


@dataclass(frozen=True)
class View:
    """Where face units lie in a picture."""

    width: int
    height: int
    unit: float  # pixels per face unit
    x: float  # pixel of the origin
    y: float

    def pixels(self, points: Shape) -> Shape:
        """(N, 2 or 3) face units to (N, 2) pixels."""
        return np.asarray(points[:, :2] * self.unit + [self.x, self.y], dtype=np.float64)

    def grid(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The face units of every pixel: x and y, (H, W) each."""
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
        return (x - self.x) / self.unit, (y - self.y) / self.unit


def delaunay(points: Shape) -> Triangles:
    """Triangulate (N, 2) points; (M, 3) indices."""
    fine = (points - points.min(0)) * 1000 + 10
    width, height = (fine.max(0) + 10).astype(int)
    subdivision = cv2.Subdiv2D((0, 0, int(width), int(height)))
    number: dict[int, int] = {}
    for i, (x, y) in enumerate(fine):
        number.setdefault(subdivision.insert((float(x), float(y))), i)
    corners = subdivision.getTriangleList().reshape(-1, 3, 2)
    inside = ((corners > 0) & (corners < [width, height])).all(axis=(1, 2))
    found = [
        [number[subdivision.locate((float(x), float(y)))[2]] for x, y in corner]
        for corner in corners[inside]
    ]
    return np.array(found, dtype=np.int64)


def face_triangles(template: Shape) -> Triangles:
    """Triangles of the face (and what lies around it) without the eyes' and mouth's openings."""
    triangles = delaunay(template[:, :2])
    openings = [set(ring.tolist()) for ring in (eye_ring("right"), eye_ring("left"), LIPS_INNER)]
    keep = [not any(set(t) <= hole for hole in openings) for t in triangles.tolist()]
    return triangles[np.array(keep)]


def bend(
    layer: Layer, source: Shape, target: Shape, depth: Shape, triangles: Triangles, view: View
) -> Layer:
    """Paint `layer` (whose points lie at `source` pixels) with its points at `target` pixels.

    Nearer triangles (smaller `depth`, one per point) hide farther ones.
    """
    order = np.argsort(-depth[triangles].mean(1))
    which = np.zeros((view.height, view.width), np.int32)
    corners = target[triangles]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    fixed = np.round(corners * (1 << _FINE)).astype(np.int32)
    for rank in order:
        if abs(area[rank]) > 1e-3:
            cv2.fillConvexPoly(which, fixed[rank], int(rank) + 1, shift=_FINE)
    ys, xs = np.nonzero(which)
    chosen = which[ys, xs] - 1
    one = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], axis=2)
    one[np.abs(area) <= 1e-3] = np.eye(3)
    affine = np.linalg.solve(one, source[triangles]).astype(np.float32)
    place = affine[chosen]
    x = xs.astype(np.float32)[:, None]
    y = ys.astype(np.float32)[:, None]
    where = place[:, 0] * x + place[:, 1] * y + place[:, 2]
    maps = np.full((view.height, view.width, 2), -1e4, np.float32)
    maps[ys, xs] = where
    bent = cv2.remap(
        layer, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    return np.asarray(bent, dtype=np.uint8)


def heights(points: Shape, values: Shape, triangles: Triangles, view: View) -> NDArray[np.float32]:
    """Values at points, spread linearly over triangles; (H, W), NaN where there is none."""
    pixels = view.pixels(points)
    out = np.full((view.height, view.width), np.nan, np.float32)
    for triangle in triangles:
        corner = pixels[triangle]
        x0, y0 = np.maximum(np.floor(corner.min(0)).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(corner.max(0)).astype(int) + 1, [view.width, view.height])
        if x1 <= x0 or y1 <= y0:
            continue
        y, x = np.mgrid[y0:y1, x0:x1]
        matrix = np.vstack([corner.T, np.ones(3)])
        if abs(np.linalg.det(matrix)) < 1e-9:
            continue
        share = np.linalg.solve(matrix, np.stack([x.ravel(), y.ravel(), np.ones(x.size)]))
        inside = (share > -1e-6).all(0).reshape(x.shape)
        value = (values[triangle] @ share).reshape(x.shape)
        out[y0:y1, x0:x1][inside] = value[inside]
    return out


def over(below: Layer, above: Layer) -> Layer:
    """Lay one premultiplied layer over another; both (H, W, 4) or (H, W, 3) below."""
    keep = 255 - above[:, :, 3:].astype(np.uint16)
    mixed = (below.astype(np.uint16) * keep + 127) // 255 + above[:, :, : below.shape[2]]
    return np.minimum(mixed, 255).astype(np.uint8)
