"""Paint the portrait: python -m tests.make_demo.portrait [FILE.jpg]"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.make_demo import mean_face
from tests.make_demo.character import MIRA
from tests.make_demo.clothes import mira_body
from tests.make_demo.figure import Figure
from tests.make_demo.hair import mira_hair
from tests.make_demo.mesh import View
from tests.make_demo.rooms import mira_backdrop
from tests.make_demo.shape import Expression, Pose, characterise, express, turn

DATA = Path(__file__).parents[2] / "puppet" / "data"
WIDTH, HEIGHT, _FINER = 1024, 1280, 2
_VIEW = View(WIDTH * _FINER, HEIGHT * _FINER, 470.0 * _FINER, 512.0 * _FINER, 430.0 * _FINER)
_FACE = Expression(smile=0.65)
_POSE = Pose(yaw=-2.5, roll=-2.0)


def landmarks() -> NDArray[np.float64]:
    """Where the portrait's 478 points were painted, (478, 2) pixels."""
    shape = express(characterise(mean_face.load(), MIRA.traits), _FACE)
    return _VIEW.pixels(turn(shape, _POSE)) / _FINER


def paint() -> NDArray[np.uint8]:
    """The portrait, (1280, 1024, 3) uint8 RGB."""
    back, front = mira_hair(_VIEW)
    figure = Figure(MIRA, _VIEW, [back, mira_body(_VIEW)], [front])
    large = figure.draw(mira_backdrop(_VIEW), _FACE, _POSE)
    small = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def main(path: Path) -> None:
    picture = paint()
    cv2.imwrite(str(path), picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "demo_portrait.jpg")
