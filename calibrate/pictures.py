"""More pictures of an avatar's person, cut and coloured like its portrait, to tune it with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibrate.cache import VIDEO_SUFFIXES
from calibrate.cuts import Clip, face_shape
from puppet.avatar.border import continue_border, continue_matte
from puppet.avatar.bundle import Avatar
from puppet.avatar.framing import (
    CropBox,
    cut,
    frame_face,
    oval_mask,
)
from puppet.avatar.person import Segmenter, person_in_crop
from puppet.capture.images import IMAGE_SUFFIXES, read_picture
from puppet.contract import Frame, Landmarks, PuppetError, Rgb, UserError
from puppet.system import expanded

MOST = 32
"""Pictures that tuning takes; of more, those that differ most."""
_CANDIDATES = 240
_COLOUR_LIMIT = 1.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of the person in the portrait's framing."""

    rgb: Rgb  # (512, 512, 3)
    matte: NDArray[np.uint8]  # (512, 512)
    points: NDArray[np.float32]  # (478, 3) in its pixels


def gather(
    avatar: Avatar,
    sources: Sequence[Path],
    *,
    most: int = MOST,
    tell: Callable[[str], None] = lambda text: None,
) -> Clip:
    """The avatar's portrait and up to `most` - 1 other pictures from files, folders and videos.

    What cannot be read or shows no face is left out with a line to `tell`. Raises UserError when
    sources were named and none of them gave a picture.
    """
    main = _portrait(avatar)
    backdrop = _backdrop(avatar)
    shots: list[Shot] = []
    segmenter = Segmenter()
    try:
        for path in _files(sources):
            tell(f"looking at {path.name}")
            try:
                if path.suffix.lower() in VIDEO_SUFFIXES:
                    shots += _from_video(path, segmenter, most)
                else:
                    shots.append(_from_photo(path, segmenter))
            except (PuppetError, OSError) as error:
                log.warning("%s is left out: %s", path, error)
                tell(f"{path.name} is left out: {error}")
    finally:
        segmenter.close()
    if sources and not shots:
        raise UserError(
            f"None of the pictures in {', '.join(map(str, sources))} can be used: each must show "
            "one face, as large and as well lit as the portrait's."
        )
    shots = [shots[i] for i in most_different([s.points for s in shots], most - 1)]
    shots = [_alike(main, shot, backdrop) for shot in shots]
    everything = [main, *shots]
    return Clip(
        name=avatar.name,
        person=avatar.name,
        frames=np.stack([s.rgb for s in everything]),
        mattes=np.stack([s.matte for s in everything]),
        landmarks=np.stack([s.points for s in everything]),
        usable=np.arange(len(everything)),
    )


def most_different(faces: Sequence[NDArray[np.float32]], count: int) -> list[int]:
    """Indices of `count` faces that cover what all of them show, by farthest-point sampling
    (Gonzalez 1985) of shape and pose: an open mouth or closed eyes among many is not missed."""
    if len(faces) <= count:
        return list(range(len(faces)))
    shapes = np.stack([face_shape(points) for points in faces])
    places = np.stack([points[:, :2] / np.ptp(points[:, 1]) for points in faces])
    places -= places.mean((0, 1))
    # Of a shape's and a place's difference, the shape's counts more: poses are what the warp can.
    vectors = np.concatenate([x.reshape(len(faces), -1) for x in (2 * shapes, places)], 1)
    chosen = [int(np.linalg.norm(vectors - vectors.mean(0), axis=1).argmin())]
    distance = np.linalg.norm(vectors - vectors[chosen[0]], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(vectors - vectors[chosen[-1]], axis=1))
    return chosen


def _files(sources: Sequence[Path]) -> list[Path]:
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    files: list[Path] = []
    for source in sources:
        path = expanded(source)
        if path.is_dir():
            files += sorted(p for p in path.iterdir() if p.suffix.lower() in known)
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"There is no picture, folder or video {source}: check the path.")
    return files


def _portrait(avatar: Avatar) -> Shot:
    alpha = avatar.matte[..., None].astype(np.float32) / 255
    mixed = avatar.portrait * alpha + _backdrop(avatar) * (1 - alpha)
    return Shot(np.round(mixed).astype(np.uint8), avatar.matte, avatar.landmarks.points)


def _backdrop(avatar: Avatar) -> Rgb:
    return np.asarray(cut(avatar.background, avatar.crop), np.uint8)


def _from_photo(path: Path, segmenter: Segmenter) -> Shot:
    from puppet.track import find_faces

    rgb = read_picture(path)
    faces = find_faces(rgb)
    if not faces:
        raise UserError("no face was found")
    return _shot(rgb, faces[0], frame_face(faces[0]), segmenter)


def _from_video(path: Path, segmenter: Segmenter, most: int) -> list[Shot]:
    """The frames that differ most, all in one framing: the camera stands, the head moves."""
    from puppet.capture import open_source
    from puppet.track import open_tracker

    source, tracker = open_source(str(path), realtime=False), open_tracker(max_faces=1)
    kept: list[tuple[Rgb, Landmarks]] = []
    every, index = 1, -1
    try:
        while isinstance(frame := source.read(10.0), Frame):
            index += 1
            face = tracker.track(frame).landmarks
            if face is None or index % every:
                continue
            kept.append((frame.rgb, face))
            if len(kept) >= _CANDIDATES:  # a long video: thin out, and look less often
                kept, every = kept[::2], 2 * every
    finally:
        tracker.close()
        source.close()
    if not kept:
        raise UserError("no face was found in it")
    boxes = [frame_face(face) for _, face in kept]
    box = CropBox(*(float(np.median([getattr(b, f) for b in boxes])) for f in ("x", "y", "side")))
    chosen = most_different([face.points for _, face in kept], most)
    return [_shot(*kept[i], box, segmenter) for i in sorted(chosen)]


def _shot(rgb: Rgb, face: Landmarks, box: CropBox, segmenter: Segmenter) -> Shot:
    height, width = rgb.shape[:2]
    square = cut(rgb, box)
    crop = continue_border(square, box, width, height)
    placed = box.to_crop(face)
    matte = person_in_crop(segmenter, square, placed)
    matte = continue_matte(matte, box, width, height)
    return Shot(crop, np.round(matte * 255).astype(np.uint8), placed.points)


def _alike(main: Shot, shot: Shot, backdrop: Rgb) -> Shot:
    """The shot in the portrait's light and before its background: neither is to be learned."""
    faces = [
        np.asarray(cv2.mean(s.rgb, oval_mask(Landmarks(s.points, 512, 512)))[:3])
        for s in (main, shot)
    ]
    gain = np.clip(faces[0] / np.maximum(faces[1], 1), 1 / _COLOUR_LIMIT, _COLOUR_LIMIT)
    alpha = shot.matte[..., None].astype(np.float32) / 255
    mixed = np.clip(shot.rgb * gain, 0, 255) * alpha + backdrop * (1 - alpha)
    return Shot(np.round(mixed).astype(np.uint8), shot.matte, shot.points)
