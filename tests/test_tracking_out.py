"""Tracking for other programs: VMC messages over a real socket, read by a library that is not
ours, and traces that drive again."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_message import OscMessage

from puppet.capture import open_source
from puppet.capture.trace import TraceWriter
from puppet.contract import Landmarks, Observation, UserError
from puppet.output.vmc import VmcSender, parse_target
from puppet.pipeline.events import Events
from puppet.pipeline.tracking import TrackingOutputs
from tests.faces import face


def bundle(data: bytes) -> list[tuple[str, list[Any]]]:
    """The messages of a datagram, as python-osc reads them: what VMC programs in Python use."""
    packet = OscBundle(data)
    assert all(isinstance(message, OscMessage) for message in packet)
    return [(message.address, list(message.params)) for message in packet]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(2.0)
        yield opened


def heard(listener: socket.socket, landmarks: Landmarks | None) -> list[tuple[str, list[Any]]]:
    with closing(VmcSender("127.0.0.1", listener.getsockname()[1])) as sender:
        sender.note(Observation(landmarks, time.perf_counter_ns(), 0))
    return bundle(listener.recv(65_536))


def blends(messages: list[tuple[str, list[Any]]]) -> dict[str, float]:
    return dict(values for address, values in messages if address == "/VMC/Ext/Blend/Val")


def test_a_face_arrives_as_vmc(listener: socket.socket) -> None:
    messages = heard(listener, face(mouth_open=0.25))
    assert [address for address, _ in messages][-1] == "/VMC/Ext/Blend/Apply"
    assert dict(messages)["/VMC/Ext/OK"][2] == 1
    found = blends(messages)
    assert found["A"] > 0.6
    assert found["Blink_L"] < 0.5
    assert all(0 <= value <= 1 for value in found.values())
    shut = blends(heard(listener, face(lids=0.0)))
    assert shut["Blink_L"] > 0.9
    assert shut["Blink_R"] > 0.9
    assert shut["A"] < 0.05
    aside = blends(heard(listener, face(look=(0.1, 0.0))))
    assert aside["LookLeft"] > 0.3  # x right in the picture is the subject's left
    assert aside["LookRight"] == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_head_turns_by_the_same_angle(listener: socket.socket, axis: int) -> None:
    turn = [0.0, 0.0, 0.0]
    turn[axis] = 0.4
    messages = heard(listener, face(turn=(turn[0], turn[1], turn[2])))
    name, *numbers = dict(messages)["/VMC/Ext/Bone/Pos"]
    assert name == "Head"
    x, y, z, w = numbers[3:]
    assert np.isclose(np.linalg.norm((x, y, z, w)), 1.0, atol=1e-5)
    assert np.isclose(2 * np.arcsin((x, y, z)[axis]), 0.4, atol=0.02)


def test_nobody_says_so(listener: socket.socket) -> None:
    messages = heard(listener, None)
    assert [address for address, _ in messages] == ["/VMC/Ext/OK", "/VMC/Ext/T"]
    assert messages[0][1][2] == 0


def test_targets() -> None:
    assert parse_target("39540") == ("127.0.0.1", 39540)
    assert parse_target("studio.local:4000") == ("studio.local", 4000)
    assert parse_target("192.168.1.7") == ("192.168.1.7", 39539)
    for bad in ("", ":", "a b:1", "host:0", "70000", "host:x", "-x:5"):
        with pytest.raises(UserError, match="--vmc"):
            parse_target(bad)
    with pytest.raises(UserError, match="no host"):
        VmcSender("no-such-host.invalid", 39539)


def test_a_run_sends_and_records_its_tracking(listener: socket.socket, tmp_path: Path) -> None:
    """The command as its user types it: one trace drives, another one and VMC come out."""
    from puppet.cli.main import main
    from puppet.pipeline.demo import demo_avatar

    given, taken = tmp_path / "given.npz", tmp_path / "taken.npz"
    with TraceWriter(given) as writer:
        for i in range(60):
            writer.append(Observation(face(mouth_open=0.003 * i), 10**9 + i * 33_000_000, i))
    arguments = ["run", "--avatar", str(demo_avatar()), "--camera", str(given), "--sink", "null"]
    arguments += ["--seconds", "1", "--record-trace", str(taken)]
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--vmc", str(listener.getsockname()[1])])
    assert end.value.code in (0, None)
    assert blends(bundle(listener.recv(65_536)))
    with closing(open_source(str(taken), realtime=False)) as source:
        assert source.length is not None
        assert source.length > 5


def test_a_recorded_trace_drives_again(tmp_path: Path) -> None:
    path = tmp_path / "take.npz"
    outputs = TrackingOutputs(path, None, Events())
    seen = [face(mouth_open=0.02 * i) for i in range(10)]
    for i, landmarks in enumerate(seen):
        outputs.note(Observation(landmarks if i != 4 else None, 10**9 + i * 33_000_000, i))
    twice = seen[0]
    outputs.note(Observation(twice, 10**9 + 9 * 33_000_000, 10))  # a stamp again: left out
    bigger = Landmarks(twice.points * np.float32(2), twice.width * 2, twice.height * 2)
    outputs.note(Observation(bigger, 10**9 + 10 * 33_000_000, 11))  # another camera
    outputs.close()
    outputs.close()
    with closing(open_source(str(path), realtime=False)) as source:
        back = []
        while (item := source.read(1.0)) is not None:
            assert isinstance(item, Observation)
            back.append(item)
    assert len(back) == 11
    assert back[4].landmarks is None
    assert back[9].landmarks is not None
    assert np.array_equal(back[9].landmarks.points, seen[9].points)
    assert back[10].landmarks is not None
    assert np.allclose(back[10].landmarks.points, seen[0].points, atol=1e-3)
