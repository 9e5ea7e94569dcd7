"""The driver's neutral: what their face is like when it expresses nothing.

Everything the portrait shows is a deviation from it, so it is averaged over about a second,
scored, and kept per person and camera.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from puppet.contract import N_LANDMARKS, Landmarks, Observation, UserError
from puppet.retarget.openings import EYES, eye_openness, lip_gaps, mouth_width, set_lip_gaps
from puppet.retarget.pose import HeadPose, Shape, fit_pose, to_matrix, to_vector

GOOD_FIT = 0.5
"""A score below this says that the face moved, talked or looked away."""
CALIBRATION_S = 1.0
MIN_FRAMES = 8
REST_LIP_GAP = 0.04
"""Lip gap, in mouth widths, up to which a mouth counts as at rest."""
PROFILE_VERSION = 1
_AS_GOOD = 0.95
"""Scores within this share of the best count as equal."""


@dataclass(frozen=True, slots=True)
class DriverNeutral:
    """One driver's resting face before one camera."""

    shape: Shape
    """(478, 3) in the head's own frame."""
    pose: HeadPose
    """Where the head was, in units of the picture's width (so that another resolution of the
    same camera can use it)."""
    score: float
    """0 to 1: how still, closed-mouthed, open-eyed and frontal the person was."""


class NeutralCollector:
    """Averages about a second of observations into a DriverNeutral."""

    def __init__(self, seconds: float = CALIBRATION_S) -> None:
        self._seconds = seconds
        self._seen: list[Landmarks] = []
        self._first_ns: int | None = None
        self.progress = 0.0

    def add(self, observation: Observation) -> DriverNeutral | None:
        """None until enough was seen. A lost face starts the collection anew."""
        if observation.landmarks is None:
            self._seen.clear()
            self._first_ns, self.progress = None, 0.0
            return None
        if self._first_ns is None:
            self._first_ns = observation.captured_at_ns
        self._seen.append(observation.landmarks)
        elapsed_s = (observation.captured_at_ns - self._first_ns) * 1e-9
        self.progress = min(1.0, elapsed_s / self._seconds, len(self._seen) / MIN_FRAMES)
        if self.progress < 1:
            return None
        return average_neutral(self._seen)


def average_neutral(faces: list[Landmarks]) -> DriverNeutral:
    """The median shape and pose of some landmarks of one person. Raises ValueError for none."""
    if not faces:
        raise ValueError("no landmarks to average")
    points = [face.points / face.width for face in faces]
    poses = [fit_pose(p) for p in points]
    shapes = np.stack([pose.to_head(p) for pose, p in zip(poses, points, strict=True)])
    shape = np.median(shapes, 0)
    parted = float(np.max(lip_gaps(shape))) / mouth_width(shape)
    # An open mouth is an expression, never rest: without this a driver who is caught talking or
    # laughing would leave the portrait's lips shut for as long as theirs are parted.
    set_lip_gaps(shape, np.minimum(lip_gaps(shape), REST_LIP_GAP * mouth_width(shape)))
    vectors = np.array([to_vector(pose.rotation) for pose in poses])
    pose = HeadPose(
        to_matrix(np.median(vectors, 0)),
        np.median([p.translation for p in poses], 0),
        float(np.median([p.scale for p in poses])),
    )
    unrest = float(np.median(np.abs(shapes - shape))) * 60 + float(vectors.std(0).max()) * 8
    return DriverNeutral(shape, pose, _score(shape, pose, unrest, parted))


def best_neutral(observations: list[Observation]) -> DriverNeutral:
    """The most neutral second of a recording, for offline rendering and drift checks; the first
    of several as good, so that the noise of a tracker does not decide. Raises UserError when no
    face was seen."""
    seen = [o for o in observations if o.landmarks is not None]
    if not seen:
        raise UserError("no face was found in the driver; use a clip that shows one face clearly")
    windows: list[DriverNeutral] = []
    start = end = 0
    while end < len(seen):  # not beyond: the rest of a second may be one frame, which is calm
        end = start
        limit_ns = seen[start].captured_at_ns + CALIBRATION_S * 1e9
        while end < len(seen) and seen[end].captured_at_ns < limit_ns:
            end += 1
        faces = [o.landmarks for o in seen[start:end] if o.landmarks is not None]
        windows.append(average_neutral(faces))
        start += max(1, (end - start) // 2)
    good = max(w.score for w in windows) * _AS_GOOD
    return next(w for w in windows if w.score >= good)


def _score(shape: Shape, pose: HeadPose, unrest: float, parted: float) -> float:
    mouth_open = max(0.0, parted - REST_LIP_GAP) * 6
    lids_shut = max(0.0, 0.2 - min(eye_openness(shape, eye) for eye in EYES)) * 8
    turned = max(0.0, float(np.linalg.norm(to_vector(pose.rotation))) - 0.1) * 1.5
    return float(np.exp(-(unrest + mouth_open + lids_shut + turned)))


# --- profiles -------------------------------------------------------------------------------


def save_profile(folder: Path, user: str, camera: str, neutral: DriverNeutral) -> Path:
    """Keeps a neutral for one user and camera; returns the file. Whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _file_name(user, camera)
    part = path.with_suffix(".part")
    part.write_text(
        json.dumps(
            {
                "version": PROFILE_VERSION,
                "user": user,
                "camera": camera,
                "score": neutral.score,
                "rotation": to_vector(neutral.pose.rotation).tolist(),
                "translation": neutral.pose.translation.tolist(),
                "scale": neutral.pose.scale,
                "shape": np.round(neutral.shape, 5).tolist(),
            }
        ),
        encoding="utf-8",
    )
    os.replace(part, path)
    return path


def load_profile(folder: Path, user: str, camera: str) -> DriverNeutral | None:
    """The kept neutral, or None when there is none. Raises UserError for a broken file."""
    path = folder / _file_name(user, camera)
    if not path.exists():
        return None
    try:
        if path.stat().st_size > 1_000_000:
            raise ValueError("too large")
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] != PROFILE_VERSION:
            raise ValueError(f"version {stored['version']}")
        shape = _finite(stored["shape"], (N_LANDMARKS, 3))
        pose = HeadPose(
            to_matrix(_finite(stored["rotation"], (3,))),
            _finite(stored["translation"], (3,)),
            float(_finite(stored["scale"], ())),
        )
        if not 0.01 < pose.scale < 10:
            raise ValueError(f"scale {pose.scale}")
        return DriverNeutral(shape, pose, float(_finite(stored["score"], ())))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the calibration profile {path} cannot be read ({error}); "
            "delete it, or recalibrate to replace it"
        ) from error


def _finite(values: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"expected {shape} finite numbers, got shape {array.shape}")
    return array


def _file_name(user: str, camera: str) -> str:
    def plain(text: str) -> str:
        return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:60] or "default"

    return f"{plain(user)}@{plain(camera)}.json"
