"""The virtual camera, so that video calls see the picture as a webcam.

Through pyvirtualcam (GPL-2.0, imported only here, when the virtual camera is opened): v4l2loopback
on Linux, OBS on Windows and macOS, Unity Capture on Windows.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from puppet.contract import Picture, SinkError

_UNITY = "Unity Video Capture"
"""How Unity Capture names its cameras; a number follows from the second on."""
_LOOPBACK = (
    "sudo modprobe v4l2loopback devices=1 video_nr=10 card_label=webcam-puppet exclusive_caps=1"
)
_NOT_FOUND = {
    "linux": (
        "there is no virtual camera device. Install the kernel module (Debian, Ubuntu: "
        f"sudo apt install v4l2loopback-dkms), then: {_LOOPBACK}"
    ),
    "darwin": (
        "no virtual camera found. Install OBS 30 or later, start it once, press "
        '"Start Virtual Camera", allow the extension in System Settings, then close OBS'
    ),
    "win32": (
        "no virtual camera found. Install OBS (or Unity Capture), start OBS once, press "
        '"Start Virtual Camera" and "Stop", then close it'
    ),
}


class VirtualCameraSink:
    """Feeds a virtual camera steadily: the newest picture again when the loop is late."""

    paced = True

    def __init__(self, device: str | None = None) -> None:
        """`device`: "/dev/videoN" on Linux, the camera's name elsewhere; None takes the first.
        Unity Capture's cameras ("Unity Video Capture") get the person with real transparency."""
        self.name = f"virtual:{device}" if device else "virtual"
        self.wants_cutout = device is not None and device.startswith(_UNITY)
        self.device = device
        """After `open`: what is really used, as the backend names it."""
        self.backend: str | None = None
        self._camera: Any = None

    def open(self, width: int, height: int, fps: float) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise SinkError(
                "the virtual camera needs the package pyvirtualcam: "
                "pip install 'webcam-puppet[virtual]'"
            ) from error
        if sys.platform.startswith("linux") and self.device is not None:
            _check_device(self.device)
        formats = pyvirtualcam.PixelFormat
        pixels = formats.RGBA if self.wants_cutout else formats.RGB
        try:
            self._camera = pyvirtualcam.Camera(width, height, fps, fmt=pixels, device=self.device)
        except (RuntimeError, OSError, ValueError) as error:
            raise SinkError(explain(str(error), self.device, sys.platform)) from error
        self.device, self.backend = self._camera.device, self._camera.backend

    def send(self, picture: Picture) -> None:
        if self._camera is None:
            raise SinkError("the virtual camera is not open")
        sent = picture.rgb
        if self.wants_cutout:
            if picture.cutout is None:  # it is on its way: the scene is just being set
                return
            sent = picture.cutout
        try:
            self._camera.send(sent)
        except (RuntimeError, OSError) as error:
            raise SinkError(
                f"the virtual camera {self.device} stopped taking pictures ({error}); "
                "was its module unloaded or its program closed?"
            ) from error

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()


def _check_device(device: str) -> None:
    """Says what is wrong with a Linux device before the library does so in its own words."""
    if not os.path.normpath(device).startswith("/dev/"):  # and whether it exists is nobody's matter
        raise SinkError(f"{device} is no camera device; name one such as /dev/video10")
    if not os.path.exists(device):
        number = re.sub(r"\D", "", device) or "10"
        raise SinkError(
            f"there is no device {device}; make it with: "
            + _LOOPBACK.replace("video_nr=10", f"video_nr={number}")
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise SinkError(_no_permission(device))


def _no_permission(device: str) -> str:
    return (
        f"no permission to use {device}; join its group with: sudo usermod -aG video $USER, "
        "then log out and in again"
    )


def explain(message: str, device: str | None, platform: str) -> str:
    """What a message of pyvirtualcam means here and what to do. Pure."""
    said = message.lower()
    where = device or "the virtual camera"
    system = "linux" if platform.startswith("linux") else platform
    if "permission" in said or "not allowed" in said:
        return _no_permission(device or "/dev/videoN")
    if "busy" in said or "in use" in said or "already started" in said:
        return (
            f"{where} is in use by another program; close what sends to it (OBS, another "
            f"puppet run), or choose another with --sink virtual:DEVICE ({message.strip()})"
        )
    if any(w in said for w in ("output device", "capabilit", "not a v4l2", "video output")):
        return (
            f"{where} is a camera, not a virtual one that can be written to; "
            "see the list of `puppet devices`"
        )
    if "format" in said or "configured" in said:
        return (
            f"{where} is set to another picture format by a program that has it open; close "
            f"that program, or load the module again ({message.strip()})"
        )
    if any(w in said for w in ("not found", "no v4l2", "no such", "not installed", "no device",
                               "did you", "not detected")):  # fmt: skip
        return _NOT_FOUND.get(system, "no virtual camera is supported on this system")
    remedy = _NOT_FOUND.get(system, "")
    return f"cannot open {where}: {message.strip()}. If none is set up yet: {remedy}"
