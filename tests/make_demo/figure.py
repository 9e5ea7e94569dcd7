"""A whole figure: layers painted once, then bent and laid over each other for every picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tests.make_demo import mean_face
from tests.make_demo.character import Character
from tests.make_demo.features import paint_eyeball, paint_lines, paint_mouth
from tests.make_demo.mesh import Layer, Triangles, View, bend, delaunay, face_triangles, over
from tests.make_demo.shape import Expression, Pose, Shape, characterise, express, turn
from tests.make_demo.skin import margin, paint_skin

_AJAR = Expression(jaw=0.22)  # keeps the lips apart in the painting, so that they can part later


@dataclass(frozen=True)
class Cloth:
    """A layer that is not the face: hair, clothes. `follows` gives each point's share of the
    head's movement, `depth` its depth in face units; both take and give (N,) arrays."""

    layer: Layer
    follows: Callable[[Shape, Shape], Shape]
    depth: Callable[[Shape, Shape], Shape]


@dataclass(frozen=True)
class Grid:
    """Evenly spread points over a whole picture."""

    points: Shape
    triangles: Triangles


def grid(view: View, columns: int = 22, rows: int = 22) -> Grid:
    """A grid in face units that covers the picture."""
    x = (np.linspace(0, view.width, columns) - view.x) / view.unit
    y = (np.linspace(0, view.height, rows) - view.y) / view.unit
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    index = np.arange(columns * rows).reshape(rows, columns)
    a, b, c, d = (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:])
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([b, d, c], -1).reshape(-1, 3)]
    )
    return Grid(points, triangles)


class Figure:
    """Draws one character; `behind` and `front` are the layers behind and before the face."""

    def __init__(self, who: Character, view: View, behind: list[Cloth], front: list[Cloth]) -> None:
        self.who, self.view = who, view
        self.behind, self.front = behind, front
        self.rest = characterise(mean_face.load(), who.traits)
        self.template = express(self.rest, _AJAR)
        self.head = margin(self.template)
        self.triangles = face_triangles(self.head)
        self.skin = paint_skin(self.template, self.head, self.triangles, view, who)
        self.iris = float(
            np.linalg.norm(self.rest[469, :2] - self.rest[468, :2]) * (1 + 0.1 * who.lashes)
        )
        self._grid = grid(view)

    def points(self, face: Expression, pose: Pose) -> Shape:
        """Where the 478 points are in the picture, in pixels: the truth a tracker should find."""
        return self.view.pixels(turn(express(self.rest, face), pose))

    def _cloth(self, cloth: Cloth, pose: Pose) -> Layer:
        xy = self._grid.points
        z = cloth.depth(xy[:, 0], xy[:, 1])
        still = np.column_stack([xy, z])
        # The layer is painted as it looks at rest: take the perspective of rest back out.
        rest = turn(still, Pose())
        still[:, :2] += still[:, :2] - rest[:, :2]
        share = np.clip(cloth.follows(xy[:, 0], xy[:, 1]), 0, 1)[:, None]
        moved = turn(still, pose)
        target = np.column_stack([xy, z]) * (1 - share) + moved * share
        return bend(
            cloth.layer,
            self.view.pixels(xy),
            self.view.pixels(target),
            moved[:, 2],
            self._grid.triangles,
            self.view,
        )

    def draw(
        self, background: NDArray[np.uint8], face: Expression, pose: Pose
    ) -> NDArray[np.uint8]:
        """The finished picture; (H, W, 3) uint8 RGB. `background` is left alone."""
        picture = background
        for cloth in self.behind:
            picture = over(picture, self._cloth(cloth, pose))
        # The jaw stays attached to the margin, so both are bent from the same expression.
        shape = express(self.rest, face)
        turned = turn(shape, pose)
        head = turn(margin(shape), pose)
        open_by = float(shape[14, 1] - shape[13, 1])
        image = picture.astype(np.float32) / 255
        for side in ("right", "left"):
            paint_eyeball(image, turned, side, self.iris, self.view, self.who)
        paint_mouth(image, turned, open_by, self.view)
        picture = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
        skin = bend(
            self.skin,
            self.view.pixels(self.head),
            self.view.pixels(head),
            head[:, 2],
            self.triangles,
            self.view,
        )
        picture = over(picture, skin)
        image = picture.astype(np.float32) / 255
        paint_lines(image, turned, open_by, self.view, self.who)
        picture = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
        for cloth in self.front:
            picture = over(picture, self._cloth(cloth, pose))
        return picture


__all__ = ["Cloth", "Figure", "delaunay", "replace"]
