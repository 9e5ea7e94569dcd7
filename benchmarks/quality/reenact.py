"""Self-reenactment: a clip's person, animated by the clip's own landmarks, against the clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from benchmarks.quality.clips import Choice, Clip, Unusable, choose, stream_frames
from benchmarks.quality.faces import FaceReader, compare_faces, expression
from benchmarks.quality.methods import Animator
from benchmarks.quality.metrics import psnr, regions, ssim, temporal
from benchmarks.quality.perceptual import Perceptual
from benchmarks.quality.sitter import Sitter, prepare
from puppet.avatar.framing import cut
from puppet.avatar.person import Segmenter
from puppet.contract import Landmarks, Rgb

if TYPE_CHECKING:
    from calibrate.tune import Tuned

Numbers = dict[str, float | None]

KEYS = (
    *("psnr", "ssim", "perceptual", "psnr_mouth", "psnr_eyes"),
    *("perceptual_mouth", "perceptual_eyes", "landmark_error", "lip_error", "lid_error"),
    *("flicker", "temporal_error"),
)
HIGHER_IS_BETTER = ("psnr", "ssim", "psnr_mouth", "psnr_eyes")


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a clip is measured."""

    size: int = 512
    """Side of the pictures that are compared, at most 512."""
    frames: int | None = 10
    shots: int = 0
    """Pictures of the person to tune on; 0 leaves the generator as it is."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What measuring needs; opened once for all clips."""

    segmenter: Segmenter
    reader: FaceReader
    perceptual: Perceptual | None


@dataclass(frozen=True, slots=True)
class Row:
    """One frame for the contact sheet; all pictures of the measured size."""

    name: str
    portrait: Rgb
    results: dict[str, Rgb]
    truth: Rgb
    face: Landmarks


@dataclass
class Measured:
    """One clip's outcome."""

    name: str
    frames: list[int]
    numbers: dict[str, Numbers]
    """By method: the mean over the frames of every key in KEYS; None where it is unknown."""
    faces_lost: dict[str, int]
    """By method: in how many results the tracker found no face. Errors are counted in those frames
    where it found one in all of them."""
    rows: list[Row] = field(default_factory=list)
    note: str = ""


Tune = Callable[[Clip, Sitter, dict[int, Rgb]], "Tuned"]
"""Fits the generator to a clip's person from the shots, by frame index, portrait first."""


def measure_clip(
    clip: Clip,
    animators: Mapping[str, Animator],
    tools: Tools,
    protocol: Protocol,
    *,
    dump: Path | None = None,
    tune: Tune | None = None,
) -> Measured:
    """All methods on the same frames. Raises Unusable."""
    choice = choose(clip, frames=protocol.frames, shots=max(1, protocol.shots))
    shots = dict(stream_frames(clip, choice.shots))
    first = choice.shots[0]
    sitter = prepare(tools.segmenter, shots[first], clip.box, clip.faces[first])
    tuned = tune(clip, sitter, shots) if tune is not None else None
    for animator in animators.values():
        animator.sit(sitter, tuned)
    portrait = cut(shots[first], clip.box, protocol.size)

    picked = _pick(clip, choice)
    following = {i: _successor(clip, i) for i in choice.tests}
    wanted = sorted({*choice.tests, *(i for i in following.values() if i is not None)})
    found: dict[str, list[Numbers]] = {name: [] for name in animators}
    rows: list[Row] = []
    before: tuple[int, dict[str, Rgb], Rgb] | None = None
    for index, picture in stream_frames(clip, wanted):
        large = {n: a.picture(clip.landmarks(index)) for n, a in animators.items()}
        truth = cut(picture, clip.box, protocol.size)
        results = {n: _resized(rgb, protocol.size) for n, rgb in large.items()}
        results["still"] = portrait  # not through two resizings
        if before is not None and following.get(before[0]) == index:
            for name in animators:
                pair = before[1][name], results[name]
                found[name].append(dict(temporal(pair, (before[2], truth))))
        if index in following:
            for name, numbers in _compare(clip, index, picture, large, results, truth, tools):
                found[name].append(numbers)
            if dump is not None:
                _dump(dump / clip.name, index, results, truth)
            if index in picked:
                name = f"{clip.name} #{index}"
                rows.append(Row(name, portrait, results, truth, clip.landmarks(index)))
        before = index, results, truth
    lost = {n: sum(f.get("face_lost") == 1 for f in found[n]) for n in animators}
    means = {name: average(each) for name, each in found.items()}
    return Measured(clip.name, list(choice.tests), means, lost, rows, clip.note)


def average(numbers: list[Numbers]) -> Numbers:
    """Mean of every key over those entries that have a value; None where none has."""
    mean: Numbers = {}
    for key in KEYS:
        known = [v for n in numbers if (v := n.get(key)) is not None]
        mean[key] = float(np.mean(known)) if known else None
    return mean


def _compare(
    clip: Clip,
    index: int,
    picture: Rgb,
    large: dict[str, Rgb],
    results: dict[str, Rgb],
    truth: Rgb,
    tools: Tools,
) -> list[tuple[str, Numbers]]:
    driver = clip.landmarks(index)
    areas = regions(driver, truth.shape[0])
    seen_truth = tools.reader.read(cut(picture, clip.box), driver)
    features = tools.perceptual.compare(results, truth, areas) if tools.perceptual else {}
    seen = {name: tools.reader.read(large[name], driver) for name in results}
    in_all = {name: face for name, face in seen.items() if face is not None}
    compared: list[tuple[str, Numbers]] = []
    for name, result in results.items():
        numbers: Numbers = {"psnr": psnr(result, truth), "ssim": ssim(result, truth)}
        for area, mask in areas.items():
            numbers[f"psnr_{area}"] = psnr(result, truth, mask) if mask.any() else None
        numbers.update(features.get(name, {}))
        if seen_truth is not None:
            numbers["face_lost"] = float(seen[name] is None)
            if len(in_all) == len(seen):  # else a method would be spared what is hard for it
                numbers.update(compare_faces(in_all[name], seen_truth))
        compared.append((name, numbers))
    return compared


def _pick(clip: Clip, choice: Choice) -> set[int]:
    """For the contact sheet: the frame farthest from the portrait, and the widest open mouth."""
    portrait = clip.landmarks(choice.shots[0]).points
    moved = {i: float(np.abs(clip.landmarks(i).points - portrait).mean()) for i in choice.tests}
    lips = {i: expression(clip.faces[i]).lips for i in choice.tests}
    farthest = max(moved, key=moved.__getitem__)
    rest = [i for i in choice.tests if i != farthest]
    return {farthest, max(rest, key=lips.__getitem__)} if rest else {farthest}


def _successor(clip: Clip, index: int) -> int | None:
    """The next frame with a face, if it is the next or the one after."""
    return next((i for i in (index + 1, index + 2) if i in clip.faces), None)


def _resized(rgb: Rgb, size: int) -> Rgb:
    if rgb.shape[0] == size:
        return rgb
    return np.asarray(cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _dump(folder: Path, index: int, results: dict[str, Rgb], truth: Rgb) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rgb in {"truth": truth, **results}.items():
        path = folder / f"{index:05d}_{name}.png"
        if not cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
            raise OSError(f"cannot write {path}")


__all__ = ["KEYS", "Measured", "Protocol", "Row", "Tools", "Unusable", "average", "measure_clip"]
