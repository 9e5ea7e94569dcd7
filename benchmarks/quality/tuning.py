"""Tuning on a clip's own shots before it is measured, as `puppet calibrate` would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.quality.clips import Clip
from benchmarks.quality.methods import EngineChoice
from benchmarks.quality.sitter import Sitter
from puppet.avatar.framing import cut
from puppet.avatar.person import Segmenter, person_in_crop
from puppet.contract import Rgb

if TYPE_CHECKING:
    from calibrate.cuts import Clip as Pictures
    from calibrate.tune import Tuned


class Tuner:
    """Tunes the chosen generator to one clip after the other, each time from the base weights."""

    def __init__(self, choice: EngineChoice, segmenter: Segmenter, minutes: float) -> None:
        """Raises EngineError, UserError or ImportError (no torch)."""
        from calibrate.command import load_network
        from calibrate.trained import load_trained

        self._segmenter, self._minutes = segmenter, minutes
        if choice.runtime == "torch" and choice.weights is not None:
            self._network = load_trained(choice.weights)
        else:
            self._network = load_network(choice.tier, choice.weights)
        self.gains: dict[str, str] = {}
        """By clip: what the held-out error was before and after."""

    def __call__(self, clip: Clip, sitter: Sitter, shots: dict[int, Rgb]) -> Tuned:
        from calibrate.tune import TuneSettings, tune

        settings = TuneSettings(
            minutes=self._minutes, steps=400 if len(shots) == 1 else 1200, threads=1
        )
        tuned = tune(self._network, self._pictures(clip, sitter, shots), settings)
        self.gains[clip.name] = f"{tuned.start:.4f} to {tuned.best:.4f}, {tuned.steps} steps"
        return tuned

    def _pictures(self, clip: Clip, sitter: Sitter, shots: dict[int, Rgb]) -> Pictures:
        from calibrate.cuts import Clip as Pictures

        squares, mattes = [sitter.plain], [sitter.matte]
        for index in list(shots)[1:]:
            square = cut(shots[index], clip.box)
            share = person_in_crop(self._segmenter, square, clip.landmarks(index))
            squares.append(square)
            mattes.append(np.asarray(np.rint(share * 255), np.uint8))
        return Pictures(
            name=clip.name,
            person=clip.name,
            frames=np.stack(squares),
            mattes=np.stack(mattes),
            landmarks=np.stack([clip.landmarks(i).points for i in shots]),
            usable=np.arange(len(shots)),
        )
