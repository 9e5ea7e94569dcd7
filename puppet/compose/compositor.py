"""Puts the animated square back into its picture, frame by frame, and labels it."""

from __future__ import annotations

import logging
from dataclasses import replace

import cv2
import numpy as np

from puppet.compose.framing import frame_portrait
from puppet.compose.label import Label, make_label
from puppet.compose.ring import PictureRing
from puppet.compose.scene import Portrait, make_scene
from puppet.compose.settings import ComposeSettings, LabelSettings
from puppet.compose.slate import SlateReason, draw_slate
from puppet.compose.steady import SteadyMatte
from puppet.contract import Picture, Rgb, Rgba

_log = logging.getLogger(__name__)
_UNIT = 1 / 255


class Compositor:
    """Makes the pictures of one avatar at one size. Used by one thread.

    Everything that stands still is computed here once; per frame only the animated square is
    blended (8-bit OpenCV, one rounding of half a level per term).
    """

    def __init__(self, portrait: Portrait, settings: ComposeSettings | None = None) -> None:
        """Takes about 0.1 s at 1280x720 on a small machine: make it beside the loop."""
        self.settings = settings or ComposeSettings()
        self._portrait = portrait
        matte = portrait.picture_matte
        shape = portrait.picture.shape
        over_original = self.settings.background.kind == "original"
        whole = matte is not None or (over_original and not self.settings.cutout)
        floor = None if whole else portrait.crop.y + portrait.crop.side
        self.framing = frame_portrait(
            self.settings.size, portrait.crop, (shape[1], shape[0]), floor
        )
        scene = make_scene(
            portrait, self.framing, self.settings.background, cutout=self.settings.cutout
        )
        self._base = scene.base
        self._cutout_base = scene.cutout_base
        self._cutout_ring: PictureRing | None = None
        self._fade = None if scene.fade is None or scene.fade.min() == 255 else scene.fade
        self._fade3 = None if self._fade is None else cv2.cvtColor(self._fade, cv2.COLOR_GRAY2RGB)
        self._visible = self.framing.visible()
        self._matte = SteadyMatte()
        self._slates: dict[str, Rgb] = {}
        self._label: Label | None = None
        self.set_label(self.settings.label)

    def set_label(self, label: LabelSettings) -> None:
        """Changes the label between two frames; leaving it out is logged."""
        if label.elsewhere is not None:
            _log.warning(
                "the visible AI label is off; labelled elsewhere by: %s", label.elsewhere.strip()
            )
        self.settings = replace(self.settings, label=label)
        # What the old label covered in the ring's buffers must not stay there.
        self._ring = PictureRing(self._base)
        if self._cutout_base is not None:
            straight = cv2.cvtColor(self._cutout_base, cv2.COLOR_mRGBA2RGBA)
            self._cutout_ring = PictureRing(np.asarray(straight, np.uint8))
        self._label = make_label(label, self.settings.size)
        self._slates.clear()

    def compose(self, rgba: Rgba, captured_at_ns: int, index: int) -> Picture:
        """One frame from the generator's (S, S, 4) uint8 straight RGBA (512 x 512 in practice).

        The arrays of the returned picture are not written again while anything refers to them.
        Raises ValueError for another shape.
        """
        if rgba.ndim != 3 or rgba.shape[2] != 4 or rgba.shape[0] != rgba.shape[1]:
            raise ValueError(f"the generator's picture must be (S, S, 4), got {rgba.shape}")
        person = self._placed(self._matte.steady(rgba))
        alpha = cv2.extractChannel(person, 3)
        colour = cv2.cvtColor(person, cv2.COLOR_RGBA2RGB)
        if self._fade is not None and self._fade3 is not None:
            alpha = cv2.multiply(alpha, self._fade, scale=_UNIT)
            colour = cv2.multiply(colour, self._fade3, scale=_UNIT)
        keep = cv2.bitwise_not(alpha)

        rgb = self._ring.take()
        if self._label is not None:
            self._label.region(rgb)[:] = self._label.region(self._base)
        under = cv2.multiply(
            self._base[self._visible], cv2.cvtColor(keep, cv2.COLOR_GRAY2RGB), scale=_UNIT
        )
        window = rgb[self._visible]  # OpenCV writes through a strided view
        cv2.add(under, colour, dst=window)
        if self._label is not None:
            self._label.draw(rgb)
        cutout = self._cut_out(colour, alpha, keep)
        return Picture(rgb, captured_at_ns, index, cutout, self._label_place)

    def slate(self, captured_at_ns: int, index: int, reason: SlateReason = "away") -> Picture:
        """The calm picture instead of the avatar, labelled like every picture; drawn once."""
        if reason not in self._slates:
            language = self.settings.label.language
            rgb = draw_slate(self._portrait, self.settings.size, reason, language)
            if self._label is not None:
                self._label.draw(rgb)
            self._slates[reason] = rgb
        rgb = self._slates[reason]
        if not self.settings.cutout:
            return Picture(rgb, captured_at_ns, index, None, self._label_place)
        opaque = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)
        return Picture(rgb, captured_at_ns, index, opaque, self._label_place)

    @property
    def _label_place(self) -> tuple[slice, slice] | None:
        return None if self._label is None else self._label.place

    def _placed(self, rgba: Rgba) -> Rgba:
        """The part of the square inside the frame, premultiplied, at output scale."""
        person = cv2.cvtColor(rgba, cv2.COLOR_RGBA2mRGBA)
        side = self.framing.side
        if side != person.shape[0]:
            method = cv2.INTER_AREA if side < person.shape[0] * 0.6 else cv2.INTER_LINEAR
            person = cv2.resize(person, (side, side), interpolation=method)
        rows, columns = self._visible
        y, x = self.framing.y, self.framing.x
        return np.asarray(
            person[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x], np.uint8
        )

    def _cut_out(
        self, colour: cv2.typing.MatLike, alpha: cv2.typing.MatLike, keep: cv2.typing.MatLike
    ) -> Rgba | None:
        """Straight RGBA of the same frame, with the label, which stays opaque as drawn."""
        if self._cutout_ring is None or self._cutout_base is None:
            return None
        person = np.empty((*alpha.shape, 4), np.uint8)
        cv2.mixChannels([colour, alpha], [person], [0, 0, 1, 1, 2, 2, 3, 3])
        keep4 = cv2.merge([keep, keep, keep, keep])
        under = cv2.multiply(self._cutout_base[self._visible], keep4, scale=_UNIT)
        person = np.asarray(cv2.add(under, person), np.uint8)

        out = self._cutout_ring.take()
        labelled = None if self._label is None else self._labelled(self._label, person)
        window = out[self._visible]
        cv2.cvtColor(person, cv2.COLOR_mRGBA2RGBA, dst=window)
        if self._label is not None and labelled is not None:
            self._label.region(out)[:] = labelled
        return out

    def _labelled(self, label: Label, person: Rgba) -> Rgba:
        """The cut-out under the label, straight, with the label over it."""
        assert self._cutout_base is not None
        top, left = label.y, label.x
        patch = label.region(self._cutout_base).copy()
        rows, columns = self._visible
        y0, y1 = max(rows.start, top), min(rows.stop, top + patch.shape[0])
        x0, x1 = max(columns.start, left), min(columns.stop, left + patch.shape[1])
        if y0 < y1 and x0 < x1:
            patch[y0 - top : y1 - top, x0 - left : x1 - left] = person[
                y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start
            ]
        label.draw_premultiplied(patch)
        return np.asarray(cv2.cvtColor(patch, cv2.COLOR_mRGBA2RGBA), np.uint8)


def cross_fade(before: Picture, after: Picture, share: float) -> Picture:
    """`after` mixed over `before`; 0 is all `before`, 1 all `after`. Both of one size.

    The result has the time and index of `after` and arrays of its own. The cut-outs are mixed
    too when both have one.
    """
    if before.rgb.shape != after.rgb.shape:
        raise ValueError(f"cannot fade from {before.rgb.shape} to {after.rgb.shape}")
    share = min(1.0, max(0.0, share))
    rgb = cv2.addWeighted(before.rgb, 1 - share, after.rgb, share, 0)
    cutout = after.cutout
    if before.cutout is not None and after.cutout is not None:
        # Straight alpha cannot be averaged: colours of transparent pixels would show.
        mixed = cv2.addWeighted(
            cv2.cvtColor(before.cutout, cv2.COLOR_RGBA2mRGBA), 1 - share,
            cv2.cvtColor(after.cutout, cv2.COLOR_RGBA2mRGBA), share, 0,
        )  # fmt: skip
        cutout = np.asarray(cv2.cvtColor(mixed, cv2.COLOR_mRGBA2RGBA), np.uint8)
    return replace(after, rgb=np.asarray(rgb, np.uint8), cutout=cutout)
