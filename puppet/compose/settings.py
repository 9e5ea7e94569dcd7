"""What the user can choose about the picture: size, background, label."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from puppet.contract import PictureError, Rgb, UserError
from puppet.system import expanded

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]
LabelSize = Literal["small", "medium", "large"]
BackgroundKind = Literal["original", "colour", "blur", "image", "transparent"]

WORDINGS: dict[str, tuple[str, str]] = {
    # language: (short, full)
    "en": ("AI", "AI generated"),
    "de": ("KI", "KI-generiert"),
    "fr": ("IA", "Généré par IA"),
    "es": ("IA", "Generado por IA"),
    "it": ("IA", "Generato con IA"),
    "pt": ("IA", "Gerado por IA"),
    "nl": ("AI", "AI-gegenereerd"),
    "sv": ("AI", "AI-genererad"),
    "pl": ("AI", "Wygenerowane przez AI"),
}
_MAX_IMAGE_BYTES = 64 << 20
_MIN_SIDE, _MAX_SIDE = 64, 4096


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """The visible label that says the picture is made by a machine."""

    corner: Corner = "bottom-left"
    size: LabelSize = "medium"
    language: str = "en"
    """One of WORDINGS."""
    wording: Literal["short", "full"] = "full"
    elsewhere: str | None = None
    """Who labels the picture instead ("obs", "studio desk"): the only way to have no label."""

    def __post_init__(self) -> None:
        _check_choice("label corner", self.corner, get_args(Corner))
        _check_choice("label size", self.size, get_args(LabelSize))
        _check_choice("label wording", self.wording, ("short", "full"))
        _check_choice("label language", self.language, tuple(WORDINGS))
        if self.elsewhere is not None and not self.elsewhere.strip():
            raise UserError(
                "the label can only be left out when something else labels the picture: "
                'name it, for example "obs"'
            )

    @property
    def text(self) -> str:
        return WORDINGS[self.language][self.wording == "full"]


@dataclass(frozen=True, slots=True)
class Background:
    """What is seen behind the person. Use `parse_background` for what a user typed."""

    kind: BackgroundKind = "original"
    colour: tuple[int, int, int] = (0, 177, 64)
    """RGB, for `colour`."""
    strength: float = 1.0
    """For `blur`: 1 is a blur radius of 2.5 % of the picture's height; 0.1 to 4."""
    image: Rgb | None = field(default=None, compare=False, repr=False)
    """(H, W, 3) uint8, for `image`."""

    def __post_init__(self) -> None:
        _check_choice("background", self.kind, get_args(BackgroundKind))
        if self.kind == "image" and self.image is None:
            raise UserError("a background image needs a file: image:PATH")
        if not 0.1 <= self.strength <= 4.0:
            raise UserError(f"blur strength must be between 0.1 and 4, got {self.strength:g}")


@dataclass(frozen=True, slots=True)
class ComposeSettings:
    """Size, background and label of the composed picture."""

    size: tuple[int, int] = (512, 512)
    """Width and height in pixels; both even, 64 to 4096. A square shows the animated crop."""
    background: Background = field(default_factory=Background)
    label: LabelSettings = field(default_factory=LabelSettings)
    cutout: bool = False
    """Also make the picture without background (a sink wants it)."""

    def __post_init__(self) -> None:
        width, height = self.size
        if not all(_MIN_SIDE <= side <= _MAX_SIDE for side in self.size):
            raise UserError(
                f"the size must be {_MIN_SIDE} to {_MAX_SIDE} pixels a side, got {width}x{height}"
            )
        if width % 2 or height % 2:
            raise UserError(
                f"width and height must be even (video needs it), got {width}x{height}; "
                f"try {width + width % 2}x{height + height % 2}"
            )


def parse_background(text: str) -> Background:
    """`original`, `blur[:STRENGTH]`, `colour:#00b140`, `image:PATH`, `transparent`.

    Raises UserError (PictureError for the image) with the remedy.
    """
    kind, _, value = text.strip().partition(":")
    kind = {"color": "colour", "picture": "image"}.get(kind.lower(), kind.lower())
    if kind == "colour":
        return Background("colour", colour=_parse_colour(value or "#00b140"))
    if kind == "blur":
        try:
            return Background("blur", strength=float(value or 1.0))
        except ValueError:
            raise UserError(f"blur takes a number, as in blur:1.5, got {value!r}") from None
    if kind == "image":
        return Background("image", image=_read_image(expanded(value)))
    if kind in ("original", "transparent") and not value:
        return Background("original" if kind == "original" else "transparent")
    raise UserError(
        f"unknown background {text!r}; choose original, blur, colour:#RRGGBB, "
        "image:PATH or transparent"
    )


def _parse_colour(text: str) -> tuple[int, int, int]:
    names = {"green": "00b140", "blue": "0047bb", "black": "000000", "white": "ffffff",
             "grey": "808080", "gray": "808080", "magenta": "ff00ff"}  # fmt: skip
    digits = names.get(text.strip().lower(), text.strip().lstrip("#"))
    if not re.fullmatch(r"[0-9a-fA-F]{6}", digits):
        raise UserError(f"a colour is written #RRGGBB or {', '.join(names)}; got {text!r}")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _read_image(path: Path) -> Rgb:
    try:
        if path.stat().st_size > _MAX_IMAGE_BYTES:
            raise PictureError(f"the background image {path} is larger than 64 MB")
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise PictureError(
            f"cannot read the background image {path}: {error.strerror}; check the path"
        ) from error
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if bgr is None:
        raise PictureError(f"{path} is not a picture this program can read; use JPEG, PNG or WebP")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"unknown {what} {value!r}; choose one of {', '.join(choices)}")
