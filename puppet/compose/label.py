"""The visible label: a dark pill with a spark and the words, in a corner of the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.compose.glyphs import CAP_HEIGHT, Mask, text_mask
from puppet.compose.settings import LabelSettings
from puppet.contract import Rgb, Rgba

_HEIGHT_SHARE = {"small": 0.046, "medium": 0.06, "large": 0.085}  # of the picture's height
_MIN_HEIGHT = 16
_MARGIN_SHARE = 0.03
_PILL = (16, 17, 20)
_PILL_OPACITY = 0.86
_INK = (255, 255, 255)
_SPARK = (255, 214, 120)
_OVERSAMPLING = 4


@dataclass(frozen=True, slots=True)
class Label:
    """A drawn label and where it goes."""

    rgba: Rgba
    """(h, w, 4) uint8, premultiplied, so that it is added to a dimmed picture."""
    keep: Rgba
    """(h, w, 4) uint8: how much of the picture stays, in every channel."""
    x: int
    y: int

    def draw(self, rgb: Rgb) -> None:
        """Puts the label onto (H, W, 3) `rgb` in place."""
        roi = self.region(rgb)
        cv2.add(cv2.multiply(roi, self.keep[..., :3], scale=1 / 255), self.rgba[..., :3], dst=roi)

    def draw_premultiplied(self, patch: Rgba) -> None:
        """Puts the label onto a (h, w, 4) premultiplied patch of its own size, in place."""
        cv2.add(cv2.multiply(patch, self.keep, scale=1 / 255), self.rgba, dst=patch)

    def region(self, picture: Rgb) -> Rgb:
        """The part of `picture` under the label; a view."""
        return picture[self.place]

    @property
    def place(self) -> tuple[slice, slice]:
        """The rows and columns it covers."""
        height, width = self.rgba.shape[:2]
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


def make_label(settings: LabelSettings, size: tuple[int, int]) -> Label | None:
    """For pictures of `size` (width, height). None when something else labels them."""
    if settings.elsewhere is not None:
        return None
    width, height = size
    basis = min(height, width)
    pill_height = max(_MIN_HEIGHT, round(_HEIGHT_SHARE[settings.size] * basis))
    rgba = _draw_pill(settings.text, pill_height)
    largest = width - 2 * round(_MARGIN_SHARE * basis)
    if rgba.shape[1] > largest:  # a narrow picture: the words shrink rather than get cut
        rgba = _draw_pill(settings.text, max(8, pill_height * largest // rgba.shape[1]))
    margin = round(_MARGIN_SHARE * basis)
    x = margin if settings.corner.endswith("left") else width - margin - rgba.shape[1]
    y = margin if settings.corner.startswith("top") else height - margin - rgba.shape[0]
    keep = np.repeat(255 - rgba[..., 3:], 4, axis=2)
    return Label(rgba, keep, max(0, x), max(0, y))


def _draw_pill(text: str, height: int) -> Rgba:
    """(height, w, 4) uint8, premultiplied."""
    cap_px = height * 0.40
    words, baseline = text_mask(text, cap_px / CAP_HEIGHT, weight=0.225)
    spark = _spark(height * 0.52)
    pad = round(height * 0.40)
    gap = round(height * 0.16)
    width = pad + spark.shape[1] + gap + words.shape[1] + pad
    body = _rounded(width, height, inset=0.0)
    edge = cv2.subtract(body, _rounded(width, height, inset=max(1.0, height / 26)))

    coverage = np.zeros((height, width), np.float32)
    premultiplied = np.zeros((height, width, 3), np.float32)
    _over(premultiplied, coverage, body.astype(np.float32) * _PILL_OPACITY, _PILL)
    _over(premultiplied, coverage, edge.astype(np.float32) * 0.34, _INK)
    _over(premultiplied, coverage, _placed(spark, body.shape, pad,
          round((height - spark.shape[0]) / 2)), _SPARK)  # fmt: skip
    top = round((height + cap_px) / 2 - baseline)
    _over(premultiplied, coverage, _placed(words, body.shape, pad + spark.shape[1] + gap, top),
          _INK)  # fmt: skip
    return np.dstack([np.rint(premultiplied), np.rint(coverage * 255)]).astype(np.uint8)


def _over(
    premultiplied: NDArray[np.float32],
    coverage: NDArray[np.float32],
    mask: NDArray[np.float32],
    colour: tuple[int, int, int],
) -> None:
    """Paints `colour` through `mask` (0..255) over what is there, in place."""
    alpha = mask / 255
    premultiplied *= (1 - alpha)[..., None]
    premultiplied += alpha[..., None] * np.array(colour, np.float32)
    coverage *= 1 - alpha
    coverage += alpha


def _placed(mask: Mask, shape: tuple[int, ...], x: int, y: int) -> NDArray[np.float32]:
    """`mask` at (x, y) on an empty canvas; what reaches over the edge is cut."""
    canvas = np.zeros(shape[:2], np.float32)
    source_y, y = max(0, -y), max(0, y)
    part = mask[source_y : source_y + canvas.shape[0] - y, : canvas.shape[1] - x]
    canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
    return canvas


def _rounded(width: int, height: int, inset: float) -> Mask:
    """A pill, anti-aliased by drawing large and averaging."""
    k = _OVERSAMPLING
    canvas = np.zeros((height * k, width * k), np.uint8)
    radius = (height / 2 - inset) * k
    centre_y = height * k / 2
    left, right = height * k / 2, width * k - height * k / 2
    for centre_x in (left, right):
        cv2.circle(canvas, _fixed(centre_x, centre_y), round(radius * 16), (255,), -1, shift=4)
    cv2.rectangle(canvas, _fixed(left, centre_y - radius), _fixed(right, centre_y + radius),
                  (255,), -1, shift=4)  # fmt: skip
    return np.asarray(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _fixed(x: float, y: float) -> tuple[int, int]:
    return round((x - 0.5) * 16), round((y - 0.5) * 16)


def _spark(size: float) -> Mask:
    """A four-pointed star, the common sign for something made by a machine."""
    side = math.ceil(size)
    k = _OVERSAMPLING
    canvas = np.zeros((side * k, side * k), np.uint8)
    t = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    radius = size / 2 * k  # an astroid: |cos|^3, |sin|^3
    points = np.stack([np.cos(t) ** 3, np.sin(t) ** 3], axis=1) * radius + side * k / 2
    fixed = np.round((points - 0.5) * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.fillPoly(canvas, [fixed], (255,), lineType=cv2.LINE_AA, shift=4)
    return np.asarray(cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
