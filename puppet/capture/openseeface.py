"""OpenSeeFace as the driver: another program tracks the face and sends points over UDP.

`--camera openseeface[:PORT]` (11573) hears this machine only; `openseeface:ADDRESS:PORT` opens the
port on that address of this machine instead, for a tracker on another one: UDP is neither secret
nor signed, so anybody who reaches the port can then move the portrait (and no more than that).

What comes is less than this program's own tracker finds: 66 points of the face and the pupils. Lips
and lids are drawn through 14 and 12 points, cheeks and chin are interpolated, depth is that of
the mean face.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time

import numpy as np
from numpy.typing import NDArray

from puppet.capture.sparse import N_SPARSE, dense_from_sparse
from puppet.contract import Landmarks, Observation, SourceError, SourceSilent
from puppet.flow import Clock, RateMeter

DEFAULT_PORT = 11573
_HEAD = struct.Struct("<di4fBf3f4f3f")  # see `encode`
_FACE_BYTES = (1785, 1729)
"""Of one face: with and (older versions) without the 14 features at the end."""
_MAX_FACES = 40
_MAX_SIDE = 16_384
_SLICE_S = 0.1
_SHUT = 0.25  # eye_blink: 1 is open, 0 is shut


class OpenSeeFaceSource:
    """Observations from the newest packet; older ones that wait are dropped and counted."""

    fps_nominal: float | None = None
    length: int | None = None

    def __init__(
        self, port: int, address: str = "127.0.0.1", *, clock: Clock = time.perf_counter_ns
    ) -> None:
        """Raises SourceError when the port cannot be had. Port 0 takes any (`port` tells)."""
        self.name = f"OpenSeeFace on {address}:{port}"
        self.size = (640, 480)
        self.dropped = 0
        self.ignored = 0
        """Packets that were no sound tracking data."""
        self._clock = clock
        self._rate = RateMeter(clock=clock)
        self._index = -1
        self._face_id: int | None = None
        self._closed = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((address, port))
        except OSError as error:
            self._socket.close()
            raise SourceError(
                f"cannot listen for OpenSeeFace on {address}:{port} ({error.strerror}): another "
                "program may listen there; choose another port on both sides"
            ) from error
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])

    @property
    def fps_measured(self) -> float | None:
        return self._rate.per_second

    def read(self, timeout_s: float) -> Observation | None:
        deadline = time.monotonic() + timeout_s
        while not self._closed.is_set():
            packets = self._waiting(min(_SLICE_S, max(0.0, deadline - time.monotonic())))
            for i, packet in enumerate(reversed(packets)):
                observed = self._observe(packet)
                if observed is not None:
                    self.dropped += len(packets) - 1 - i
                    return observed
            if time.monotonic() >= deadline:
                raise SourceSilent(
                    f"nothing usable from {self.name} for {timeout_s:g} s"
                    + (f" ({self.ignored} strange packets)" if self.ignored else "")
                    + ": start its facetracker with this address and port"
                )
        return None

    def close(self) -> None:
        self._closed.set()
        self._socket.close()

    def _waiting(self, timeout_s: float) -> list[bytes]:
        """What has arrived, oldest first; a bounded number."""
        packets: list[bytes] = []
        try:
            if select.select([self._socket], [], [], timeout_s)[0]:
                while len(packets) < 64:
                    packets.append(self._socket.recv(65_536))
        except BlockingIOError:
            pass
        except (OSError, ValueError):  # closed meanwhile, or an ICMP error of an earlier send
            if not self._closed.is_set():
                self._closed.wait(0.01)
        return packets

    def _observe(self, packet: bytes) -> Observation | None:
        now = self._clock()
        try:
            faces = decode(packet)
        except ValueError:
            self.ignored += 1
            return None
        chosen = next((f for f in faces if f[0] == self._face_id), faces[0])
        self._face_id = chosen[0]
        if chosen[1] is not None:
            self.size = (chosen[1].width, chosen[1].height)
        self._index += 1
        self._rate.tick(now)
        return Observation(chosen[1], now, self._index)


def decode(packet: bytes) -> list[tuple[int, Landmarks | None]]:
    """(id, landmarks or None if its fit failed) of each face in a packet.

    Raises ValueError for anything that is not one sound packet.
    """
    sizes = [s for s in _FACE_BYTES if packet and len(packet) % s == 0]
    if not sizes or len(packet) > _MAX_FACES * sizes[0]:
        raise ValueError(f"{len(packet)} bytes are no tracking data")
    return [_face(packet[i : i + sizes[0]]) for i in range(0, len(packet), sizes[0])]


def _face(data: bytes) -> tuple[int, Landmarks | None]:
    _, face_id, width, height, right_open, left_open, success, *_ = _HEAD.unpack_from(data)
    if not (16 <= width <= _MAX_SIDE and 16 <= height <= _MAX_SIDE):  # also false for NaN
        raise ValueError(f"a picture of {width} x {height}")
    if success != 1:
        return face_id, None
    start = _HEAD.size + 4 * N_SPARSE  # confidences come first
    flat: NDArray[np.float32] = np.frombuffer(data, "<f4", 2 * N_SPARSE, start)
    points = flat.reshape(N_SPARSE, 2).astype(np.float64)
    if not (np.abs(points) <= 4 * _MAX_SIDE).all():
        raise ValueError("points far outside of the picture")
    if np.ptp(points[:66], axis=0).min() < 4:
        raise ValueError("all points in one place")
    eyes = (right_open > _SHUT, left_open > _SHUT)
    return face_id, dense_from_sparse(points, int(width), int(height), eyes)


def encode(
    points: NDArray[np.float64], width: int, height: int, *, face_id: int = 0, success: bool = True
) -> bytes:
    """A packet with one face as OpenSeeFace's facetracker.py sends it (its 3D part is zero).

    Time, id, picture size, eyes' openness, success, error of the fit, quaternion, Euler angles,
    translation; then 68 confidences, 68 points, 70 3D points, 14 features; all little-endian.
    """
    head = _HEAD.pack(0.0, face_id, width, height, 1.0, 1.0, success, 0.0, *([0.0] * 10))
    flat = points.astype("<f4").tobytes()
    return head + np.ones(N_SPARSE, "<f4").tobytes() + flat + bytes(4 * (3 * 70 + 14))
