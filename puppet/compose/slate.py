"""The picture shown instead of the avatar: nobody in front of the camera, paused, or panic."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.compose.glyphs import CAP_HEIGHT, Mask, text_mask
from puppet.compose.scene import Portrait
from puppet.contract import Rgb

SlateReason = Literal["away", "paused", "panic"]

_TEXTS: dict[str, dict[str, str]] = {
    "en": {"away": "Back in a moment", "paused": "Paused", "panic": "Picture is off"},
    "de": {"away": "Gleich wieder da", "paused": "Pause", "panic": "Bild ist aus"},
    "fr": {"away": "Retour dans un instant", "paused": "Pause", "panic": "Image coupée"},
    "es": {"away": "Vuelvo enseguida", "paused": "Pausa", "panic": "Imagen apagada"},
    "it": {"away": "Rientro a breve", "paused": "Pausa", "panic": "Immagine spenta"},
    "pt": {"away": "Volto num instante", "paused": "Pausa", "panic": "Imagem desligada"},
    "nl": {"away": "Ben zo terug", "paused": "Pauze", "panic": "Beeld is uit"},
    "sv": {"away": "Kommer strax tillbaka", "paused": "Paus", "panic": "Ingen bild"},
    "pl": {"away": "Wracam zaraz", "paused": "Pauza", "panic": "Brak obrazu"},
}
_FULL = (255,)
_INK = np.array((240, 242, 246), np.float32)
_FLOOR = np.array((18, 21, 28), np.float32)  # a deep blue grey that suits any tint


def draw_slate(
    portrait: Portrait, size: tuple[int, int], reason: SlateReason, language: str
) -> Rgb:
    """(H, W, 3) uint8: a calm gradient in the tone of the portrait's background, a mark, words.

    Made of the portrait's in-painted background alone: no pixel of driver or person is in it.
    """
    width, height = size
    canvas = _gradient(_tint(portrait.background), width, height)
    basis = min(height, round(width * 0.8))
    words = _TEXTS[language][reason]
    _draw_mark(canvas, (width / 2, height * 0.43), basis * 0.125, reason)
    cap = basis * 0.042
    mask, baseline = text_mask(words, cap / CAP_HEIGHT, weight=0.17)
    _ink(canvas, mask, round((width - mask.shape[1]) / 2),
         round(height * 0.43 + basis * 0.235 + cap / 2 - baseline), 0.94)  # fmt: skip
    return np.rint(canvas).clip(0, 255).astype(np.uint8)


def _tint(background: Rgb) -> NDArray[np.float32]:
    """The mean colour, its brightness brought down so that white words stand out."""
    small = cv2.resize(background, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
    mean = small.reshape(-1, 3).mean(axis=0)
    grey = float(mean.mean())
    vivid = grey + (mean - grey) * 1.3
    return np.asarray(np.clip(vivid * (74 / max(grey, 1.0)), 24, 118), np.float32)


def _gradient(tint: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Light from above the middle, falling off to the corners; dithered against banding."""
    x = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5
    y = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.36
    aspect = width / height
    radius = np.sqrt((x * min(aspect, 1.4))[None, :] ** 2 + y[:, None] ** 2)
    light = np.exp(-((radius / 0.62) ** 2))[..., None]
    noise = np.random.default_rng(0).uniform(-0.6, 0.6, (height, width, 1))
    return np.asarray(_FLOOR + (tint - _FLOOR) * light * 0.9 + noise, np.float32)


def _draw_mark(
    canvas: NDArray[np.float32],
    centre: tuple[float, float],
    radius: float,
    reason: SlateReason,
) -> None:
    """A thin ring with a bust (away), two bars (paused) or a covered eye (panic) in it."""
    k = 4
    side = int(np.ceil(radius * 2.2))
    large = np.zeros((side * k, side * k), np.uint8)
    disc = np.zeros_like(large)
    middle, r = side * k / 2, radius * k
    stroke = max(k, round(r * 0.055))

    def at(x: float, y: float) -> tuple[int, int]:
        return round(middle + x * r), round(middle + y * r)

    cv2.circle(disc, at(0, 0), round(r), _FULL, -1, cv2.LINE_AA)
    cv2.circle(large, at(0, 0), round(r), _FULL, stroke, cv2.LINE_AA)
    if reason == "paused":
        for x in (-0.2, 0.2):
            cv2.line(large, at(x, -0.3), at(x, 0.3), _FULL, round(r * 0.15), cv2.LINE_AA)
    elif reason == "away":
        cv2.circle(large, at(0, -0.2), round(r * 0.26), _FULL, stroke, cv2.LINE_AA)
        cv2.ellipse(large, at(0, 0.66), (round(r * 0.5), round(r * 0.46)), 0, 198, 342, _FULL,
                    stroke, cv2.LINE_AA)  # fmt: skip
    else:
        axes = round(r * 0.52), round(r * 0.32)
        cv2.ellipse(large, at(0, 0), axes, 0, 0, 360, _FULL, stroke, cv2.LINE_AA)
        cv2.circle(large, at(0, 0), round(r * 0.14), _FULL, -1, cv2.LINE_AA)
        cv2.line(large, at(-0.46, 0.46), at(0.46, -0.46), (0,), stroke * 3, cv2.LINE_AA)
        cv2.line(large, at(-0.44, 0.44), at(0.44, -0.44), _FULL, stroke, cv2.LINE_AA)
    x, y = round(centre[0] - side / 2), round(centre[1] - side / 2)
    for mask, opacity in ((disc, 0.08), (large, 0.9)):
        small = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
        _ink(canvas, np.asarray(small, np.uint8), x, y, opacity)


def _ink(
    canvas: NDArray[np.float32],
    mask: Mask,
    x: int,
    y: int,
    opacity: float,
) -> None:
    """Light ink through `mask` at (x, y), in place; the part outside of the canvas is cut."""
    left, top = max(0, x), max(0, y)
    mask = mask[top - y : top - y + canvas.shape[0] - top, left - x :][:, : canvas.shape[1] - left]
    region = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    region += (_INK - region) * (mask.astype(np.float32) / 255 * opacity)[..., None]
