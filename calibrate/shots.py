"""The pictures of one person that tuning learns from, and those it is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from torch.utils.data import default_collate

from calibrate.cuts import SIZE, Clip, Cut, cut, face_shape
from calibrate.data import PairDataset, as_sample
from calibrate.people import lightest_teeth, teeth_in
from puppet.landmarks import LEFT_LID_PAIRS, LIP_PAIRS, RIGHT_LID_PAIRS

FEW = 4
"""From so many pictures on, some are held out to judge by; below, other cuts of them judge."""
MAX_SOURCES = 8
"""Pictures whose encodings are averaged into the portrait at the start."""


class Shots:
    """What is learned from, and what is held out."""

    def __init__(self, pictures: Clip, *, batch: int, roaming_share: float, seed: int) -> None:
        """`roaming_share` of the batches are pairs of any two pictures, cut at random; the others
        move the first picture, whole. ValueError if none holds a face."""
        usable = pictures.usable
        if len(usable) == 0:
            raise ValueError(f"{pictures.name} holds no picture with a face")
        self._batch_size, self._roaming_share, self._seed = batch, roaming_share, seed
        self._pictures, self._lightest = pictures, lightest_teeth(pictures)
        count = len(usable)
        self.fixed, self.alone = count >= FEW, count == 1
        held_out = to_hold_out(pictures) if self.fixed else []
        self._learned = [int(i) for i in usable if int(i) not in held_out]
        self._cuts = {int(i): _whole(pictures, int(i)) for i in usable}
        self.sources: list[Cut] = [self._cuts[i] for i in self._learned[:MAX_SOURCES]]
        self._roaming = self._varying(length=2**31, seed=seed, foreground_share=0.35)
        if self.fixed:
            self.held_out = [self._moved_to(i) for i in held_out]
        else:  # the same synthetic motions every time, none of which is learned from
            judged = self._varying(length=8, seed=seed + 1, foreground_share=0.0)
            self.held_out = [judged[i] for i in range(6)]

    def batches(self) -> Iterator[tuple[bool, dict[str, Any]]]:
        """(whether the fixed portrait is moved, batch) for ever, the next prepared beside."""
        with ThreadPoolExecutor(1) as beside:
            coming = beside.submit(self._batch, 0)
            step = 0
            while True:
                step += 1
                ready, coming = coming, beside.submit(self._batch, step)
                yield ready.result()

    def _batch(self, step: int) -> tuple[bool, dict[str, Any]]:
        rng = np.random.default_rng((self._seed, step, 7))
        fixed = self.fixed and rng.random() >= self._roaming_share
        if fixed:
            targets = rng.integers(1, len(self._learned), self._batch_size)
            samples = [self._moved_to(self._learned[int(i)]) for i in targets]
        else:
            first = step * self._batch_size
            samples = [self._roaming[first + i] for i in range(self._batch_size)]
        return fixed, default_collate(samples)

    def _moved_to(self, index: int) -> dict[str, Any]:
        """The portrait, to be moved to this picture. Its teeth are told as they are live: against
        the lightest that this person shows in any picture."""
        teeth = teeth_in(self._pictures, index, self._lightest)
        return as_sample(self._cuts[self._learned[0]], self._cuts[index], teeth)

    def _varying(self, *, length: int, seed: int, foreground_share: float) -> PairDataset:
        """Any two of the pictures learned from, cut at random; one alone is moved synthetically.
        One to three are judged by cuts of themselves, and stay varied as in training."""
        pictures = self._pictures
        clip = replace(pictures, usable=np.array(self._learned, np.intp))
        stills = [
            replace(
                pictures, frames=pictures.frames[i : i + 1], mattes=pictures.mattes[i : i + 1],
                landmarks=pictures.landmarks[i : i + 1], usable=np.zeros(1, np.intp),
            )
            for i in self._learned
        ]  # fmt: skip
        return PairDataset(
            [clip], stills, length=length, seed=seed, stills_share=1.0 if self.alone else 0.0,
            foreground_share=foreground_share, varied=not self.fixed,
        )  # fmt: skip


def _whole(pictures: Clip, index: int) -> Cut:
    side = pictures.frames.shape[1]
    matrix = np.array(((SIZE / side, 0, 0), (0, SIZE / side, 0)), np.float32)
    return cut(pictures, index, matrix, False)


def to_hold_out(pictures: Clip) -> list[int]:
    """An eighth of the pictures, spread evenly: never the portrait, nor the widest open mouth or
    the most closed eyes, since teeth and lids may be seen nowhere else."""
    faces = {int(i): face_shape(pictures.landmarks[i]) for i in pictures.usable[1:]}

    def gap(index: int, pairs: Sequence[tuple[int, int]]) -> float:
        face = faces[index]
        return float(sum(face[lower, 1] - face[upper, 1] for lower, upper in pairs))

    telling = {
        max(faces, key=lambda i: gap(i, LIP_PAIRS)),
        min(faces, key=lambda i: gap(i, (*LEFT_LID_PAIRS, *RIGHT_LID_PAIRS))),
    }
    free = [i for i in faces if i not in telling]
    wanted = min(len(free), max(1, len(pictures.usable) // 8))
    places = np.linspace(0, len(free) - 1, wanted + 2).round().astype(int)[1:-1]
    return [free[i] for i in dict.fromkeys(places.tolist())]
