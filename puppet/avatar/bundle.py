"""The avatar bundle: a folder NAME.avatar of plain data, written atomically, read with suspicion.

    avatar.json       schema, name, draw style, crop, consent record, sha256 and size of each file
    portrait.png      (512, 512, 3) the square that is animated, free of background colour
    matte.png         (512, 512) its alpha
    landmarks.npz     points, neutral: (478, 3) float32 in portrait pixels
    picture.jpg       the whole picture, longer side at most 2048
    background.jpg    the same without the person
    picture_matte.png (H, W) the person in the whole picture
    thumbnail.jpg     for lists
    tensors-*.safetensors   the generator's portrait inputs, a cache (see puppet.avatar.tensors)

Nothing in it is executed or unpickled. Every file is a plain file of an allowed name, of bounded
size, and has the hash that avatar.json says.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.contract import PICTURE_SIZE
from puppet.avatar.consent import Consent
from puppet.avatar.files import (
    MAX_PICTURE_SIDE,
    decode_image,
    decode_landmarks,
    encode_image,
    encode_landmarks,
    hash_of,
    read_file,
    read_manifest,
    write_manifest,
)
from puppet.avatar.framing import CropBox
from puppet.avatar.images import shrink
from puppet.avatar.store import bundle_path, check_name
from puppet.contract import BundleError, Landmarks, Rgb, UserError
from puppet.draw import DRAW_STYLE, SAME_PORTRAITS

SCHEMA = 1
_THUMBNAIL = 160
_FILES = (
    *("portrait.png", "matte.png", "landmarks.npz", "picture.jpg", "background.jpg"),
    *("picture_matte.png", "thumbnail.jpg"),
)


@dataclass(frozen=True)
class Avatar:
    """A portrait ready to be animated. Its arrays must not be written to."""

    name: str
    folder: Path
    """Where it is or will be saved."""
    portrait: Rgb
    """(512, 512, 3) uint8: the square crop the generator animates, as it was trained:
    plain pixels, which over the picture's own background show no seam around the hair."""
    matte: NDArray[np.uint8]
    """(512, 512) uint8: alpha of the crop."""
    landmarks: Landmarks
    """Of the crop, in its 512 x 512 pixels, as found: the source of the warp."""
    neutral: Landmarks
    """The rest pose the retargeting starts from; the same pixels."""
    picture: Rgb
    """(H, W, 3) uint8: the whole picture, longer side at most 2048."""
    background: Rgb
    """(H, W, 3) uint8: the picture with the person in-painted away."""
    picture_matte: NDArray[np.uint8]
    """(H, W) uint8: the person in the whole picture, also outside of the crop."""
    crop: CropBox
    """Where in `picture` the portrait is from."""
    consent: Consent
    meta: dict[str, str] = field(default_factory=dict)
    """draw_style and the versions of what made it."""


def load_avatar(name_or_path: str | Path) -> Avatar:
    """Reads and checks a bundle, by name (in the avatars' folder) or by path.

    Raises BundleError with a sentence that says what is wrong and what to do.
    """
    folder = bundle_path(name_or_path)
    manifest = read_manifest(folder, SCHEMA)
    draw_style = manifest.text("draw_style")
    if draw_style not in SAME_PORTRAITS:
        raise BundleError(
            f"The avatar {folder} was made for the drawing {draw_style!r}, this version draws "
            f"{DRAW_STYLE!r}. Create the avatar again from its picture."
        )
    consent = Consent.from_json(manifest.values.get("consent"))
    data = {name: read_file(folder, name, manifest) for name in _FILES}
    picture = decode_image(folder, "picture.jpg", data, channels=3)
    size = picture.shape[:2]
    square = (PICTURE_SIZE, PICTURE_SIZE)
    landmarks, neutral = decode_landmarks(folder, data["landmarks.npz"])
    x, y, side = manifest.numbers("crop", ("x", "y", "side"), limit=4 * MAX_PICTURE_SIDE)
    if side < 8:
        raise BundleError(f"The avatar {folder} is broken: its crop is {side} pixels wide.")
    try:
        name = check_name(manifest.text("name"))
    except UserError as error:
        raise BundleError(f"The avatar {folder} is not accepted: {error}") from error
    return Avatar(
        name=name,
        folder=folder,
        portrait=decode_image(folder, "portrait.png", data, channels=3, size=square),
        matte=decode_image(folder, "matte.png", data, channels=1, size=square),
        landmarks=landmarks,
        neutral=neutral,
        picture=picture,
        background=decode_image(folder, "background.jpg", data, channels=3, size=size),
        picture_matte=decode_image(folder, "picture_matte.png", data, channels=1, size=size),
        crop=CropBox(x, y, side),
        consent=consent,
        meta={"draw_style": draw_style, **manifest.texts("made_with")},
    )


def save_avatar(avatar: Avatar, *, overwrite: bool = False) -> Path:
    """Writes the bundle to `avatar.folder`: all of it or nothing. Returns the folder.

    Raises UserError when there is one already and `overwrite` is not set, or when the disk says no.
    """
    check_name(avatar.name)
    target = avatar.folder
    if target.exists() and not overwrite:
        raise UserError(
            f"There is an avatar named '{avatar.name}' already ({target}). Choose another name, or "
            "replace it with --force."
        )
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{avatar.name}-", dir=target.parent))
        _write_files(avatar, temporary)
        temporary.chmod(0o755)
        _swap(temporary, target)
    except OSError as error:
        raise UserError(f"The avatar cannot be saved at {target}: {error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


def _write_files(avatar: Avatar, folder: Path) -> None:
    files = {
        "portrait.png": encode_image(avatar.portrait, ".png"),
        "matte.png": encode_image(avatar.matte, ".png"),
        "landmarks.npz": encode_landmarks(avatar.landmarks, avatar.neutral),
        "picture.jpg": encode_image(avatar.picture, ".jpg"),
        "background.jpg": encode_image(avatar.background, ".jpg"),
        "picture_matte.png": encode_image(avatar.picture_matte, ".png"),
        "thumbnail.jpg": encode_image(_thumbnail(avatar), ".jpg"),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    made_with = {key: value for key, value in avatar.meta.items() if key != "draw_style"}
    write_manifest(
        folder,
        {
            "schema": SCHEMA,
            "name": avatar.name,
            "draw_style": avatar.meta.get("draw_style", DRAW_STYLE),
            "crop": {"x": avatar.crop.x, "y": avatar.crop.y, "side": avatar.crop.side},
            "consent": avatar.consent.to_json(),
            "made_with": made_with,
            "files": {
                name: {"sha256": hash_of(content), "bytes": len(content)}
                for name, content in files.items()
            },
        },
    )


def _thumbnail(avatar: Avatar) -> Rgb:
    """The square that is animated, as far as the picture goes: outside there is nothing to see."""
    height, width = avatar.picture.shape[:2]
    crop = avatar.crop
    side = min(round(crop.side), width, height)
    x = min(max(0, round(crop.x + (crop.side - side) / 2)), width - side)
    y = min(max(0, round(crop.y + (crop.side - side) / 2)), height - side)
    square = np.ascontiguousarray(avatar.picture[y : y + side, x : x + side])
    return shrink(square, _THUMBNAIL)


def _swap(new: Path, target: Path) -> None:
    """Renames; an old bundle steps aside first and comes back if the new one cannot move in."""
    if not target.exists():
        new.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    os.replace(target, aside / "old")
    try:
        new.rename(target)
    except OSError:
        os.replace(aside / "old", target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
