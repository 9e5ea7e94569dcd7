"""The driver's voice: the clip's syllables hummed by a formant synthesiser over soft chords."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.make_demo.timeline import SECONDS, SYLLABLES

RATE = 44100
_Sound = NDArray[np.float64]
_NOTES = (196.0, 220.0, 246.9, 293.7, 246.9, 220.0, 246.9, 293.7, 329.6, 293.7)
_CHORDS = (
    (196.0, 246.9, 293.7),
    (164.8, 196.0, 246.9),
    (130.8, 196.0, 261.6),
    (146.8, 220.0, 293.7),
)


def _vowel(pitch: float, count: int, opening: float, rounding: float) -> _Sound:
    """Harmonics of a voice weighed by two formants that follow jaw and lips."""
    t = np.arange(count) / RATE
    bend = 1 + 0.006 * np.sin(2 * np.pi * 5.5 * t) * np.clip(t / 0.15, 0, 1)
    phase = 2 * np.pi * np.cumsum(pitch * bend) / RATE
    first, second = 320 + 480 * opening, 1500 - 750 * rounding
    out = np.zeros(count)
    for k in range(1, 16):
        f = k * pitch
        gain = 1 / (1 + ((f - first) / 110) ** 2) + 0.4 / (1 + ((f - second) / 160) ** 2) + 0.02
        out += gain / k**0.4 * np.sin(k * phase)
    edge = np.clip(np.minimum(t / 0.04, (t[-1] - t) / 0.06), 0, 1)
    return out * edge


def sing() -> NDArray[np.float32]:
    """The whole track, (samples,) float32 at 44.1 kHz, mono, silent at both ends."""
    total = int(SECONDS * RATE)
    track = np.zeros(total)
    for (start, end, drop, rounding), pitch in zip(SYLLABLES, _NOTES, strict=True):
        begin, count = int(start * RATE), int((end - start) * RATE)
        track[begin : begin + count] += 0.5 * _vowel(pitch, count, drop, rounding)
    long = total // len(_CHORDS)
    t = np.arange(long) / RATE
    swell = np.sin(np.pi * t / t[-1]) ** 0.8
    for i, chord in enumerate(_CHORDS):
        for f in chord:
            tone = np.sin(2 * np.pi * f * t) + 0.25 * np.sin(4 * np.pi * f * t)
            track[i * long : (i + 1) * long] += 0.07 * swell * tone
    return (0.5 * track / np.abs(track).max()).astype(np.float32)
