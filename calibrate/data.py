"""Training pairs from the cached clips and stills: a portrait, and the same person otherwise.

Every sample is a pure function of (seed, index), so a resumed or distributed run draws exactly
the samples an uninterrupted one would. Pictures are cut, turned, mirrored and recoloured alike
in portrait and target; a still gets its portrait by synthetic motion.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from calibrate.cuts import (
    SIZE,
    WEIGHT_SIZE,
    Clip,
    Cut,
    Picture,
    align,
    cut,
    face_shape,
    fill_background,
    fill_foreground,
    imagined_motion,
    letterbox,
    mirror_points,
    move_person,
    picture_size,
    random_cut,
    recolour,
)
from calibrate.eyes import misplace_eyes, recolour_irises
from calibrate.gaze import glance, set_gaze
from calibrate.morph import cut_onto, morph
from calibrate.mouths import close_lips, recolour_mouths
from calibrate.opening import open_lips, transplant
from calibrate.people import People
from puppet.contract import Teeth
from puppet.draw import coarse_motion, draw_contours
from puppet.landmarks import LEFT_LID_PAIRS, LIPS_INNER, LIPS_OUTER, RIGHT_LID_PAIRS
from puppet.retarget.teeth import SHOWN_TEETH, USUAL_TEETH, shown_teeth
from puppet.track.teeth import measure_teeth

_LIDS = [point for pair in (*LEFT_LID_PAIRS, *RIGHT_LID_PAIRS) for point in pair]
_TELLING = np.ones((478, 1), np.float32)
"""What a landmark's change counts when pairs are chosen."""
_EYES_AND_MOUTH = [33, 263, 61, 291]
"""Corners."""
_LIGHT_EYES, _MISPLACED_EYES = 0.3, 0.25
"""Shares of samples, see calibrate.eyes."""
_MADE_UP = 0.4
"""Share of samples, see calibrate.mouths."""
_MORPHED = 0.6
"""Share of pairs that another person is looked for, see calibrate.morph."""
_FROM_SHUT = 0.15
"""Share of pairs whose portrait has closed lips if the clip has such a frame, as portraits have."""
_OTHER_SKIN = 0.04
"""Standard deviation of the logarithm of how much lighter it is between the driver's lips than was
measured."""
_GLANCES = 0.6
"""Share of stills that look aside."""
_OPEN_STILLS, _CLOSED = 0.4, 0.8
"""Share of stills with lips apart among all stills drawn; share of those whose portrait has them
closed: teeth of more people than were filmed, behind lips that show none."""
_OPENED = 0.6
"""Share of the other stills that open their lips, see calibrate.opening, if they are closed."""
_OPENED_BY = (0.6, 1.3)
"""How far, of how far the one who lends the inside did."""
_ALIKE, _AT_REST = 0.8, 0.95
"""From where on, of 1, a pair is the most alike of a few, and the portrait itself."""
_LETTERBOX = 0.25
"""Share of samples with a bar along the edge."""
WINDOW = 128
"""Side, in pixels, of what is judged closely: eyes and mouth fit in."""
_TELLING[[*LIPS_INNER, *LIPS_OUTER, *_LIDS, *range(468, 478)]] = 8.0


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


class PairDataset(Dataset[dict[str, Any]]):
    """Samples as dictionaries of arrays:

    portrait (256, 256, 3), matte, background (256, 256, 3), portrait_contours (256, 256, 3),
    contours (256, 256, 3), target (256, 256, 3), target_matte: uint8; motion (128, 128, 2) float32;
    window (2,) int64, first row and column of the WINDOW pixels square that is judged closely.
    In `foreground_share` of the samples the portrait's background is replaced by the person's own
    colours carried on, so that only alpha can show what lies behind.
    With several sources also extra (sources - 1, 256, 256, 4) uint8, other pictures of the person
    on the portrait's geometry, and extra_weight (sources - 1, 64, 64) float32; a sample has 1 to
    `sources` source pictures, the rest of them is empty and weighs nothing.

    `shown` is how light the lightest teeth of whoever drives are said to be.

    With `varied` off pictures are only cut, turned and mirrored: other backgrounds, colours, eyes
    and bars make a network general, and one that is fitted to a person vague.
    """

    def __init__(
        self,
        clips: list[Clip],
        stills: list[Clip],
        *,
        length: int,
        seed: int,
        stills_share: float,
        sources: int = 1,
        foreground_share: float = 0.0,
        varied: bool = True,
        shown: float = SHOWN_TEETH,
    ) -> None:
        self._people = People(clips, stills, shown)
        self._stills_share = stills_share if stills else 0.0
        self._length, self._seed, self._sources = length, seed, sources
        self._foreground_share, self._varied, self._shown = foreground_share, varied, shown

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng((self._seed, index))
        if rng.random() < self._stills_share or not len(self._people):
            cuts, teeth = self._still(rng)
        else:
            cuts, teeth = self._pair(rng)
        if self._varied:
            cuts, teeth = self._otherwise(cuts, rng), _doubt(teeth, rng) if teeth else None
        portrait, target, *more = cuts
        sample = as_sample(portrait, target, teeth or _own_teeth(target, self._shown))
        if rng.random() < self._foreground_share:
            sample["portrait"] = fill_foreground(portrait.rgb, portrait.matte)
        sample["window"] = _random_window(target.points, rng)
        return sample | extra_sources(portrait, more, self._sources - 1)

    def _pair(self, rng: np.random.Generator) -> tuple[list[Cut], Teeth | None]:
        """Pictures of one person, and what the second shows between its lips."""
        clip = self._people.clip(rng)
        a, b = self._two_frames(clip, rng)
        matrix, mirrored = random_cut(clip.landmarks[a], picture_size(clip.frames), rng)
        more = rng.choice(clip.usable, rng.integers(self._sources)) if self._sources > 1 else ()
        frames = [int(i) for i in (a, b, *more)]
        cuts = [cut(clip, i, matrix, mirrored) for i in frames]
        teeth = self._people.teeth(clip, b, rng)
        if not self._varied:
            return cuts, teeth
        double = self._people.double(clip, frames, rng) if rng.random() < _MORPHED else None
        if double is not None:
            lender, alike = double
            pairs = zip(alike, cuts, strict=True)
            others = [cut_onto(lender, i, face, mirrored) for i, face in pairs]
            cuts, others_mouth = morph(cuts, others, rng)
            if others_mouth:
                teeth = self._people.teeth(lender, alike[1], rng)
        return cuts, teeth

    def _two_frames(self, clip: Clip, rng: np.random.Generator) -> tuple[int, int]:
        """Of the portrait and of the target."""
        a = int(rng.choice(clip.usable))
        if self._varied and rng.random() < _FROM_SHUT:
            shut = self._people.likenesses[clip.name].shut()
            a = int(rng.choice(shut)) if len(shut) else a
        others = rng.choice(clip.usable, 4)
        # Half of the time the most different of a few: of all that differs, lips, lids and gaze
        # are what only the synthesis can show. Now and then the least, or the portrait itself: a
        # face at rest, which is what one sees most, has to stay as sharp as the portrait.
        own = face_shape(clip.landmarks[a])
        change = [(np.abs(face_shape(clip.landmarks[i]) - own) * _TELLING).mean() for i in others]
        kind = rng.random()
        most, least = int(np.argmax(change)), int(np.argmin(change))
        b = int(others[most if kind < 0.5 else least if kind > _ALIKE else 0])
        return a, a if kind > _AT_REST else b

    def _still(self, rng: np.random.Generator) -> tuple[list[Cut], Teeth | None]:
        """The real picture is the target; the portrait is that picture moved synthetically, so
        that what is learned to be painted is always real. Or a closed mouth is opened."""
        stills = self._people.stills
        still = stills[rng.integers(len(stills))]
        closing = None
        if self._varied and self._people.parted and rng.random() < _OPEN_STILLS:
            parted = self._people.parted[rng.integers(len(self._people.parted))]
            still = parted.clip
            closing = self._people.closing(parted, rng) if rng.random() < _CLOSED else None
        elif self._varied and self._people.closed and rng.random() < _OPENED:
            opened = self._opened(rng)
            if opened is not None:
                return opened
        matrix, mirrored = random_cut(still.landmarks[0], picture_size(still.frames), rng)
        target = cut(still, 0, matrix, mirrored)
        if closing is None:
            points = imagined_motion(target.points, self._people.expression(rng), rng)
        else:
            points = close_lips(imagined_motion(target.points, closing, rng, (1.0, 1.0)))
        if rng.random() < _GLANCES:
            points = glance(points, rng)
        offset = set_gaze(coarse_motion(points, target.points), points, target.points, SIZE)
        return [move_person(target, offset, points), target], None

    def _opened(self, rng: np.random.Generator) -> tuple[list[Cut], Teeth] | None:
        """A still with closed lips as the portrait, and that opened."""
        opening = self._people.opening(rng)
        if opening is None:
            return None
        change, lender, frame = opening
        closed = self._people.closed
        still = closed[rng.integers(len(closed))]
        matrix, mirrored = random_cut(still.landmarks[0], picture_size(still.frames), rng)
        portrait = cut(still, 0, matrix, mirrored)
        if mirrored:
            change = mirror_points(change)
        target = open_lips(portrait, change * np.float32(rng.uniform(*_OPENED_BY)))
        opened = transplant(target, cut_onto(lender, frame, target, mirrored))
        return [portrait, opened], self._people.teeth(lender, frame, rng)

    def _otherwise(self, cuts: list[Cut], rng: np.random.Generator) -> list[Cut]:
        """The same pictures as of somebody else, somewhere else."""
        cuts = self._elsewhere(cuts, rng)
        if rng.random() < _LIGHT_EYES:
            cuts = recolour_irises(cuts, rng)
        if rng.random() < _MISPLACED_EYES:
            cuts = misplace_eyes(cuts, rng)
        if rng.random() < _MADE_UP:
            cuts = recolour_mouths(cuts, rng)
        if rng.random() < _LETTERBOX:
            cuts = letterbox(cuts, rng)
        return recolour(cuts, rng)

    def _elsewhere(self, cuts: list[Cut], rng: np.random.Generator) -> list[Cut]:
        """Now and then puts all before another background, so that none is learned by heart."""
        if rng.random() > 0.25:
            return cuts
        if rng.random() < 0.5:
            low = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
            scene = cv2.resize(low, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
        else:
            scene = cv2.resize(
                cv2.flip(self._people.scene(rng), 0), (SIZE, SIZE), interpolation=cv2.INTER_AREA
            )
        return [_before(each, np.asarray(scene, np.uint8)) for each in cuts]


def window_around(centre: NDArray[np.float32]) -> NDArray[np.int64]:
    """First row and column of the window around (x, y) in [-1, 1], moved inside the picture."""
    column, row = (centre + 1) * (SIZE / 2) - WINDOW / 2
    return np.clip(np.rint((row, column)), 0, SIZE - WINDOW).astype(np.int64)


def _random_window(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """Mostly around eyes and mouth, give or take; else anywhere, so that hair and the room are
    judged too."""
    if rng.random() < 0.25:
        return rng.integers(0, SIZE - WINDOW + 1, 2)
    centre = points[_EYES_AND_MOUTH, :2].mean(0) + rng.normal(0, 0.1, 2)
    return window_around(centre.astype(np.float32))


def as_sample(portrait: Cut, target: Cut, teeth: Teeth | None = None) -> dict[str, Any]:
    """Draws what the live loop would draw for this pair, with what its driver shows between the
    lips; left out, the target's own person drives."""
    teeth = teeth or _own_teeth(target, SHOWN_TEETH)
    return {
        "portrait": portrait.rgb,
        "matte": portrait.matte,
        "background": fill_background(portrait.rgb, portrait.matte),
        "portrait_contours": draw_contours(portrait.points),
        "contours": draw_contours(target.points, teeth=teeth),
        "motion": coarse_motion(target.points, portrait.points),
        "target": target.rgb,
        "target_matte": target.matte,
        "window": window_around(target.points[_EYES_AND_MOUTH, :2].mean(0)),
    }


def _own_teeth(person: Cut, shown: float) -> Teeth:
    """What is said of somebody of whom there is no other picture."""
    seen = measure_teeth(person.rgb, (person.points + 1) * np.float32(SIZE / 2))
    return shown_teeth(seen, max(USUAL_TEETH, *(seen or (0.0,))), shown)


def _doubt(teeth: Teeth, rng: np.random.Generator) -> Teeth:
    """Drivers have other skins than portraits."""
    shift = np.exp(rng.normal(0, _OTHER_SKIN))
    upper, lower = (1 / (1 + shift * (1 - light) / light) for light in teeth)
    return float(upper), float(lower)


def extra_sources(main: Cut, others: list[Cut], places: int) -> dict[str, Any]:
    """`extra` and `extra_weight` of a sample with so many places; nothing for none."""
    if places == 0:
        return {}
    extra = np.zeros((places, SIZE, SIZE, 4), np.uint8)
    weight = np.zeros((places, WEIGHT_SIZE, WEIGHT_SIZE), np.float32)
    for place, other in enumerate(others[:places]):
        moved, weight[place] = align(main, other)
        extra[place] = np.dstack((moved.rgb, moved.matte))
    return {"extra": extra, "extra_weight": weight}


def _before(person: Cut, scene: Picture) -> Cut:
    alpha = person.matte[..., None].astype(np.float32) / 255
    rgb = (person.rgb * alpha + scene * (1 - alpha)).astype(np.uint8)
    return Cut(rgb, person.matte, person.points)
