"""Landmarks to the landmark image, drawn alike for training and for the live loop.

`DRAW_STYLE` names this drawing in checkpoints, ONNX metadata and avatar bundles. Whoever changes
a line of it changes the name, and weights trained on another drawing are refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.contract import LandmarkImage
from puppet.contract import Landmarks
from puppet.draw.contours import draw_contours
from puppet.draw.motion import coarse_motion

__all__ = [
    "DRAW_STYLE",
    "SAME_PORTRAITS",
    "LandmarkPainter",
    "coarse_motion",
    "draw_contours",
    "picture_coordinates",
]

DRAW_STYLE = "contours3x256+motion128/2"
SAME_PORTRAITS = (DRAW_STYLE, "contours3x256+motion128/1")
"""Drawings that look the same of a portrait: the earlier one knew nothing of the driver's teeth."""


def picture_coordinates(landmarks: Landmarks) -> NDArray[np.float32]:
    """(478, 3) float32: x and y with the picture's edges at -1 and 1; z in the unit of x."""
    unit = np.array((2 / landmarks.width, 2 / landmarks.height, 2 / landmarks.width), np.float32)
    return landmarks.points * unit - np.array((1, 1, 0), np.float32)


class LandmarkPainter:
    """Draws landmark images for one portrait."""

    def __init__(self, portrait: Landmarks) -> None:
        """`portrait`: the portrait's own landmarks, exactly as found in its crop."""
        self._portrait = picture_coordinates(portrait)
        # Of the portrait's own mouth the encoder sees the picture itself.
        self._contours = draw_contours(self._portrait)

    def paint(self, driving: Landmarks) -> LandmarkImage:
        """`driving`: retargeted landmarks in the portrait's crop.

        The contours are valid until the next call; the motion is the caller's.
        """
        points = picture_coordinates(driving)
        return LandmarkImage(
            draw_contours(points, self._contours, driving.teeth),
            coarse_motion(points, self._portrait),
        )
