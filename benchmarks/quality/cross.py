"""Cross-reenactment: drivers move other people's portraits. Without a truth picture it is asked
whether the result does what the driver does, and holds still when the driver does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.clips import Clip, Unusable, observations, stream_frames
from benchmarks.quality.faces import FaceReader, expression
from benchmarks.quality.matte import matte_steadiness
from benchmarks.quality.methods import Animator
from benchmarks.quality.reenact import Numbers, Tools
from benchmarks.quality.report import TILE, tile, write_on
from benchmarks.quality.sitter import Sitter, prepare
from puppet.avatar.framing import cut, frame_face
from puppet.capture.images import IMAGE_SUFFIXES, read_picture
from puppet.compose.steady import SteadyMatte
from puppet.contract import Frame, Landmarks, Rgb, SourceError
from puppet.retarget import Retargeter, best_neutral, rest_face
from puppet.track import find_faces, open_tracker

MEASURES = ("lips", "lids", "gaze", "yaw", "pitch", "roll")
# A driver who does less than this (standard deviation) gives nothing to follow.
_SOMETHING = {"lips": 0.008, "lids": 0.012, "gaze": 0.02, "yaw": 1.5, "pitch": 1.0, "roll": 1.0}
MEASURED_FRAMES = 40
STILL_FRAMES = 30
STILL_NOISE = 2.0
"""Sensor noise of the motionless driver: standard deviation in levels of 255."""


@dataclass(frozen=True, slots=True)
class Followed:
    """One portrait driven by one clip."""

    name: str
    numbers: dict[str, Numbers]
    """By method, see `follow`."""
    strip: Rgb
    """Driver, portrait, then each method's picture at the driver's widest mouth."""


def find_portraits(folder: Path, count: int) -> list[Path]:
    """`count` pictures of a folder, evenly spread over the sorted names."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no portraits ({', '.join(sorted(IMAGE_SUFFIXES))})"
        )
    picks = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    return [found[i] for i in picks]


def load_sitter(path: Path, tools: Tools) -> Sitter:
    """A portrait framed as the avatar frames it. Raises Unusable."""
    try:
        rgb = read_picture(path)
    except SourceError as error:
        raise Unusable("cannot be read as a picture") from error
    faces = find_faces(rgb)
    if not faces:
        raise Unusable("no face")
    return prepare(tools.segmenter, rgb, frame_face(faces[0]), faces[0])


def follow(
    name: str, sitter: Sitter, clip: Clip, animators: Mapping[str, Animator], reader: FaceReader
) -> Followed:
    """By method:

    <measure>_following  correlation over the clip of lips, lids, gaze, yaw, pitch and roll of
                         driver and result; None where the driver hardly moves it
    <measure>_reach      of lips, lids and gaze: how far the result goes, 1 as far as the driver
                         (slope of the fitted line); None likewise
    <angle>_error        mean absolute difference, degrees, of both deviations from their medians
    jitter_px            mean over the points of their standard deviation over time in the result
                         (512 pixels) while the driver is a still picture with sensor noise
    shimmer              the same result's mean absolute change from frame to frame, in levels
    matte_*              see `matte_steadiness`; moving: the clip's first frames, one by one
    shown_matte_*        the same after the compositor's filter: what a viewer sees
    """
    indices = sorted(clip.faces)
    seen = observations(clip, indices)
    retargeter = Retargeter(rest_face(sitter.landmarks), best_neutral(seen))
    driven = {i: retargeter.retarget(clip.faces[i], clip.times_ns[i]) for i in indices}
    step = max(1, len(indices) // MEASURED_FRAMES)
    measured = indices[::step]
    wanted = {i: expression(clip.faces[i]) for i in measured}
    still = _still_driver(clip, retargeter)
    moving = [driven[i] for i in indices[:STILL_FRAMES]]
    widest = max(measured, key=lambda i: wanted[i].lips)
    shown = [cut(dict(stream_frames(clip, [widest]))[widest], clip.box, TILE), tile(sitter.plain)]
    numbers: dict[str, Numbers] = {}
    for method, animator in animators.items():
        animator.sit(sitter)
        faces = {i: reader.read(animator.picture(driven[i]), driven[i]) for i in measured}
        shown.append(tile(animator.picture(driven[widest])))
        pairs = [(wanted[i], expression(face)) for i, face in faces.items() if face is not None]
        numbers[method] = {}
        for measure in MEASURES:
            both = np.array([(getattr(a, measure), getattr(b, measure)) for a, b in pairs])
            numbers[method].update(_following(measure, both.reshape(-1, 2)))
        numbers[method].update(_steadiness([animator.picture(x) for x in still], still, reader))
        mattes = [[animator.matte(x) for x in faces] for faces in (still, moving)]
        numbers[method].update(matte_steadiness(*mattes))
        steadied = matte_steadiness(*(_as_shown(each) for each in mattes))
        numbers[method].update({f"shown_{key}": value for key, value in steadied.items()})
    write_on(shown[0], name[:36])
    return Followed(name, numbers, np.concatenate(shown, 1))


def _as_shown(mattes: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    filter_ = SteadyMatte()
    return [filter_.follow(matte) for matte in mattes]


def mean_followed(followed: Sequence[Followed], method: str) -> Numbers:
    """Mean over pairs of every number that is known."""
    keys = followed[0].numbers[method] if followed else {}
    mean: Numbers = {}
    for key in keys:
        known = [v for f in followed if (v := f.numbers[method][key]) is not None]
        mean[key] = float(np.mean(known)) if known else None
    return mean


def _following(measure: str, both: NDArray[np.float64]) -> Numbers:
    found: Numbers = {f"{measure}_following": None}
    angle = measure in ("yaw", "pitch", "roll")
    found[f"{measure}_error" if angle else f"{measure}_reach"] = None
    if len(both) < 3:
        return found
    deviation = both - np.median(both, 0)
    if angle:
        found[f"{measure}_error"] = float(np.abs(deviation[:, 0] - deviation[:, 1]).mean())
    spread = both.std(0)
    if spread[0] >= _SOMETHING[measure]:
        # A result that does not move at all follows nothing.
        moving = spread[1] > 1e-9
        found[f"{measure}_following"] = float(np.corrcoef(both.T)[0, 1]) if moving else 0.0
        if not angle:
            found[f"{measure}_reach"] = float(np.polyfit(both[:, 0], both[:, 1], 1)[0])
    return found


def _still_driver(clip: Clip, retargeter: Retargeter) -> list[Landmarks]:
    """The clip's first face as one picture repeated with noise, tracked and retargeted. Raises
    Unusable."""
    first = min(clip.faces)
    picture = dict(stream_frames(clip, [first]))[first].astype(np.float32)
    rng = np.random.default_rng(0)
    tracker = open_tracker()
    retargeter.reset()
    driven = []
    try:
        for k in range(STILL_FRAMES + 10):
            noisy = picture + rng.normal(0, STILL_NOISE, picture.shape)
            rgb = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
            at_ns = round((k + 1) * 1e9 / 25)
            face = tracker.track(Frame(rgb, at_ns, k)).landmarks
            if face is not None:
                driven.append(retargeter.retarget(face, at_ns))
    finally:
        tracker.close()
    if not driven:
        raise Unusable("the driver's face is not found in its first picture, repeated")
    return driven[-STILL_FRAMES:]  # the first ones settle the filters


def _steadiness(pictures: list[Rgb], driven: list[Landmarks], reader: FaceReader) -> Numbers:
    faces = [reader.read(rgb, near) for rgb, near in zip(pictures, driven, strict=True)]
    points = np.array([face.points[:, :2] for face in faces if face is not None])
    grey = [np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32) for rgb in pictures]
    changes = [float(np.abs(b - a).mean()) for a, b in pairwise(grey)]
    return {
        "jitter_px": float(points.std(0).mean()) if len(points) > 1 else None,
        "driven_jitter_px": float(np.array([d.points[:, :2] for d in driven]).std(0).mean())
        if len(driven) > 1
        else None,
        "shimmer": float(np.mean(changes)) if changes else None,
    }
