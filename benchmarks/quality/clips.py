"""Any folder of clips: each tracked, cut to one fixed square, and sampled.

Two passes over a file, so that a long clip costs landmarks only and not all its pictures: the
first tracks every frame, the second loads the chosen ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibrate.cache import VIDEO_SUFFIXES, plain_names
from puppet.avatar.framing import FACE_OVAL, CropBox, frame_face
from puppet.contract import Frame, Landmarks, Observation, Rgb, SourceError, Teeth
from puppet.retarget.teeth import LightestTeeth, shown_teeth

LONGEST = 1500
"""Frames of a clip that are looked at; the rest is left out."""
_WELL_FRAMED = (0.3, 0.75)  # face oval's height in a square clip that is used whole
_SAME_FACE = 0.2  # overlap of a face's boxes in neighbouring frames; less is a cut


class Unusable(Exception):
    """A clip that is skipped; the message says why."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One tracked clip. Frames are counted as they are in the file."""

    name: str
    path: Path
    fps: float
    box: CropBox
    """The square, the same for every frame."""
    faces: dict[int, Landmarks]
    """By frame index: the driver's landmarks in the file's own pixels, where a face was found."""
    times_ns: dict[int, int]
    teeth: dict[int, Teeth]
    """What a portrait is told of the driver's teeth, see `puppet.retarget.teeth`."""
    note: str = ""

    def landmarks(self, index: int) -> Landmarks:
        """In the pixels of the square at 512 x 512, with what is between the lips as the live loop
        would show it."""
        return replace(self.box.to_crop(self.faces[index]), teeth=self.teeth[index])


@dataclass(frozen=True, slots=True)
class Choice:
    """Which frames of a clip are what."""

    shots: tuple[int, ...]
    """Pictures of the person; the first is the portrait."""
    tests: tuple[int, ...]
    """Driver and truth."""


def find_clips(folder: Path) -> dict[str, Path]:
    """Every video in a folder and the folders in it by a name of its own, sorted. Raises
    FileNotFoundError."""
    found = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()
    )
    if not found:
        raise FileNotFoundError(f"{folder} holds no clips ({', '.join(sorted(VIDEO_SUFFIXES))})")
    return dict(zip(plain_names(found, folder), found, strict=True))


def track_clip(name: str, path: Path) -> Clip:
    """Tracks a whole file as the live loop would, and its first face, the portrait, as a
    portrait's is measured. Raises Unusable."""
    from puppet.track import open_tracker, settle_face
    from puppet.track.follow import face_box, overlap

    faces: dict[int, Landmarks] = {}
    times: dict[int, int] = {}
    note = ""
    tracker = open_tracker()
    try:
        previous = None
        shape = None
        for frame in _frames(path):
            shape = shape or frame.rgb.shape
            if frame.rgb.shape != shape:
                note = f"used up to a change of size at frame {frame.index}"
                break
            if frame.index >= LONGEST:
                note = f"only the first {LONGEST} frames are used"
                break
            face = tracker.track(frame).landmarks
            times[frame.index] = frame.captured_at_ns
            if face is None:
                continue
            here = face_box(face)
            if previous is not None and overlap(here, previous) < _SAME_FACE:
                note = f"used up to a cut at frame {frame.index}"
                break
            faces[frame.index] = face if faces else settle_face(frame.rgb, face)
            previous = here
    except SourceError as error:
        raise Unusable(str(error)) from error
    finally:
        tracker.close()
    if len(faces) < 2:
        raise Unusable("no face" if not faces else "a face in one frame only")
    box = square(faces[min(faces)])
    fps = _rate(times)
    return Clip(name, path, fps, box, faces, times, _shown(faces, times), note)


def _shown(faces: dict[int, Landmarks], times_ns: dict[int, int]) -> dict[int, Teeth]:
    lightest = LightestTeeth()
    shown = {}
    for index, face in faces.items():
        if face.teeth is not None:
            lightest.see(face.teeth, times_ns[index])
        shown[index] = shown_teeth(face.teeth, lightest.value)
    return shown


def square(face: Landmarks) -> CropBox:
    """The square for a clip whose first face is `face`: the whole picture when it is a square
    around a head already, else the portrait's framing, moved and shrunk into the picture."""
    wanted = frame_face(face)
    width, height = face.width, face.height
    if width == height:
        oval = face.points[list(FACE_OVAL), :2]
        share = float(np.ptp(oval[:, 1])) / height
        if _WELL_FRAMED[0] <= share <= _WELL_FRAMED[1]:
            return CropBox(0.0, 0.0, float(width))
    side = min(wanted.side, float(min(width, height)))
    x = wanted.x + (wanted.side - side) / 2
    y = wanted.y + (wanted.side - side) / 2
    return CropBox(min(max(x, 0.0), width - side), min(max(y, 0.0), height - side), side)


def choose(clip: Clip, *, frames: int | None, shots: int) -> Choice:
    """The portrait is the first frame with a face, and the first shot. The tests are `frames`
    others spread evenly (all others for None) and do not depend on the number of shots, so that
    results of several numbers can be compared. Further shots are spread evenly over what lies at
    least three frames from any test; with all frames, tests keep that distance from the shots.
    Raises Unusable.
    """
    seen = sorted(clip.faces)
    portrait, others = seen[0], seen[1:]
    if frames is None:
        further = _spread(others, shots - 1)
        tests = [i for i in others if all(abs(i - shot) >= 3 for shot in further)]
    else:
        tests = _spread(others, frames)
        free = [i for i in others if all(abs(i - test) >= 3 for test in tests)]
        further = _spread(free, shots - 1)
    if len(further) < shots - 1 or not tests:
        raise Unusable(f"too short for {shots} shots: a face in {len(seen)} frames")
    return Choice((portrait, *further), tuple(tests))


def stream_frames(clip: Clip, indices: Sequence[int]) -> Iterator[tuple[int, Rgb]]:
    """The chosen frames in order, as they are in the file. Raises Unusable."""
    wanted = set(indices)
    left = len(wanted)
    try:
        for frame in _frames(clip.path):
            if frame.index in wanted:
                left -= 1
                yield frame.index, frame.rgb
            if left == 0:
                return
    except SourceError as error:
        raise Unusable(str(error)) from error
    raise Unusable("the file changed while it was read")


def observations(clip: Clip, indices: Sequence[int]) -> list[Observation]:
    """The driver at some frames, as retargeting takes it."""
    return [Observation(clip.faces[i], clip.times_ns[i], i) for i in indices]


def _spread(from_: Sequence[int], count: int) -> list[int]:
    """`count` of them, evenly spread, first and last included; all when there are fewer."""
    if count <= 0:
        return []
    if len(from_) <= count:
        return list(from_)
    if count == 1:
        return [from_[len(from_) // 2]]
    return [from_[round(k)] for k in np.linspace(0, len(from_) - 1, count)]


def _frames(path: Path) -> Iterator[Frame]:
    from puppet.capture import open_source

    source = open_source(str(path), realtime=False)
    try:
        while True:
            frame = source.read(60.0)
            if frame is None:
                return
            if isinstance(frame, Frame):
                yield frame
    finally:
        source.close()


def _rate(times: dict[int, int]) -> float:
    steps = np.diff([times[i] for i in sorted(times)])
    return float(1e9 / np.median(steps)) if len(steps) and np.median(steps) > 0 else 25.0
