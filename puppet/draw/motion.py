"""The coarse motion: from driving landmarks back to the portrait's own, as a smooth field.

For every cell of the output the field holds where in the portrait its colour comes from. It is
a least-squares affine part (head motion), which fades away outside the head, plus what the
affine part leaves at each landmark, spread by normalised convolution (Knutsson and Westin 1993)
from wide to narrow kernels, each level taking up what the wider ones left over, in the manner
of multilevel scattered-data approximation (Lee, Wolberg and Shin 1997). Splatting 478 points
and blurring a small grid costs a fraction of a dense kernel sum.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.contract import MOTION_SIZE
from puppet.landmarks import (
    FACE_OVAL,
    LEFT_EYE,
    LEFT_IRIS_CENTRE,
    LEFT_IRIS_RIM,
    LEFT_LID_PAIRS,
    LIPS_INNER,
    LIPS_OUTER,
    RIGHT_EYE,
    RIGHT_IRIS_CENTRE,
    RIGHT_IRIS_RIM,
    RIGHT_LID_PAIRS,
)

# From wide to narrow: (cells across the level's grid, kernel width in those cells, how little
# of one landmark's peak weight a cell may feel before the level lets go of it).
LEVELS = ((32, 2.9, 0.05), (64, 1.9, 0.1), (128, 1.5, 0.25))
# Lids and lips are set once more, sharper; elsewhere so narrow a kernel would only draw bumps.
OPENINGS_LEVEL = (128, 1.0, 0.25)

# The head's reach around the face oval, in half-widths and half-heights of the oval: the affine
# part is whole inside INNER and gone outside OUTER. Hair needs room above, shoulders stay below.
INNER = (1.2, 1.3, 1.0)  # sideways, up, down
OUTER = (2.0, 2.2, 1.6)

TRAVEL_ROOM = 4.0
"""Widening of the transition per length travelled; measured best on unseen clips from 0 to 5."""

_OVAL = np.array(FACE_OVAL)
_OPENINGS = np.array((*RIGHT_EYE, *LEFT_EYE, *LIPS_OUTER, *LIPS_INNER))
_IRISES = tuple(
    (pairs[3], centre, np.array(rim))
    for pairs, centre, rim in (
        (RIGHT_LID_PAIRS, RIGHT_IRIS_CENTRE, RIGHT_IRIS_RIM),
        (LEFT_LID_PAIRS, LEFT_IRIS_CENTRE, LEFT_IRIS_RIM),
    )
)
"""Of each eye: the lids' middle, the iris's centre and rim."""
MESH = 468  # points of the face mesh; the irises after them move on their own

Field = NDArray[np.float32]


def coarse_motion(
    driving: NDArray[np.float32], portrait: NDArray[np.float32], size: int = MOTION_SIZE
) -> Field:
    """(size, size, 2) float32 offsets (x, y) in units of half the picture.

    `driving` and `portrait` are (478, 2 or 3) float32 in [-1, 1] picture coordinates (-1 and 1
    are the picture's edges, not pixel centres). Where the output position is p, the colour
    comes from p + offset. Identical landmarks give a field of zeros.
    """
    to, back = driving[:, :2], portrait[:, :2]
    affine = _fit_affine(to[:MESH], back[:MESH])
    centres = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    planes = np.empty((2, size, size), np.float32)  # x, then y; interleaved at the end
    # The affine offset A p - p is linear in x and y: two outer sums instead of a matrix product.
    for c in range(2):
        gain = affine[:, c].copy()
        gain[c] -= 1
        np.add.outer(centres * gain[1] + gain[2], centres * gain[0], out=planes[c])
    travel = float(np.linalg.norm((back - to)[_OVAL].mean(0)))
    planes *= head_reach(to, size, travel)

    wanted = back - to
    trust = _trust(to)
    finest = _bilinear_cells(to, size)
    for level in (*LEVELS, OPENINGS_LEVEL):
        cells_across, sigma, floor = level
        left = wanted - _sample(planes, *finest)
        if level is OPENINGS_LEVEL:
            left, trust, to = left[_OPENINGS], trust[_OPENINGS], to[_OPENINGS]
        spread = _spread(left, trust, to, cells_across, sigma, floor)
        for plane, part in zip(planes, spread, strict=True):
            plane += part if cells_across == size else _grow(part, size)
    return np.asarray(cv2.merge((planes[0], planes[1])), np.float32)


def head_reach(points: NDArray[np.float32], size: int, travel: float = 0.0) -> NDArray[np.float32]:
    """(size, size) float32 in [0, 1]: 1 on the head of the face at `points` ([-1, 1]
    coordinates), 0 well away from it, smooth between.

    The farther the head travels (in half-pictures), the wider the transition: over a shorter way
    than the travel itself the field would fold and show the old chin below the new one, and a
    body follows a head that goes far.
    """
    oval = points[_OVAL, :2]
    top, chin = oval[0], oval[18]
    down = chin - top
    half_height = max(float(np.linalg.norm(down)) / 2, 1e-4)
    down = down / (2 * half_height)
    across = np.array((down[1], -down[0]), np.float32)
    centre = (top + chin) / 2
    half_width = max(float(np.abs((oval - centre) @ across).max()), 0.6 * half_height)
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    from_x, from_y = axis - centre[0], axis - centre[1]

    def radius(sideways: float, up: float, below: float) -> Field:
        across_here, down_here = across / (sideways * half_width), down / half_height
        u = np.add.outer(from_y * across_here[1], from_x * across_here[0])
        v = np.add.outer(from_y * down_here[1], from_x * down_here[0])
        return np.asarray(cv2.magnitude(u, np.maximum(v * (-1 / up), v * (1 / below))), np.float32)

    room = TRAVEL_ROOM * travel / half_height
    inner, outer = radius(*INNER), radius(*(reach + room for reach in OUTER))
    # Between the two ellipses: how far along the way out, then smoothstep.
    t = np.clip((inner - 1) / np.maximum(inner - outer, 1e-6), 0, 1)
    return np.asarray(1 - t * t * (3 - 2 * t), np.float32)


def _trust(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(478,) how much each point has to say: an iris behind closed lids nothing, or it would
    hold the eye open against them."""
    trust = np.ones(len(points), np.float32)
    for (lower, upper), centre, rim in _IRISES:
        radius = float(np.hypot(*(points[rim] - points[centre]).T).mean())
        gap = float(np.hypot(*(points[lower] - points[upper])))
        share = min(max((gap / max(radius, 1e-6) - 0.4) / 0.8, 0.0), 1.0)
        trust[centre] = trust[rim] = share
    return trust


def _fit_affine(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, 2) least-squares affine map: target = [x, y, 1] @ map."""
    design = np.column_stack((source, np.ones(len(source), np.float32)))
    normal = design.T @ design + 1e-6 * np.eye(3, dtype=np.float32)
    solved: NDArray[np.float32] = np.linalg.solve(normal, design.T @ target)
    return solved


def _spread(
    values: NDArray[np.float32],
    trust: NDArray[np.float32],
    at: NDArray[np.float32],
    size: int,
    sigma: float,
    floor: float,
) -> tuple[Field, Field]:
    """Two (size, size) planes: normalised convolution of values (N, 2), each with its trust
    (N,), given at positions (N, 2) in [-1, 1]; falls to 0 where no position is near."""
    cells, shares = _bilinear_cells(at, size)
    shares = shares * np.tile(trust, 4)

    def spread(weights: NDArray[np.float32]) -> Field:
        splat = np.bincount(cells, weights, size * size).astype(np.float32)
        flat = splat.reshape(size, size)
        blurred = cv2.GaussianBlur(flat, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        return np.asarray(blurred, np.float32)

    peak = 1 / (2 * np.pi * sigma * sigma)
    density = spread(shares) + np.float32(floor * peak)
    x, y = (spread(shares * np.tile(values[:, c], 4)) for c in range(2))
    return x / density, y / density


def _grow(plane: Field, size: int) -> Field:
    return np.asarray(cv2.resize(plane, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _bilinear_cells(
    at: NDArray[np.float32], size: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The four cells around each position (N, 2) in [-1, 1] and their shares, as two (4 N,)
    arrays. Positions outside the grid are held at its edge."""
    cell = np.clip((at + 1) * (size / 2) - 0.5, 0, size - 1.001)
    low = np.floor(cell).astype(np.intp)
    part = cell - low
    corner = low[:, 1] * size + low[:, 0]
    cells = np.concatenate((corner, corner + 1, corner + size, corner + size + 1))
    right, bottom = part[:, 0], part[:, 1]
    left, top = 1 - right, 1 - bottom
    shares = np.concatenate((left * top, right * top, left * bottom, right * bottom))
    return cells, shares.astype(np.float32)


def _sample(
    planes: NDArray[np.float32], cells: NDArray[np.intp], shares: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, 2): both planes at the positions that `_bilinear_cells` describes."""
    values = planes.reshape(2, -1).take(cells, axis=1) * shares
    summed: NDArray[np.float32] = values.reshape(2, 4, -1).sum(1).T
    return summed
