"""Pictures with landmarks, cut from clips: pure functions on arrays.

Pictures are SIZE x SIZE uint8 RGB with a matte; landmarks are in [-1, 1] of the picture, so the
same numbers serve the drawing at any resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.draw import coarse_motion
from puppet.landmarks import mean_face, mirror_order

SIZE = 256
"""Side of the training pictures in pixels."""

WEIGHT_SIZE = 64
"""Side of the weights of an extra source picture, as the encoder's features."""
_COLOUR_TOLERANCE = 0.08
"""Difference of colour, of 1, at which an aligned picture counts a third."""
_STRETCHED = 0.4
"""Share of cuts whose faces are made longer or broader."""
_SUBPIXEL = 4  # bits
_REACH = 0.25
"""Mean motion, in half-widths, at which an aligned picture counts a third."""

Picture = NDArray[np.uint8]
Affine = NDArray[np.float32]  # (2, 3), source pixels to cut pixels


@dataclass(frozen=True, slots=True)
class Clip:
    """One cached clip or still; arrays are memory-mapped and read-only."""

    name: str
    person: str
    frames: Picture  # (T, H, W, 3) RGB
    mattes: Picture  # (T, h, w)
    landmarks: NDArray[np.float32]  # (T, 478, 3) pixels; NaN rows where no face was found
    usable: NDArray[np.intp]  # frames with a face


@dataclass(frozen=True, slots=True)
class Cut:
    """One picture cut to SIZE, with its landmarks in [-1, 1]."""

    rgb: Picture
    matte: Picture
    points: NDArray[np.float32]


def picture_size(frames: Picture) -> tuple[int, int]:
    """(height, width) of frames (T, H, W, 3)."""
    return frames.shape[1], frames.shape[2]


def random_cut(
    landmarks: NDArray[np.float32], shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Affine, bool]:
    """A random square around the face, as a map to SIZE x SIZE, and whether to mirror it."""
    height, width = shape
    if rng.random() < 0.25:  # the whole clip, as others may cut it
        side, centre = float(min(height, width)), np.array((width / 2, height / 2))
        angle = 0.0
    else:
        top, chin = landmarks[10, :2], landmarks[152, :2]
        side = float(np.linalg.norm(chin - top)) / rng.uniform(0.33, 0.6)
        side = min(side, float(min(height, width)))
        centre = (top + chin) / 2 + rng.uniform(-0.07, 0.07, 2) * side
        angle = rng.uniform(-12, 12) if rng.random() < 0.5 else 0.0
        # A turned square reaches further; where there is no picture, edges would be smeared.
        reach = side / 2 * (np.cos(np.radians(angle)) + np.sin(np.radians(abs(angle))))
        if 2 * reach > min(width, height):
            angle, reach = 0.0, side / 2
        centre = np.clip(centre, reach, np.array((width, height)) - reach)
    middle = (float(centre[0]), float(centre[1]))
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, angle, SIZE / side), np.float64)
    matrix[:, 2] += SIZE / 2 - centre
    # Longer or broader faces than were filmed; enlarged, so that the picture still fills the cut.
    if rng.random() < _STRETCHED:
        wider = 1 + rng.uniform(0, 0.18) * np.eye(2)[rng.integers(2)]
        matrix = wider[:, None] * (matrix - (0, 0, SIZE / 2)) + (0, 0, SIZE / 2)
    return matrix.astype(np.float32), bool(rng.random() < 0.5)


def cut(clip: Clip, index: int, matrix: Affine, mirrored: bool) -> Cut:
    """One frame of a clip through the map; (x, y) pixel edges map to pixel edges."""
    rgb, matte = clip.frames[index], clip.mattes[index]
    # Landmarks count from pixel edges, cv2 from pixel centres: shift by half a pixel each side.
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    # Far away from its own resolution: average before sampling.
    blur = cv2.GaussianBlur(rgb, (0, 0), 0.35 / scale) if scale < 0.55 else rgb
    picture = cv2.warpAffine(
        blur, centred, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    grow = np.diag((rgb.shape[1] / matte.shape[1], rgb.shape[0] / matte.shape[0], 1.0))
    small = matrix.astype(np.float64) @ grow
    small[:, 2] += small[:, :2].sum(1) / 2 - 0.5
    alpha = cv2.warpAffine(
        matte, small, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    points = clip.landmarks[index].copy()
    points[:, :2] = (points[:, :2] @ matrix[:, :2].T + matrix[:, 2]) * (2 / SIZE) - 1
    points[:, 2] *= scale * 2 / SIZE
    if mirrored:
        picture, alpha = cv2.flip(picture, 1), cv2.flip(alpha, 1)
        points = mirror_points(points)
    return Cut(np.asarray(picture, np.uint8), np.asarray(alpha, np.uint8), points)


def mirror_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(478, 3) landmarks in [-1, 1] of the mirrored picture, relabelled."""
    mirrored: NDArray[np.float32] = points[mirror_order()] * np.array((-1, 1, 1), np.float32)
    return mirrored


def imagined_motion(
    points: NDArray[np.float32], expression: NDArray[np.float32], rng: np.random.Generator,
    strength: tuple[float, float] = (0.5, 1.1),
) -> NDArray[np.float32]:  # fmt: skip
    """Landmarks of the same face turned, shifted and with another expression, so strong."""
    unit = float(np.linalg.norm(points[33, :2] - points[263, :2]))
    turn = cv2.Rodrigues(rng.normal(0, (0.09, 0.13, 0.06)))[0].astype(np.float32)
    centre = points[:468].mean(0)
    moved = (points - centre + expression * unit * rng.uniform(*strength)) @ turn.T
    scale = np.exp(rng.normal(0, 0.03))
    shift = np.array((*rng.normal(0, 0.12, 2), 0)) * unit
    result: NDArray[np.float32] = (moved * scale + centre + shift).astype(np.float32)
    return result


def recolour(cuts: list[Cut], rng: np.random.Generator) -> list[Cut]:
    """The same change of colour for all: gain and gamma per channel, sometimes dark or grey."""
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    gamma = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.05, 3))
    gain = rng.uniform(0.35 if rng.random() < 0.2 else 0.75, 1.15) * np.exp(rng.normal(0, 0.06, 3))
    table = np.clip(255 * gain * levels**gamma, 0, 255).astype(np.uint8).reshape(256, 1, 3)
    grey = rng.random() < 0.08

    def apply(rgb: Picture) -> Picture:
        if not grey:
            return np.asarray(cv2.LUT(rgb, table), np.uint8)
        one = cv2.LUT(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.ascontiguousarray(table[..., 0]))
        return np.asarray(cv2.cvtColor(one, cv2.COLOR_GRAY2RGB), np.uint8)

    return [Cut(apply(each.rgb), each.matte, each.points) for each in cuts]


def letterbox(cuts: list[Cut], rng: np.random.Generator) -> list[Cut]:
    """The same bar along one or two sides of all: what never moves, up to the very edge. Without
    it nothing tells that the last rows must stay, since edges repeat wherever they are moved."""
    bars = np.zeros((SIZE, SIZE), np.bool_)
    for side in rng.choice(4, rng.integers(1, 3), replace=False, p=(0.15, 0.55, 0.15, 0.15)):
        width = int(rng.integers(3, 28))
        strip = bars.T if side >= 2 else bars
        strip[slice(width) if side % 2 == 0 else slice(-width, None)] = True
    colour = rng.integers(0, 256, 3) if rng.random() < 0.5 else np.zeros(3)
    person = rng.random() < 0.5  # segmentation takes such a bar for either

    def apply(each: Cut) -> Cut:
        rgb, matte = each.rgb.copy(), each.matte.copy()
        rgb[bars] = colour
        if not person:
            matte[bars] = 0
        return Cut(rgb, matte, each.points)

    return [apply(each) for each in cuts]


def fill_ring(points: NDArray[np.float32], ring: tuple[int, ...]) -> Picture:
    """(256, 256): 255 inside the polygon of these landmarks, smooth along its edge."""
    placed = ((points[list(ring), :2] + 1) * (SIZE / 2) - 0.5) * 2**_SUBPIXEL
    corners = np.clip(np.rint(placed), -(2**20), 2**20).astype(np.int32)
    area = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(area, [corners], (255,), cv2.LINE_AA, _SUBPIXEL)
    return area


def fill_background(rgb: Picture, matte: Picture) -> Picture:
    """(256, 256, 3) the picture with the person replaced by what surrounds them."""
    return _fill(rgb, np.asarray(cv2.dilate(matte, np.ones((7, 7), np.uint8)), np.uint8) < 26)


def fill_foreground(rgb: Picture, matte: Picture) -> Picture:
    """(256, 256, 3) the picture with the background replaced by the person's colours carried on:
    what `puppet.avatar.matting.foreground_colours` gives, coarser and thirty times as fast."""
    return _fill(rgb, np.asarray(cv2.erode(matte, np.ones((3, 3), np.uint8)), np.uint8) > 229)


def _fill(rgb: Picture, known: NDArray[np.bool_], levels: int = 6) -> Picture:
    """Push-pull interpolation (Gortler et al. 1996, section 3.4) of the pixels not known, from
    half the resolution on: fast and smooth, as the learned part needs only something plausible.
    """
    share = known.astype(np.float32)
    half = (SIZE // 2, SIZE // 2)
    weighted = cv2.resize(rgb * share[..., None], half, interpolation=cv2.INTER_AREA)
    level = np.dstack((weighted, cv2.resize(share, half, interpolation=cv2.INTER_AREA)))
    pyramid = [level]
    for _ in range(levels):
        level = np.asarray(cv2.pyrDown(level), np.float32)
        pyramid.append(level)
    filled: NDArray[np.float32] = level[..., :3] / np.maximum(level[..., 3:], 1e-3)
    for level in reversed(pyramid[:-1]):
        size = (level.shape[1], level.shape[0])
        filled = np.asarray(cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR), np.float32)
        certain = np.minimum(level[..., 3:] * 2, 1)
        filled += certain * (level[..., :3] / np.maximum(level[..., 3:], 1e-3) - filled)
    guessed = cv2.resize(np.clip(filled, 0, 255).astype(np.uint8), (SIZE, SIZE))
    return np.asarray(np.where(known[..., None], rgb, guessed), np.uint8)


def warp_picture(picture: Picture, offset: NDArray[np.float32]) -> Picture:
    """Any number of channels, moved by offsets (h, w, 2) in half-widths."""
    size = picture.shape[0]
    grown = cv2.resize(offset, (size, size), interpolation=cv2.INTER_LINEAR) * (size / 2)
    axis = np.arange(size, dtype=np.float32)
    moved = cv2.remap(
        picture,
        grown[..., 0] + axis[None, :],
        grown[..., 1] + axis[:, None],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(moved, np.uint8)


def move_person(person: Cut, offset: NDArray[np.float32], points: NDArray[np.float32]) -> Cut:
    """The person moved by offsets (h, w, 2) in half-widths, to these landmarks, before what is
    known of the background."""
    moved = warp_picture(np.dstack((person.rgb, person.matte)), offset)
    alpha = moved[..., 3:].astype(np.float32) / 255
    backdrop = fill_background(person.rgb, person.matte)
    rgb = (moved[..., :3] * alpha + backdrop * (1 - alpha)).astype(np.uint8)
    return Cut(rgb, np.ascontiguousarray(moved[..., 3]), points)


def face_shape(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Landmarks in the mean face's frame: pose and size taken out."""
    face = mean_face()
    a = landmarks - landmarks[:468].mean(0)
    b = face - face[:468].mean(0)
    u, s, vt = np.linalg.svd(a[:468].T @ b[:468])
    flip = np.array((1, 1, np.sign(np.linalg.det(u @ vt))), np.float32)
    scale = (s * flip).sum() / (a[:468] ** 2).sum()
    aligned: NDArray[np.float32] = (scale * a @ ((u * flip) @ vt)).astype(np.float32)
    return aligned


def align(main: Cut, other: Cut) -> tuple[Cut, NDArray[np.float32]]:
    """`other` moved onto the geometry of `main`, and how much it has to say there.

    The weights are (64, 64) float32 in [0, 1]: small where the pictures differ in colour after
    all (another expression, another light, something hidden) and for faces far apart in pose.
    """
    offset = coarse_motion(main.points, other.points)
    moved = warp_picture(np.dstack((other.rgb, other.matte)), offset)
    rgb, matte = np.ascontiguousarray(moved[..., :3]), np.ascontiguousarray(moved[..., 3])
    colours = np.abs(rgb.astype(np.float32) - main.rgb).mean(2) / 255
    difference = colours + np.abs(matte.astype(np.float32) - main.matte) / 255
    size = (WEIGHT_SIZE, WEIGHT_SIZE)
    seen = cv2.resize(cv2.GaussianBlur(difference, (0, 0), 2), size, interpolation=cv2.INTER_AREA)
    far = float(np.linalg.norm(main.points[:468, :2] - other.points[:468, :2], axis=1).mean())
    weight = np.exp(-seen / _COLOUR_TOLERANCE) * np.float32(np.exp(-far / _REACH))
    return Cut(rgb, matte, main.points), np.asarray(weight, np.float32)
