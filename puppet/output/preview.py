"""The preview window, in a process of its own.

Window toolkits want the main thread of a process (macOS insists), and OpenCV's Qt ends the whole
process when it cannot reach a display. So the window lives in a child (`puppet.output.window`):
pictures go in through a pipe, keys come back through another.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable

import cv2
import numpy as np

from puppet.contract import Picture, Rgb, SinkError

_START_S = 20.0
_REMEDY = "use --sink mjpeg and a browser, or --sink file:OUT.mp4, instead"


class PreviewSink:
    """Shows the pictures and hands on the keys. What it adds or flips is in the window only."""

    name = "preview"
    wants_cutout = False

    def __init__(self, on_key: Callable[[str], None] | None = None) -> None:
        """`on_key(key)` is called on a thread of the preview, one character per key."""
        self.mirror = False
        """Flip left and right, as people know themselves from mirrors. Any thread may set it."""
        self.text: tuple[str, ...] = ()
        """Lines shown over the picture (the keys, a message). Any thread may set it."""
        self._on_key = on_key
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = threading.Event()  # set when the window is there, or never will be
        self._is_shown = False
        self._said: list[str] = []

    def open(self, width: int, height: int, fps: float) -> None:
        if sys.platform.startswith("linux") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise SinkError(f"no display to show the preview on (DISPLAY is not set); {_REMEDY}")
        self._ready.clear()
        self._is_shown = False
        self._said.clear()
        command = [sys.executable, "-m", "puppet.output.window", str(width), str(height)]
        try:
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C ends the run, which then closes the window
            )  # fmt: skip
        except OSError as error:
            raise SinkError(f"cannot start the preview window: {error}") from error
        self._child = child
        for read in (self._read_keys, self._read_complaints):
            threading.Thread(target=read, args=(child,), name="puppet-preview", daemon=True).start()
        self._ready.wait(_START_S)
        if not self._is_shown:
            why = self._why(child)
            child.kill()
            raise SinkError(f"cannot open the preview window: {why}; {_REMEDY}")

    def send(self, picture: Picture) -> None:
        child = self._child
        if child is None or child.stdin is None:
            raise SinkError("the preview is not open")
        try:
            child.stdin.write(self._decorated(picture).data.cast("B"))
            child.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise SinkError(f"the preview window has ended: {self._why(child)}") from error

    def close(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended by itself
                child.stdin.close()
        try:
            child.wait(2.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _decorated(self, picture: Picture) -> Rgb:
        """A contiguous picture for the window; a copy where something is changed."""
        rgb = _mirrored(picture) if self.mirror else picture.rgb
        if self.text:
            rgb = _with_text(rgb.copy(), self.text)
        return np.ascontiguousarray(rgb)

    def _read_keys(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        for line in child.stdout:
            word = line.decode("utf-8", "replace").rstrip("\r\n")
            if word == "ready":
                self._is_shown = True
                self._ready.set()
            elif word.startswith("key ") and len(word) == 5 and self._on_key is not None:
                self._on_key(word[4])
        self._ready.set()  # the child has ended: nobody shall wait for it

    def _read_complaints(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stderr is not None
        for line in child.stderr:
            self._said.append(line.decode("utf-8", "replace").strip())
            del self._said[:-20]

    def _why(self, child: subprocess.Popen[bytes]) -> str:
        """The most telling line of what the child said."""
        try:
            child.wait(1.0)
        except subprocess.TimeoutExpired:
            return f"it did not start within {_START_S:g} s"
        said = [line for line in self._said if line]
        for line in said:
            if "could not connect to display" in line:
                return f"the display {os.environ.get('DISPLAY', '')} cannot be reached"
        return said[-1] if said else f"it ended with status {child.returncode}"


def _mirrored(picture: Picture) -> Rgb:
    """The picture as in a mirror, but for its label, which stays readable."""
    rgb = np.asarray(cv2.flip(picture.rgb, 1), np.uint8)
    if picture.label is not None:
        rows, columns = picture.label
        width = rgb.shape[1]
        rgb[rows, width - columns.stop : width - columns.start] = picture.rgb[rows, columns]
    return rgb


def _with_text(rgb: Rgb, lines: tuple[str, ...]) -> Rgb:
    """Draws lines of help over a darkened panel, in place, no larger than fits. What follows a
    tab in a line forms a column."""
    height, width = rgb.shape[:2]
    rows = [line.split("\t") for line in lines]
    margin, gap, font = 0.02 * width, 24.0, cv2.FONT_HERSHEY_SIMPLEX
    widths = [
        max(
            (cv2.getTextSize(row[c], font, 1.0, 1)[0][0] for row in rows if len(row) > c), default=0
        )
        for c in range(max(len(row) for row in rows))
    ]
    starts = [sum(widths[:c]) + c * gap for c in range(len(widths))]
    # OpenCV 5 draws a little wider than it measures: hence the 0.97.
    scale = min(0.65 * height / 720, 0.97 * (width - 2 * margin) / (starts[-1] + widths[-1]))
    step = round(46 * scale)
    panel = rgb[: min(height, round(margin) + step * (len(rows) + 1)), :width]
    cv2.addWeighted(panel, 0.3, panel, 0.0, 8.0, dst=panel)
    for number, row in enumerate(rows, 1):
        for start, text in zip(starts, row, strict=False):
            at = (round(margin + scale * start), round(margin) + step * number)
            thickness = max(1, round(2.2 * scale))
            cv2.putText(rgb, text, at, font, scale, (245, 245, 245), thickness, cv2.LINE_AA)
    return rgb
