"""The driver's tracking for VTuber programs: VMC protocol (OSC over UDP) to VSeeFace, VNyan,
Warudo, Blender add-ons.

Per observation one bundle: head rotation, blinks, mouth, gaze. Numbers only, no picture. The
protocol has neither secrets nor answers; this machine is the default receiver.
"""

from __future__ import annotations

import math
import re
import socket
import struct
import time

import numpy as np
from numpy.typing import NDArray

from puppet.contract import Observation, UserError
from puppet.retarget.openings import EYES, eye_openness, gaze, lip_gaps, mouth_width
from puppet.retarget.pose import fit_pose

DEFAULT_PORT = 39539
_IMMEDIATELY = struct.pack(">Q", 1)
_LID_OPEN, _LID_SHUT = 0.28, 0.10  # `eye_openness` of open and shut eyes, as MediaPipe has them
_JAW_OPEN = 0.28  # lip gap, in distances of the outer eye corners
_LOOK = 0.15  # of an eye's width: as far as eyes look aside


def parse_target(text: str) -> tuple[str, int]:
    """`PORT`, `HOST` or `HOST:PORT` to (host, port). Raises UserError."""
    found = re.fullmatch(r"(?:([A-Za-z0-9][\w.\-]*)(?::|$))?(\d{1,5})?", text.strip())
    if text.strip().isdecimal():
        host, port = "127.0.0.1", int(text)
    elif found is not None and found[1]:
        host, port = found[1], int(found[2] or DEFAULT_PORT)
    else:
        host, port = "", 0
    if not host or not 1 <= port <= 65_535:
        raise UserError(
            f"write --vmc PORT or --vmc HOST:PORT, such as 127.0.0.1:39539; got {text!r}"
        )
    return host, port


class VmcSender:
    """Sends observations; never blocks and never fails: nobody may be listening."""

    def __init__(self, host: str, port: int) -> None:
        """Raises UserError when the host's name means nothing."""
        try:
            found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            raise UserError(f"there is no host {host!r} to send the tracking to") from error
        self._to = found[0][4]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._began = time.monotonic()
        self.sent = self.lost = 0

    def note(self, observation: Observation) -> None:
        packet = encode(observation, time.monotonic() - self._began)
        try:
            self._socket.sendto(packet, self._to)
            self.sent += 1
        except OSError:  # the network is away or its buffer full: the next one is newer anyway
            self.lost += 1

    def close(self) -> None:
        self._socket.close()


def encode(observation: Observation, at_s: float) -> bytes:
    """One OSC bundle; without a face it only says that nothing is tracked."""
    tracked = observation.landmarks is not None
    messages = [
        message("/VMC/Ext/OK", 1, 1, 0 if not tracked else 1, 1),
        message("/VMC/Ext/T", float(at_s)),
    ]
    if observation.landmarks is not None:
        points = observation.landmarks.points
        pose = fit_pose(points)
        turn = [float(v) for v in quaternion(pose.rotation)]
        messages.append(message("/VMC/Ext/Bone/Pos", "Head", 0.0, 0.0, 0.0, *turn))
        for name, value in expressions(pose.to_head(points)).items():
            messages.append(message("/VMC/Ext/Blend/Val", name, value))
        messages.append(message("/VMC/Ext/Blend/Apply"))
    return b"#bundle\0" + _IMMEDIATELY + b"".join(struct.pack(">i", len(m)) + m for m in messages)


def expressions(shape: NDArray[np.float64]) -> dict[str, float]:
    """Blend shapes, 0 to 1, of (478, 3) points in the head's frame: VRM's names and ARKit's."""
    right, left = (
        _share((_LID_OPEN - eye_openness(shape, eye)) / (_LID_OPEN - _LID_SHUT)) for eye in EYES
    )
    mouth = _share(float(lip_gaps(shape).max()) / _JAW_OPEN)
    wide = _share((mouth_width(shape) - 0.62) / 0.2)
    # `gaze` is along the eye towards the nose: outwards for one is inwards for the other.
    ahead = [gaze(shape, eye) for eye in EYES]
    aside = float(ahead[0][0] - ahead[1][0]) / 2 / _LOOK  # positive: to the subject's left
    down = float(ahead[0][1] + ahead[1][1]) / 2 / _LOOK
    return {
        "Blink_R": right, "Blink_L": left, "A": mouth, "I": wide * (1 - mouth),
        "LookLeft": _share(aside), "LookRight": _share(-aside),
        "LookDown": _share(down), "LookUp": _share(-down),
        "eyeBlinkRight": right, "eyeBlinkLeft": left, "jawOpen": mouth,
    }  # fmt: skip


def quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(x, y, z, w) in Unity's frame of a (3, 3) rotation in the picture's.

    A person who faces the camera has right, up and forward opposite to the picture's axes x right,
    y down, z away: all three signs turn, so the matrix stays as it is.
    """
    m = rotation
    w = math.sqrt(max(0.0, 1 + m[0, 0] + m[1, 1] + m[2, 2])) / 2
    if w > 1e-3:
        xyz = np.array((m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1])) / (4 * w)
    else:  # a half turn: no face is found like that, but the numbers stay sound
        xyz = np.array((0.0, 1.0, 0.0))
    whole = np.array((*xyz, w))
    return np.asarray(whole / np.linalg.norm(whole), np.float64)


def message(address: str, *values: float | str) -> bytes:
    """An OSC 1.0 message of floats, ints and strings."""
    kinds, body = ",", b""
    for value in values:
        if isinstance(value, str):
            kinds, body = kinds + "s", body + _padded(value)
        elif isinstance(value, int):
            kinds, body = kinds + "i", body + struct.pack(">i", value)
        else:
            kinds, body = kinds + "f", body + struct.pack(">f", value)
    return _padded(address) + _padded(kinds) + body


def _padded(text: str) -> bytes:
    raw = text.encode("ascii") + b"\0"
    return raw + b"\0" * (-len(raw) % 4)


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
