"""Draw the driver clip: python -m tests.make_demo.driver [FILE.mp4]"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.make_demo.character import TEO
from tests.make_demo.clothes import teo_body
from tests.make_demo.figure import Figure
from tests.make_demo.hair import teo_hair
from tests.make_demo.mesh import View
from tests.make_demo.portrait import DATA
from tests.make_demo.rooms import teo_room
from tests.make_demo.timeline import FPS, FRAMES, moment
from tests.make_demo.voice import RATE, sing

WIDTH, HEIGHT, _FINER = 640, 480, 2
_VIEW = View(WIDTH * _FINER, HEIGHT * _FINER, 212.0 * _FINER, 320.0 * _FINER, 196.0 * _FINER)


def figure() -> Figure:
    """The person of the clip, before his room is painted behind him."""
    back, front = teo_hair(_VIEW)
    return Figure(TEO, _VIEW, [back, teo_body(_VIEW)], [front])


def frames(every: int = 1) -> Iterator[NDArray[np.uint8]]:
    """The clip's pictures, (480, 640, 3) uint8 RGB."""
    person, room = figure(), teo_room(_VIEW)
    for i in range(0, FRAMES, every):
        large = person.draw(room, *moment(i))
        small = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        yield np.asarray(small, np.uint8)


def main(path: Path) -> None:
    import av

    part = path.with_suffix(".part.mp4")
    with av.open(str(part), "w", options={"movflags": "+faststart"}) as out:
        video = out.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"crf": "25", "preset": "slow", "threads": "1", "g": "60"}
        sound = out.add_stream("aac", rate=RATE, layout="mono")
        sound.bit_rate = 56000
        for i, picture in enumerate(frames()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        track = sing()
        for at in range(0, len(track), 1024):
            piece = av.AudioFrame.from_ndarray(track[None, at : at + 1024], "fltp", "mono")
            piece.sample_rate, piece.pts, piece.time_base = RATE, at, Fraction(1, RATE)
            out.mux(sound.encode(piece))
        out.mux(sound.encode())
    os.replace(part, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA / "demo_driver.mp4")
