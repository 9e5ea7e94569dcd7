"""Everybody there is to learn from, and who may lend whom a face or an expression."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from calibrate.cuts import Clip, Picture, face_shape
from calibrate.expression import imagined_expression
from calibrate.likeness import Likeness, likeness
from puppet.contract import Teeth
from puppet.retarget.teeth import LIGHTEST_TEETH, SHOWN_TEETH, USUAL_TEETH, shown_teeth
from puppet.track.teeth import measure_teeth

_TRIES = 8
"""Among how many somebody suitable is looked for."""
_EVERY = 3
"""Of a clip's frames, so many apart are asked how light somebody's teeth can be; of less than
_MANY, each."""
_MANY = 60
_NOT_YET = 0.25
"""Share of drivers who have not shown their lightest teeth yet."""


class People:
    """Clips by person, and stills. Whose clip it is comes first where one is drawn, since some were
    filmed often. What is known of expressions is gathered when it is first asked for."""

    def __init__(self, clips: list[Clip], stills: list[Clip], shown: float = SHOWN_TEETH) -> None:
        """`shown`: how light everybody's lightest teeth are said to be."""
        self.stills, self._shown = stills, shown
        self._clips = clips
        by_person: dict[str, list[Clip]] = {}
        for clip in clips:
            if len(clip.usable) > 1:
                by_person.setdefault(clip.person, []).append(clip)
        self._people = [by_person[key] for key in sorted(by_person)]
        self._lightest: dict[str, float] = {}

    def __len__(self) -> int:
        """People who were filmed."""
        return len(self._people)

    @cached_property
    def likenesses(self) -> dict[str, Likeness]:
        """Of everybody filmed, by the clip's name."""
        return {clip.name: likeness(clip) for person in self._people for clip in person}

    @cached_property
    def parted(self) -> list[Likeness]:
        """The stills with open lips."""
        return [still for still in map(likeness, self.stills) if not len(still.shut())]

    @cached_property
    def closed(self) -> list[Clip]:
        """The stills with closed lips."""
        return [still for still in self.stills if len(likeness(still).shut())]

    def clip(self, rng: np.random.Generator) -> Clip:
        """A clip of somebody."""
        person = self._people[rng.integers(len(self._people))]
        return person[rng.integers(len(person))]

    def scene(self, rng: np.random.Generator) -> Picture:
        """Any frame of any clip or still, (H, W, 3)."""
        i = int(rng.integers(len(self._clips) + len(self.stills)))
        drawn = self._clips[i] if i < len(self._clips) else self.stills[i - len(self._clips)]
        frame: Picture = drawn.frames[int(rng.integers(len(drawn.frames)))]
        return frame

    def double(
        self, clip: Clip, frames: list[int], rng: np.random.Generator
    ) -> tuple[Clip, list[int]] | None:
        """A clip of another person and the frames where they make the faces of these frames."""
        own = self.likenesses[clip.name]
        for _ in range(_TRIES):
            other = self.likenesses[self.clip(rng).name]
            if other.clip.person == clip.person:
                continue
            alike = [other.nearest(own.of(i)) for i in frames]
            found = [i for i in alike if i is not None]
            if len(found) == len(frames):
                return other.clip, found
        return None

    def expression(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """(478, 3) change of expression between two frames of some clip, in mean-face units."""
        if not self._people:
            return imagined_expression(rng)
        clip = self.clip(rng)
        a, b = rng.choice(clip.usable, 2)
        return _change(clip, a, b)

    def closing(self, parted: Likeness, rng: np.random.Generator) -> NDArray[np.float32] | None:
        """(478, 3) what closes a still's mouth, in mean-face units, as somebody filmed did it."""
        for _ in range(_TRIES if self._people else 0):
            other = self.likenesses[self.clip(rng).name]
            alike, shut = other.nearest(parted.of(0)), other.shut()
            if alike is not None and len(shut):
                return _change(other.clip, alike, int(rng.choice(shut)))
        return None

    def opening(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], Clip, int] | None:
        """(478, 3) what opened somebody's mouth, in mean-face units, and the frame where it did."""
        for _ in range(_TRIES if self._people else 0):
            other = self.likenesses[self.clip(rng).name]
            shut, apart = other.shut(), other.apart()
            if len(shut) and len(apart):
                frame = int(rng.choice(apart))
                return _change(other.clip, int(rng.choice(shut)), frame), other.clip, frame
        return None

    def teeth(self, clip: Clip, frame: int, rng: np.random.Generator) -> Teeth:
        """What a portrait is told where the one filmed drives, see `puppet.retarget.teeth`."""
        known = USUAL_TEETH if rng.random() < _NOT_YET else self._lightest_of(clip)
        return teeth_in(clip, frame, known, self._shown)

    def _lightest_of(self, clip: Clip) -> float:
        if clip.name not in self._lightest:
            self._lightest[clip.name] = lightest_teeth(clip)
        return self._lightest[clip.name]


def lightest_teeth(clip: Clip) -> float:
    """The lightest that somebody filmed shows, as a live driver's are known after a while."""
    asked = clip.usable[:: _EVERY if len(clip.usable) >= _MANY else 1]
    measured = (_measured(clip, int(i)) for i in asked)
    lightest = max((max(seen) for seen in measured if seen), default=USUAL_TEETH)
    return min(max(lightest, USUAL_TEETH), LIGHTEST_TEETH)


def teeth_in(clip: Clip, frame: int, known: float, shown: float = SHOWN_TEETH) -> Teeth:
    """What a portrait is told of a frame whose person has shown teeth as light as `known`."""
    seen = _measured(clip, frame)
    lightest = max(known, min(max(seen or (0.0,)), LIGHTEST_TEETH))
    return shown_teeth(seen, lightest, shown)


def _measured(clip: Clip, frame: int) -> Teeth | None:
    return measure_teeth(clip.frames[frame], clip.landmarks[frame])


def _change(clip: Clip, before: int, after: int) -> NDArray[np.float32]:
    change: NDArray[np.float32] = face_shape(clip.landmarks[after]) - face_shape(
        clip.landmarks[before]
    )
    return change
