"""What Linux knows about video devices: names from sysfs, abilities from the driver."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_QUERYCAP = 0x80685600  # _IOR('V', 0, struct v4l2_capability), linux/videodev2.h
_CAPABILITY = struct.Struct("16s32s32sIII12x")
_VIDEO_CAPTURE = 0x00000001 | 0x00001000  # one or several planes
_VIDEO_OUTPUT = 0x00000002 | 0x00002000
_HAS_DEVICE_CAPS = 0x80000000
_SYSFS = Path("/sys/class/video4linux")
LOOPBACK_DRIVER = "v4l2 loopback"


@dataclass(frozen=True, slots=True)
class Node:
    """One /dev/videoN."""

    index: int
    path: str
    name: str
    driver: str
    bus: str
    """Where it is plugged in; the same camera in the same socket has the same one again."""
    captures: bool
    outputs: bool

    @property
    def is_loopback(self) -> bool:
        return self.driver == LOOPBACK_DRIVER


def list_nodes() -> list[Node]:
    """All video devices, by number; [] where there are none, or on other systems."""
    numbers = sorted(int(p.name[5:]) for p in _SYSFS.glob("video*") if p.name[5:].isdigit())
    return [node for n in numbers if (node := query(f"/dev/video{n}")) is not None]


def query(path: str) -> Node | None:
    """What the driver says; from sysfs alone where the device may not be opened; None if gone."""
    import fcntl

    index = int("".join(filter(str.isdigit, Path(path).name)) or 0)
    sysfs = _SYSFS / f"video{index}"
    buffer = bytearray(_CAPABILITY.size)
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EBUSY):
            return None
        # A camera's first node is the one with pictures, the others carry its metadata.
        first = _text(sysfs / "index") in ("0", "")
        return Node(index, path, _text(sysfs / "name") or path, "", "", first, False)
    try:
        fcntl.ioctl(device, _QUERYCAP, buffer)
    except OSError:
        return None
    finally:
        os.close(device)
    driver, card, bus, _, all_caps, device_caps = _CAPABILITY.unpack(buffer)
    caps = device_caps if all_caps & _HAS_DEVICE_CAPS else all_caps
    name = _text(sysfs / "name") or _string(card)
    captures, outputs = bool(caps & _VIDEO_CAPTURE), bool(caps & _VIDEO_OUTPUT)
    return Node(index, path, name, _string(driver), _string(bus), captures, outputs)


def why_not(path: str) -> str:
    """Why a camera cannot be used just now, and what to do about it."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return (
                "you may not open it: add yourself to its group "
                '("sudo usermod -aG video $USER") and log in again'
            )
        if error.errno == errno.EBUSY:
            return "another program uses it: close that program"
        return "it is not plugged in: plug it in, or choose another"
    node = query(path)
    if node is not None and not node.captures:
        if node.is_loopback:
            return (
                "it is a virtual camera that nothing feeds at the moment: "
                "start the program that sends to it, or choose another camera"
            )
        return "it is not a camera (no capture): choose another"
    return "it does not start: close other programs that use it, or plug it in again"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _string(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode(errors="replace")
