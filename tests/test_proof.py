"""The virtual camera's proof in `puppet doctor`; with a real device in tests/test_camvm.py."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest

from puppet.cli.proof import SIZE, draw, prove, recognise
from puppet.contract import Picture, SinkError


class Loop:
    """A virtual camera in memory, with the faults that real ones have."""

    name = device = "loop"
    wants_cutout = False

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.newest: Any = None
        self.closed = False

    def open(self, width: int, height: int, fps: float) -> None:
        if self.fault == "busy":
            raise SinkError("loop is in use by another program; close it")

    def send(self, picture: Picture) -> None:
        if self.fault == "torn" and picture.index > 5:
            raise SinkError("loop stopped taking pictures")
        bgr = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2BGR)
        if self.fault == "small":
            bgr = cv2.resize(bgr, (640, 360))
        self.newest = picture.rgb if self.fault == "swapped" else bgr

    def close(self) -> None:
        self.closed = True

    def isOpened(self) -> bool:
        return self.newest is not None and self.fault != "hidden"

    def read(self) -> tuple[bool, Any]:
        time.sleep(3600 if self.fault == "hangs" else 0.02)
        return True, self.newest

    def release(self) -> None:
        pass


def test_pictures_that_arrive_are_a_pass() -> None:
    loop = Loop()
    proof = prove(loop, lambda device: loop, limit_s=10)  # type: ignore[arg-type, return-value]
    assert proof.problem is None
    assert proof.size == SIZE
    assert len(proof.delays_ms) == proof.seen
    assert loop.closed


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("busy", "in use"),
        ("torn", "stopped taking"),
        ("swapped", "other colours"),
        ("small", "came back as"),
        ("hidden", "cannot be opened as a camera"),
        ("hangs", "hangs"),
    ],
)
def test_every_fault_is_said_with_a_remedy(fault: str, said: str) -> None:
    loop = Loop(fault)
    proof = prove(loop, lambda device: loop, limit_s=1.6)  # type: ignore[arg-type, return-value]
    assert proof.problem is not None
    assert said in proof.problem
    assert proof.remedy


def test_numbers_survive_a_video_format() -> None:
    for number in (0, 1, 77, 170, 255):
        yuv = cv2.cvtColor(draw(number), cv2.COLOR_RGB2YUV_I420)
        assert recognise(np.asarray(cv2.cvtColor(yuv, cv2.COLOR_YUV2RGB_I420))) == number
    assert recognise(np.zeros((720, 1280, 3), np.uint8)) is None
