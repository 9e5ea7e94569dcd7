"""A picture becomes an avatar: find the face, frame it, cut the person out, fill the hole."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from puppet.avatar.border import continue_border, continue_matte
from puppet.avatar.bundle import SCHEMA, Avatar
from puppet.avatar.consent import Consent, require_consent
from puppet.avatar.files import MAX_PICTURE_SIDE, hash_of
from puppet.avatar.framing import (
    FACE_OVAL,
    FACE_SHARE,
    CropBox,
    cut,
    frame_face,
    oval_mask,
)
from puppet.avatar.images import read_photo, shrink
from puppet.avatar.store import SUFFIX, avatars_dir, check_name
from puppet.contract import Landmarks, PictureError, Rgb
from puppet.draw import DRAW_STYLE
from puppet.system import expanded
from puppet.track import find_faces

MIN_FACE_PX = 96
"""Height of the face oval below which the portrait is mush: its crop would be 209 pixels."""
_BYSTANDER = 0.35  # a face less high than this share of the largest is in the background

Progress = Callable[[str], None]


def create_avatar(
    image_path: str | Path,
    name: str,
    consent: Consent | None,
    *,
    face: int | None = None,
    folder: Path | None = None,
    on_step: Progress = lambda step: None,
) -> Avatar:
    """Makes an avatar of a photo, painting or drawing; `save_avatar` writes it.

    `consent` without its picture's hash is completed; None is refused. `face`: which one, counted
    from 1 from left to right, where there are several. `folder`: where it is to be saved, by
    default the user's avatars' folder. `on_step` hears what is being done, for a progress bar.

    Raises PictureError (no face, several faces, too small, not a picture), UserError (no consent,
    not a name) or TrackerError, each with a sentence.
    """
    consent = require_consent(consent)
    check_name(name)
    path = expanded(image_path)
    on_step("reading the picture")
    photo, photo_alpha, data = read_photo(path)
    picture = np.ascontiguousarray(shrink(photo, MAX_PICTURE_SIDE))
    alpha = None if photo_alpha is None else shrink(photo_alpha, MAX_PICTURE_SIDE)
    on_step("looking for the face")
    scale = photo.shape[0] / picture.shape[0]
    chosen = choose_face(find_faces(picture), path, scale, face)
    on_step("cutting the person out")
    parts = _take_apart(picture, alpha, chosen)
    return Avatar(
        name=name,
        folder=folder or avatars_dir() / f"{name}{SUFFIX}",
        picture=picture,
        consent=dataclasses.replace(consent, picture_sha256=hash_of(data)),
        meta={"draw_style": DRAW_STYLE, **_versions()},
        neutral=parts.landmarks,
        **{f.name: getattr(parts, f.name) for f in dataclasses.fields(parts)},
    )


def choose_face(
    faces: Sequence[Landmarks], path: Path, scale: float, wanted: int | None
) -> Landmarks:
    """The face to animate. `scale`: pixels of the original picture per pixel of `faces`.

    Raises PictureError: no face, several, not that many, too small.
    """
    if not faces:
        raise PictureError(
            f"No face was found in {path}. It should be looking towards the viewer, be lit, and "
            "not be hidden; cropping the picture to head and shoulders may help."
        )
    largest = max(_height(face) for face in faces)
    # From left to right, bystanders after those that the list shows: numbers mean one face.
    in_order = sorted(faces, key=lambda face: float(face.points[:, 0].mean()))
    worth = [face for face in in_order if _height(face) >= _BYSTANDER * largest]
    if wanted:
        worth += [face for face in in_order if _height(face) < _BYSTANDER * largest]
    if wanted is None and len(worth) > 1:
        raise PictureError(
            f"There are {len(worth)} faces in {path}. Choose one with --face N:\n"
            + "\n".join(f"  {i}: {_where(f, scale)}" for i, f in enumerate(worth, 1))
        )
    if wanted is not None and not 1 <= wanted <= len(worth):
        raise PictureError(
            f"There is no face {wanted} in {path}: "
            + ("it has one." if len(worth) == 1 else f"they are numbered 1 to {len(worth)}.")
        )
    chosen = worth[0 if wanted is None else wanted - 1]
    height = _height(chosen) * scale
    if height < MIN_FACE_PX:
        raise PictureError(
            f"The face in {path} is too small: {height:.0f} pixels high from forehead to chin, at "
            f"least {MIN_FACE_PX} are needed ({MIN_FACE_PX / FACE_SHARE:.0f} is where it gets "
            "good). Use a larger picture of it."
        )
    return chosen


def _height(face: Landmarks) -> float:
    return float(np.ptp(face.points[list(FACE_OVAL), 1]))


def _where(face: Landmarks, scale: float) -> str:
    x, y = (float(v) for v in face.points[:, :2].mean(axis=0))
    across = ("left", "middle", "right")[min(2, max(0, int(3 * x / face.width)))]
    return (
        f"{across}, at ({x * scale:.0f}, {y * scale:.0f}), {_height(face) * scale:.0f} pixels high"
    )


@dataclasses.dataclass(frozen=True)
class _Parts:
    """The fields of Avatar that come from the pixels."""

    portrait: Rgb
    matte: NDArray[np.uint8]
    landmarks: Landmarks
    background: Rgb
    picture_matte: NDArray[np.uint8]
    crop: CropBox


def _take_apart(picture: Rgb, alpha: NDArray[np.uint8] | None, face: Landmarks) -> _Parts:
    from puppet.avatar.background import remove_person
    from puppet.avatar.matting import foreground_colours

    height, width = picture.shape[:2]
    box = frame_face(face)
    # The person is found in the square as it is: before a blurred border hair seems to end.
    square = np.asarray(cut(picture, box), np.uint8)
    in_crop = box.to_crop(face)
    portrait = continue_border(square, box, width, height)
    if alpha is not None and _shows_face(alpha, face):
        # The picture was cut out already, by someone who knew better. What lies under its
        # transparent pixels may be anything, so colours are carried on from the person.
        matte = np.asarray(cut(alpha, box), np.float32) / 255
        matte = continue_matte(matte, box, width, height)
        everywhere = alpha.astype(np.float32) / 255
        portrait = foreground_colours(portrait, matte)
    else:
        matte, everywhere = _find_person(picture, square, box, in_crop)
    return _Parts(
        portrait=portrait,
        matte=_bytes_of(matte),
        landmarks=in_crop,
        background=remove_person(picture, everywhere),
        picture_matte=_bytes_of(everywhere),
        crop=box,
    )


def _find_person(
    picture: Rgb, square: Rgb, box: CropBox, in_crop: Landmarks
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(matte of the crop, person in the whole picture), 0..1."""
    from puppet.avatar.matting import refine_matte
    from puppet.avatar.person import Segmenter, person_in_crop, person_in_picture

    height, width = picture.shape[:2]
    segmenter = Segmenter()
    try:
        rough = person_in_crop(segmenter, square, in_crop)
        matte = refine_matte(square, rough)
        matte = continue_matte(matte, box, width, height)
        return matte, person_in_picture(segmenter, picture, box, matte)
    finally:
        segmenter.close()


def _shows_face(alpha: NDArray[np.uint8], face: Landmarks) -> bool:
    oval = oval_mask(face) > 0
    return bool(oval.any()) and float((alpha[oval] > 127).mean()) > 0.9


def _bytes_of(share: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.round(np.clip(share, 0, 1) * 255), np.uint8)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"schema": str(SCHEMA)}
    for package in ("webcam-puppet", "mediapipe"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout
            found[package] = "unknown"
    return found
