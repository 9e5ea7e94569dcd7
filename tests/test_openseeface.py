"""OpenSeeFace as the driver: its points become landmarks; hostile packets are ignored."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from puppet.capture import open_source
from puppet.capture.openseeface import OpenSeeFaceSource, decode, encode
from puppet.capture.sparse import dense_from_sparse, sparse_from_dense
from puppet.contract import Landmarks, SourceError, SourceSilent
from puppet.retarget.openings import EYES, eye_openness, gaze, lip_gaps
from puppet.retarget.pose import fit_pose, to_vector
from tests.faces import face

CASES = {
    "rest": {},
    "talking": {"mouth_open": 0.2},
    "turned": {"turn": (0.1, 0.35, 0.1), "mouth_open": 0.1},
    "looking": {"look": (0.1, 0.03)},
    "blinking": {"lids": 0.1},
    "small": {"unit": 40.0, "centre": (90.0, 400.0), "turn": (-0.1, -0.2, 0.0)},
}


def there_and_back(seen: Landmarks) -> Landmarks:
    return dense_from_sparse(sparse_from_dense(seen), seen.width, seen.height, (True, True))


@pytest.mark.parametrize("case", CASES)
def test_what_matters_of_a_face_survives(case: str) -> None:
    seen = face(**CASES[case])  # type: ignore[arg-type]
    got = there_and_back(seen)
    before, after = fit_pose(seen.points), fit_pose(got.points)
    turn = to_vector(after.rotation @ before.rotation.T)
    assert np.degrees(np.abs(turn)).max() < 6
    head, back = before.to_head(seen.points), after.to_head(got.points)
    assert np.abs(lip_gaps(back) - lip_gaps(head)).max() < 0.03
    for eye in EYES:
        assert abs(eye_openness(back, eye) - eye_openness(head, eye)) < 0.08
        assert np.abs(gaze(back, eye) - gaze(head, eye)).max() < 0.05
    error = np.linalg.norm(got.points[:, :2] - seen.points[:, :2], axis=1) / before.scale
    assert np.percentile(error, 95) < 0.06


@pytest.fixture
def source() -> Iterator[OpenSeeFaceSource]:
    with closing(OpenSeeFaceSource(0)) as opened:
        yield opened


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as opened:
        yield opened


def test_packets_become_observations(source: OpenSeeFaceSource, sender: socket.socket) -> None:
    seen = face(mouth_open=0.1, width=640, height=360)
    to = ("127.0.0.1", source.port)
    sender.sendto(encode(sparse_from_dense(seen), 640, 360), to)
    got = source.read(2.0)
    assert got is not None
    assert got.landmarks is not None
    assert source.size == (640, 360)
    assert np.abs(got.landmarks.points[13, :2] - seen.points[13, :2]).max() < 2
    sender.sendto(encode(sparse_from_dense(seen), 640, 360, success=False), to)
    nobody = source.read(2.0)
    assert nobody is not None
    assert nobody.landmarks is None
    assert nobody.index == 1


def test_the_newest_packet_wins(source: OpenSeeFaceSource, sender: socket.socket) -> None:
    points = sparse_from_dense(face())
    for shift in range(5):
        sender.sendto(encode(points + 10 * shift, 512, 512), ("127.0.0.1", source.port))
    got = source.read(2.0)
    assert got is not None
    assert got.landmarks is not None
    assert abs(got.landmarks.points[4, 0] - points[30, 0] - 40) < 2
    assert source.dropped == 4


def test_hostile_packets_are_ignored_and_counted(
    source: OpenSeeFaceSource, sender: socket.socket
) -> None:
    good = encode(sparse_from_dense(face()), 512, 512)
    chance = random.Random(7)
    hostile = [
        b"x",
        good[:-1],
        good * 37,  # larger than any UDP packet may be is refused by the kernel; this is not
        bytes(1785),
        bytes(chance.randrange(256) for _ in range(1785)),
        good[:12] + struct.pack("<ff", float("nan"), 512) + good[20:],
        good[:345] + struct.pack("<f", float("inf")) + good[349:],
        good[:345] + b"\0" * 544 + good[889:],
        b"\xff" * 1729,
    ]
    for packet in hostile:
        if packet != good * 37:
            with pytest.raises(ValueError, match=r"."):
                decode(packet)
    assert len(decode(good * 36)) == 36
    for packet in hostile:
        if len(packet) < 65_000:
            sender.sendto(packet, ("127.0.0.1", source.port))
    with pytest.raises(SourceSilent, match="8 strange packets"):
        source.read(0.3)
    assert source.ignored == 8
    sender.sendto(good, ("127.0.0.1", source.port))
    assert source.read(2.0) is not None


def test_close_ends_a_waiting_read(source: OpenSeeFaceSource) -> None:
    threading.Timer(0.2, source.close).start()
    assert source.read(10.0) is None


def test_how_it_is_asked_for() -> None:
    with closing(OpenSeeFaceSource(0)) as other:
        with pytest.raises(SourceError, match="another program may listen"):
            open_source(f"openseeface:{other.port}")
        with pytest.raises(SourceError, match="openseeface:ADDRESS:PORT"):
            open_source("openseeface:port")
