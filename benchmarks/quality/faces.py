"""What the face tracker sees in a result, against what it sees in the truth.

Both are measured in the same way (a still picture, searched anew), so that an exact result has
no error whatever the tracker's own bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from puppet.contract import Landmarks, Rgb
from puppet.retarget.openings import EYES, eye_openness, gaze, lip_gaps
from puppet.retarget.pose import fit_pose
from puppet.track import open_mesh
from puppet.track.follow import face_box, overlap

OUTER_EYE_CORNERS = (33, 263)


@dataclass(frozen=True, slots=True)
class Expression:
    """One face in its head's frame."""

    lips: float
    """Mean gap between the inner lips, in outer eye corner distances of the mean face."""
    lids: float
    """Mean lid gap over eye width, both eyes."""
    gaze: float
    """Sideways from the middle of the eyes, in eye widths, both eyes."""
    yaw: float
    pitch: float
    roll: float
    """Degrees."""


class FaceReader:
    """Finds the one face of square pictures."""

    def __init__(self) -> None:
        """Raises TrackerError."""
        self._mesh = open_mesh(still=True, max_faces=1, confidence=0.3)

    def read(self, rgb: Rgb, near: Landmarks | None = None) -> Landmarks | None:
        """The face, or None; a face that is elsewhere than `near` does not count."""
        for face in self._mesh.find(rgb, 0):
            if near is None or overlap(face_box(face), face_box(near)) > 0.2:
                return face
        return None

    def close(self) -> None:
        self._mesh.close()


def expression(face: Landmarks) -> Expression:
    """Openings and pose of a face."""
    pose = fit_pose(face.points)
    head = pose.to_head(face.points)
    yaw, pitch, roll = angles(pose.rotation)
    lids = float(np.mean([eye_openness(head, eye) for eye in EYES]))
    to_nose = [float(gaze(head, eye)[0]) for eye in EYES]  # opposite ways for the two eyes
    lips = float(np.maximum(lip_gaps(head), 0).mean())
    return Expression(lips, lids, (to_nose[0] - to_nose[1]) / 2, yaw, pitch, roll)


def angles(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in degrees of R = Rz(roll) Ry(yaw) Rx(pitch); 0 is frontal."""
    yaw = np.arcsin(np.clip(-rotation[2, 0], -1, 1))
    pitch = np.arctan2(rotation[2, 1], rotation[2, 2])
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def compare_faces(result: Landmarks, truth: Landmarks) -> dict[str, float]:
    """landmark_error: mean distance of the 478 points in the picture over the truth's outer eye
    corner distance; lip_error and lid_error: differences of Expression's openings."""
    a, b = OUTER_EYE_CORNERS
    unit = float(np.linalg.norm(truth.points[a] - truth.points[b]))
    distance = np.linalg.norm(result.points[:, :2] - truth.points[:, :2], axis=1)
    seen, wanted = expression(result), expression(truth)
    return {
        "landmark_error": float(distance.mean()) / unit,
        "lip_error": abs(seen.lips - wanted.lips),
        "lid_error": abs(seen.lids - wanted.lids),
    }
