"""Training pairs from the cached clips and stills: a portrait, and the same person otherwise.

Every sample is a pure function of (seed, index), so a resumed or distributed run draws exactly
the samples an uninterrupted one would. Pictures are cut, turned, mirrored and recoloured alike
in portrait and target; a still gets its portrait by synthetic motion.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from puppet.draw import coarse_motion, draw_contours
from puppet.landmarks import mean_face, mirror_order

SIZE = 256
"""Side of the training pictures in pixels."""

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


def open_cache(folder: Path) -> list[Clip]:
    """All clips under a folder that `python -m calibrate.cache` filled, sorted by name."""
    clips = []
    for meta in sorted(folder.glob("*/meta.json")):
        here = meta.parent
        landmarks = np.load(here / "landmarks.npy", allow_pickle=False)
        usable = np.flatnonzero(~np.isnan(landmarks[:, 0, 0]))
        if len(usable) == 0:
            continue
        clips.append(
            Clip(
                name=here.name,
                person=json.loads(meta.read_text())["person"],
                frames=np.load(here / "frames.npy", mmap_mode="r", allow_pickle=False),
                mattes=np.load(here / "mattes.npy", mmap_mode="r", allow_pickle=False),
                landmarks=landmarks,
                usable=usable,
            )
        )
    if not clips:
        raise FileNotFoundError(
            f"{folder} holds no cached clips: make them with 'python -m calibrate.cache'"
        )
    return clips


@dataclass(frozen=True, slots=True)
class Cut:
    """One picture cut to SIZE, with its landmarks in [-1, 1]."""

    rgb: Picture
    matte: Picture
    points: NDArray[np.float32]


class PairDataset(Dataset[dict[str, Any]]):
    """Samples as dictionaries of arrays:

    portrait (256, 256, 3), matte, background (256, 256, 3), portrait_contours (256, 256, 3),
    contours (256, 256, 3), target (256, 256, 3), target_matte: uint8; motion (128, 128, 2) float32.
    """

    def __init__(
        self, clips: list[Clip], stills: list[Clip], *, length: int, seed: int, stills_share: float
    ) -> None:
        people: dict[str, list[Clip]] = {}
        for clip in clips:
            if len(clip.usable) > 1:
                people.setdefault(clip.person, []).append(clip)
        self._people = [people[key] for key in sorted(people)]
        self._stills = stills
        self._everything = clips + stills
        self._stills_share = stills_share if stills else 0.0
        self._length, self._seed = length, seed

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng((self._seed, index))
        if rng.random() < self._stills_share or not self._people:
            portrait, target = self._still(rng)
        else:
            portrait, target = self._pair(rng)
        return as_sample(*recolour(*self._elsewhere(portrait, target, rng), rng))

    def _pair(self, rng: np.random.Generator) -> tuple[Cut, Cut]:
        person = self._people[rng.integers(len(self._people))]
        clip = person[rng.integers(len(person))]
        a = int(rng.choice(clip.usable))
        others = rng.choice(clip.usable, 4)
        # Half of the time the most different of a few: neutral pairs teach little.
        change = [
            np.abs(_shape(clip.landmarks[i]) - _shape(clip.landmarks[a])).mean() for i in others
        ]
        b = int(others[int(np.argmax(change))] if rng.random() < 0.5 else others[0])
        matrix, mirrored = random_cut(clip.landmarks[a], clip.frames.shape[1:3], rng)
        return cut(clip, a, matrix, mirrored), cut(clip, b, matrix, mirrored)

    def _still(self, rng: np.random.Generator) -> tuple[Cut, Cut]:
        """The real picture is the target; the portrait is that picture moved synthetically, so
        that what is learned to be painted is always real."""
        still = self._stills[rng.integers(len(self._stills))]
        matrix, mirrored = random_cut(still.landmarks[0], still.frames.shape[1:3], rng)
        target = cut(still, 0, matrix, mirrored)
        points = imagined_motion(target.points, self._expression(rng), rng)
        offset = coarse_motion(points, target.points)
        backdrop = fill_background(target.rgb, target.matte)
        moved = warp_picture(np.dstack((target.rgb, target.matte)), offset)
        alpha = moved[..., 3:].astype(np.float32) / 255
        rgb = (moved[..., :3] * alpha + backdrop * (1 - alpha)).astype(np.uint8)
        return Cut(rgb, np.ascontiguousarray(moved[..., 3]), points), target

    def _expression(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """(478, 3) change of expression between two frames of some clip, in mean-face units."""
        if not self._people:
            return np.zeros_like(mean_face())
        person = self._people[rng.integers(len(self._people))]
        clip = person[rng.integers(len(person))]
        a, b = rng.choice(clip.usable, 2)
        change: NDArray[np.float32] = _shape(clip.landmarks[b]) - _shape(clip.landmarks[a])
        return change

    def _elsewhere(self, portrait: Cut, target: Cut, rng: np.random.Generator) -> tuple[Cut, Cut]:
        """Now and then puts both before another background, so that none is learned by heart."""
        if rng.random() > 0.25:
            return portrait, target
        if rng.random() < 0.5:
            low = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
            scene = cv2.resize(low, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        else:
            other = self._everything[rng.integers(len(self._everything))]
            frame = other.frames[int(rng.integers(len(other.frames)))]
            scene = cv2.resize(cv2.flip(frame, 0), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        return _before(portrait, scene), _before(target, scene)


def as_sample(portrait: Cut, target: Cut) -> dict[str, Any]:
    """Draws what the live loop would draw for this pair."""
    return {
        "portrait": portrait.rgb,
        "matte": portrait.matte,
        "background": fill_background(portrait.rgb, portrait.matte),
        "portrait_contours": draw_contours(portrait.points),
        "contours": draw_contours(target.points),
        "motion": coarse_motion(target.points, portrait.points),
        "target": target.rgb,
        "target_matte": target.matte,
    }


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
        centre = np.clip(centre, side / 2, np.array((width, height)) - side / 2)
        angle = rng.uniform(-12, 12) if rng.random() < 0.5 else 0.0
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, SIZE / side)
    matrix[:, 2] += SIZE / 2 - centre
    return matrix.astype(np.float32), bool(rng.random() < 0.5)


def cut(clip: Clip, index: int, matrix: Affine, mirrored: bool) -> Cut:
    """One frame of a clip through the map; (x, y) pixel edges map to pixel edges."""
    rgb, matte = clip.frames[index], clip.mattes[index]
    # Landmarks count from pixel edges, cv2 from pixel centres: shift by half a pixel each side.
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    centred = matrix.copy()
    centred[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    if scale < 0.55:  # far away from its own resolution: average before sampling
        blur = cv2.GaussianBlur(rgb, (0, 0), 0.35 / scale)
    else:
        blur = rgb
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
    return Cut(picture, alpha, points)


def mirror_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(478, 3) landmarks in [-1, 1] of the mirrored picture, relabelled."""
    mirrored: NDArray[np.float32] = points[mirror_order()] * np.float32((-1, 1, 1))
    return mirrored


def imagined_motion(
    points: NDArray[np.float32], expression: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Landmarks of the same face turned, shifted and with another expression."""
    unit = float(np.linalg.norm(points[33, :2] - points[263, :2]))
    turn = cv2.Rodrigues(rng.normal(0, (0.09, 0.13, 0.06)))[0].astype(np.float32)
    centre = points[:468].mean(0)
    moved = (points - centre + expression * unit * rng.uniform(0.5, 1.1)) @ turn.T
    scale = np.exp(rng.normal(0, 0.03))
    shift = np.array((*rng.normal(0, 0.12, 2), 0)) * unit
    result: NDArray[np.float32] = (moved * scale + centre + shift).astype(np.float32)
    return result


def recolour(portrait: Cut, target: Cut, rng: np.random.Generator) -> tuple[Cut, Cut]:
    """The same change of colour for both: gain and gamma per channel, sometimes grey."""
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    gamma = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.05, 3))
    gain = rng.uniform(0.75, 1.15) * np.exp(rng.normal(0, 0.06, 3))
    table = np.clip(255 * gain * levels**gamma, 0, 255).astype(np.uint8).reshape(256, 1, 3)
    grey = rng.random() < 0.08

    def apply(rgb: Picture) -> Picture:
        if grey:
            rgb = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        out: Picture = cv2.LUT(rgb, table if not grey else table[..., :1].repeat(3, 2))
        return out

    return (
        Cut(apply(portrait.rgb), portrait.matte, portrait.points),
        Cut(apply(target.rgb), target.matte, target.points),
    )


def fill_background(rgb: Picture, matte: Picture, levels: int = 7) -> Picture:
    """(256, 256, 3) the picture with the person replaced by what surrounds them.

    Push-pull interpolation (Gortler et al. 1996, section 3.4): fast and smooth, as the learned
    part needs only a plausible backdrop.
    """
    share = (cv2.dilate(matte, np.ones((7, 7), np.uint8)) < 26).astype(np.float32)
    level = np.dstack((rgb * share[..., None], share)).astype(np.float32)
    pyramid = [level]
    for _ in range(levels):
        level = cv2.pyrDown(level)
        pyramid.append(level)
    filled = level[..., :3] / np.maximum(level[..., 3:], 1e-3)
    for level in reversed(pyramid[:-1]):
        filled = cv2.resize(filled, level.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        known = np.clip(level[..., 3:] * 2, 0, 1)
        filled += known * (level[..., :3] / np.maximum(level[..., 3:], 1e-3) - filled)
    return np.clip(filled, 0, 255).astype(np.uint8)


def warp_picture(picture: Picture, offset: NDArray[np.float32]) -> Picture:
    """Any number of channels, moved by offsets (h, w, 2) in half-widths."""
    size = picture.shape[0]
    grown = cv2.resize(offset, (size, size), interpolation=cv2.INTER_LINEAR) * (size / 2)
    axis = np.arange(size, dtype=np.float32)
    moved: Picture = cv2.remap(
        picture,
        grown[..., 0] + axis[None, :],
        grown[..., 1] + axis[:, None],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return moved


def _shape(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Landmarks in the mean face's frame: pose and size taken out."""
    face = mean_face()
    a = landmarks - landmarks[:468].mean(0)
    b = face - face[:468].mean(0)
    u, s, vt = np.linalg.svd(a[:468].T @ b[:468])
    flip = np.array((1, 1, np.sign(np.linalg.det(u @ vt))), np.float32)
    scale = (s * flip).sum() / (a[:468] ** 2).sum()
    aligned: NDArray[np.float32] = (scale * a @ ((u * flip) @ vt)).astype(np.float32)
    return aligned


def _before(person: Cut, scene: Picture) -> Cut:
    alpha = person.matte[..., None].astype(np.float32) / 255
    rgb = (person.rgb * alpha + scene * (1 - alpha)).astype(np.uint8)
    return Cut(rgb, person.matte, person.points)
