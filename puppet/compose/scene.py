"""The still parts of the picture, made once: what is behind and around the animated square.

With a person P (the generator's premultiplied RGBA, scaled into the frame) one frame is

    P * fade + still_base * (1 - alpha(P) * fade)

`empty` is the chosen background without the person, `still` the same with the person at rest
(shoulders that the animated square does not reach). The base is `empty` inside the square and
turns into `still` towards its edges; `fade` hides the seam.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.compose.framing import Box, Framing
from puppet.compose.settings import Background
from puppet.contract import Rgb, Rgba

_FADE_SHARE = 0.03  # of the square's side: from nothing to the whole of the generator's picture
_REST_SHARE = 0.09  # beyond it: from the person at rest to the empty background
_EXTENSION_BLUR = 0.045  # of the output's height
_EXTENSION_SEAM = 0.05
_SLACK = 1.5  # output pixels: an edge this close to the frame's is the frame's
_SIDE_FADE = 0.12  # of the square's side, where the person at rest is not known


class Portrait(Protocol):
    """What the compositor needs of an avatar; see puppet.avatar.bundle.Avatar."""

    @property
    def name(self) -> str: ...
    @property
    def picture(self) -> Rgb: ...
    @property
    def background(self) -> Rgb: ...
    @property
    def picture_matte(self) -> NDArray[np.uint8] | None: ...
    @property
    def crop(self) -> Box: ...


@dataclass(frozen=True, slots=True)
class Scene:
    """The precomputed still parts, all at output size (height H, width W)."""

    base: Rgb
    """(H, W, 3) uint8."""
    cutout_base: Rgba | None
    """(H, W, 4) uint8, premultiplied: the person at rest around the square, without background;
    None when no cut-out is wanted."""
    fade: NDArray[np.uint8] | None
    """(h, w) uint8 over the visible part of the square; None where it is 255 everywhere."""


def make_scene(
    portrait: Portrait,
    framing: Framing,
    background: Background,
    *,
    cutout: bool,
) -> Scene:
    """Computes the still parts for one frame size.

    Without a `portrait.picture_matte` the shoulders outside of the animated square can only be
    shown over the original background; over another one the square's edges fade out instead.
    """
    matte = portrait.picture_matte
    view_still = view_picture(portrait.picture, portrait.background, framing)
    if framing.is_crop:
        empty = _backdrop(portrait, framing, background)
        nothing = np.zeros((*empty.shape[:2], 4), np.uint8)
        return Scene(empty, nothing if cutout else None, None)

    empty = _backdrop(portrait, framing, background)
    rest = _view_matte(matte, framing)
    still = view_still if background.kind == "original" else _mix(empty, view_still, rest)
    edges = _square_edges(framing, portrait.picture.shape)
    narrow = _FADE_SHARE * framing.side
    if matte is None and background.kind != "original":
        narrow = _SIDE_FADE * framing.side
    fade = _ramp(framing, edges, 0.0, narrow)
    resting = 1 - _ramp(framing, edges, narrow, _REST_SHARE * framing.side)
    base = _mix(empty, still, resting)
    window = fade[framing.visible()]
    return Scene(
        np.ascontiguousarray(base),
        _cut_out(view_still, rest * resting) if cutout else None,
        np.rint(window * 255).astype(np.uint8),
    )


def _cut_out(view: Rgb, alpha: NDArray[np.float32]) -> Rgba:
    """(H, W, 4) premultiplied: `view` through `alpha` (0..1)."""
    premultiplied = np.rint(np.dstack([view * alpha[..., None], alpha * 255]))
    return np.asarray(premultiplied, np.uint8)


def view_picture(picture: Rgb, filler: Rgb, framing: Framing) -> Rgb:
    """The frame's view of `picture`, its surroundings continued from `filler`, blurred."""
    view = _sample(picture, framing, cv2.BORDER_REPLICATE)
    edges = framing.picture_edges(picture.shape[1], picture.shape[0])
    left, top, right, bottom = edges
    if left <= 0 and top <= 0 and right >= framing.width and bottom >= framing.height:
        return view
    seam = max(2.0, _EXTENSION_SEAM * framing.height)
    return _mix(_surroundings(filler, framing), view, _ramp(framing, edges, 0.0, seam))


def _surroundings(filler: Rgb, framing: Framing) -> Rgb:
    """What lies around the picture: its reflection, so blurred that a quarter of the size does."""
    width, height = framing.width // 4, framing.height // 4
    quarter = replace(framing, width=width, height=height, scale=framing.scale / 4)
    small = _sample(filler, quarter, cv2.BORDER_REFLECT_101)
    sigma = max(0.6, _EXTENSION_BLUR * height)
    small = np.asarray(
        cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.uint8
    )
    size = (framing.width, framing.height)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _backdrop(portrait: Portrait, framing: Framing, background: Background) -> Rgb:
    """The chosen background without the person, (H, W, 3)."""
    height, width = framing.height, framing.width
    if background.kind == "colour":
        return np.full((height, width, 3), background.colour, np.uint8)
    if background.kind == "transparent":
        return np.zeros((height, width, 3), np.uint8)
    if background.kind == "image":
        assert background.image is not None  # checked by Background
        return _cover(background.image, width, height)
    view = view_picture(portrait.background, portrait.background, framing)
    if background.kind == "blur":
        return _blurred(view, 0.025 * background.strength)
    return view


def _cover(image: Rgb, width: int, height: int) -> Rgb:
    """Scaled to fill the frame, the rest cut off evenly."""
    scale = max(width / image.shape[1], height / image.shape[0])
    size = max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(image, size, interpolation=method)
    x, y = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(scaled[y : y + height, x : x + width], np.uint8)


def _view_matte(matte: NDArray[np.uint8] | None, framing: Framing) -> NDArray[np.float32]:
    """(H, W) 0..1: the person at rest; nothing where the picture does not reach."""
    if matte is None:
        return np.zeros((framing.height, framing.width), np.float32)
    view = _sample(matte, framing, cv2.BORDER_REPLICATE).astype(np.float32) / 255
    edges = framing.picture_edges(matte.shape[1], matte.shape[0])
    seam = max(2.0, _EXTENSION_SEAM * framing.height)
    return np.asarray(view * _ramp(framing, edges, 0.0, seam), np.float32)


def _sample(picture: Rgb, framing: Framing, border: int) -> Rgb:
    """Warped to the frame, without aliasing when it is scaled down."""
    affine, scale = framing.sampling(), framing.scale
    if scale < 0.75:  # shrink by area first, then place with sub-pixel accuracy
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        ratio = np.array([[size[0] / picture.shape[1]], [size[1] / picture.shape[0]]])
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        affine = affine.copy()
        affine[:, 2:] = (affine[:, 2:] + 0.5) * ratio - 0.5
        affine[:, :2] *= ratio
    warped = cv2.warpAffine(
        picture, affine, (framing.width, framing.height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border,
    )  # fmt: skip
    return np.asarray(warped, np.uint8)


def _blurred(picture: Rgb, share: float) -> Rgb:
    """A wide Gaussian blur, radius in shares of the height, made on a quarter of the size."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    sigma = max(0.6, share * height / 4)
    small = cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _ramp(
    framing: Framing, edges: tuple[float, float, float, float], start: float, width: float
) -> NDArray[np.float32]:
    """(H, W): 0 up to `start` pixels inside the rectangle `edges`, 1 from `start + width` on.

    Eased (smoothstep), so that no crease shows. Edges at or outside the frame do not count:
    nothing is seen beyond them.
    """
    left, top, right, bottom = edges
    x = np.arange(framing.width, dtype=np.float32) + 0.5
    y = np.arange(framing.height, dtype=np.float32) + 0.5
    across, down = np.full_like(x, np.inf), np.full_like(y, np.inf)
    if left > _SLACK:
        across = np.minimum(across, x - left)
    if right < framing.width - _SLACK:
        across = np.minimum(across, right - x)
    if top > _SLACK:
        down = np.minimum(down, y - top)
    if bottom < framing.height - _SLACK:
        down = np.minimum(down, bottom - y)
    eased = []
    for depth in (across, down):
        t = np.clip((depth - start) / width, 0, 1)
        eased.append(t * t * (3 - 2 * t))
    return np.asarray(np.minimum(eased[0][None, :], eased[1][:, None]), np.float32)


def _square_edges(framing: Framing, picture: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Of the part of the animated square that the picture covers, in output pixels."""
    left, top, right, bottom = framing.picture_edges(picture[1], picture[0])
    return (
        max(left, framing.x),
        max(top, framing.y),
        min(right, framing.x + framing.side),
        min(bottom, framing.y + framing.side),
    )


def _mix(below: Rgb, above: Rgb, weight: NDArray[np.float32]) -> Rgb:
    """`above` over `below`; `weight` (H, W) float32, 0..1."""
    return np.asarray(cv2.blendLinear(above, below, weight, 1 - weight), np.uint8)
