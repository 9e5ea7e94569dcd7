"""The mean face that both characters start from: numbers only, derived once.

    python -m tests.make_demo.mean_face PICTURE...

runs MediaPipe on pictures of frontal, calm faces, aligns what it finds, averages it, makes it
symmetrical and writes `mean_face.npy`: (478, 3) float32, y down, z away from the viewer, in units
of the face oval's height, with the bridge of the nose at the origin.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.make_demo.topology import EYES, LEFT_IRIS, RIGHT_IRIS

FILE = Path(__file__).with_name("mean_face.npy")
Shape = NDArray[np.float64]
MOST_TURNED = 0.12  # of the oval's width


def load() -> Shape:
    """The stored mean face as float64 (478, 3)."""
    face: Shape = np.load(FILE, allow_pickle=False).astype(np.float64)
    return face


def _upright(points: Shape) -> Shape:
    """Move, turn in the picture plane and scale into the mean face's frame."""
    across = points[263] - points[33]
    angle = -np.arctan2(across[1], across[0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    out = points - points[168]
    out[:, :2] = out[:, :2] @ turn.T
    return out / (out[152, 1] - out[10, 1])


def mirror_partners(points: Shape) -> NDArray[np.int64]:
    """For each point the one on the other side of the face (itself on the middle line)."""
    flipped = points * [-1, 1, 1]
    partners = np.argmin(((points[:, None] - flipped[None]) ** 2).sum(-1), axis=1)
    return partners.astype(np.int64)


def derive(faces: list[Shape]) -> Shape:
    """Average the frontal ones, untwist the rest of the turn, make symmetrical."""
    good = []
    for face in map(_upright, faces):
        turned = abs(face[454, 2] - face[234, 2])
        gap = face[14, 1] - face[13, 1]
        if turned < MOST_TURNED and gap < 0.02:
            good.append(face)
    mean = np.mean(good, axis=0)
    right = EYES["right"]
    mean[:, 2] -= mean[168, 2]
    partners = mirror_partners(mean)
    # Irises lie too close together for the nearest-point rule.
    for offset, other in enumerate((0, 3, 2, 1, 4)):
        partners[RIGHT_IRIS + offset] = LEFT_IRIS + other
        partners[LEFT_IRIS + offset] = RIGHT_IRIS + other
    assert right[2] == RIGHT_IRIS
    bad = int((partners[partners] != np.arange(len(mean))).sum())
    print(f"{len(good)} of {len(faces)} faces used, {bad} points without a clear partner")
    mean = (mean + mean[partners] * [-1, 1, 1]) / 2
    # What is left of the pitch would make the portrait look down: level forehead and chin.
    slope = np.arctan2(mean[152, 2] - mean[10, 2], mean[152, 1] - mean[10, 1])
    c, s = np.cos(slope), np.sin(slope)
    mean[:, 1:] = mean[:, 1:] @ np.array([[c, s], [-s, c]]).T
    return mean / (mean[152, 1] - mean[10, 1])


def main(paths: list[str]) -> None:
    import cv2
    import mediapipe as mp

    faces = []
    with mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        for path in paths:
            bgr = cv2.imread(path)
            found = mesh.process(bgr[:, :, ::-1].copy()).multi_face_landmarks
            if found:
                height, width = bgr.shape[:2]
                points = np.array([(p.x, p.y, p.z) for p in found[0].landmark])
                faces.append(points * [width, height, width])
    np.save(FILE, derive(faces).astype(np.float32))


if __name__ == "__main__":
    main(sys.argv[1:])
