"""The files of a bundle, one by one: bounded, hashed, and checked before they are believed."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.contract import PICTURE_SIZE
from puppet.avatar.images import header_size
from puppet.contract import N_LANDMARKS, BundleError, Landmarks

MANIFEST = "avatar.json"
MAX_PICTURE_SIDE = 2048
_MAX_MANIFEST_BYTES = 256 << 10
_MAX_FILE_BYTES = 32 << 20
_MAX_LANDMARKS_BYTES = 64 << 10
_FARTHEST_POINT = 8.0  # in units of the crop: a face may reach out of it, but not by miles


def hash_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Manifest:
    """avatar.json, with typed access that ends in BundleError."""

    folder: Path
    values: Mapping[str, Any]

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or len(value) > 200:
            self._broken(f"{key!r} is missing or not a text")
        return value

    def texts(self, key: str) -> dict[str, str]:
        value = self.values.get(key, {})
        if not isinstance(value, dict) or not all(
            isinstance(k, str) and isinstance(v, str) and len(v) <= 200 for k, v in value.items()
        ):
            self._broken(f"{key!r} is not a table of texts")
        return dict(value)

    def numbers(self, key: str, names: tuple[str, ...], limit: float) -> tuple[float, ...]:
        table = self.values.get(key)
        numbers = [table.get(name) for name in names] if isinstance(table, dict) else [None]
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int | float):
                self._broken(f"{key!r} is missing or not made of numbers")
            if not math.isfinite(number) or abs(number) > limit:
                self._broken(f"{key!r} is out of range")
        return tuple(float(number) for number in numbers if number is not None)

    def file_record(self, name: str) -> tuple[str, int]:
        """(sha256, size in bytes) that a file must have."""
        files = self.values.get("files")
        record = files.get(name) if isinstance(files, dict) else None
        if not isinstance(record, dict):
            self._broken(f"it does not list {name}")
        digest, size = record.get("sha256"), record.get("bytes")
        if not isinstance(digest, str) or isinstance(size, bool) or not isinstance(size, int):
            self._broken(f"its record of {name} is not complete")
        return digest, size

    def _broken(self, what: str) -> NoReturn:
        raise BundleError(
            f"The avatar {self.folder} is broken: in {MANIFEST}, {what}. Create it again."
        )


def read_manifest(folder: Path, schema: int) -> Manifest:
    """Raises BundleError unless it is sound JSON of this schema."""
    content = _read_plain(folder, MANIFEST, _MAX_MANIFEST_BYTES)

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a number")

    try:
        values = json.loads(content.decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"The avatar {folder} is broken: {MANIFEST} is not valid ({error}). Create it again."
        ) from error
    if not isinstance(values, dict) or not isinstance(values.get("schema"), int):
        raise BundleError(f"The avatar {folder} is broken: {MANIFEST} names no schema version.")
    if values["schema"] != schema:
        newer = values["schema"] > schema
        remedy = "Update webcam-puppet." if newer else "Create the avatar again."
        raise BundleError(
            f"The avatar {folder} has schema {values['schema']}, this version reads {schema}. "
            + remedy
        )
    return Manifest(folder, values)


def write_manifest(folder: Path, values: Mapping[str, Any]) -> None:
    """Writes avatar.json beside and renames it into place."""
    beside = folder / f".{MANIFEST}.{os.getpid()}"
    beside.write_text(
        json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    os.replace(beside, folder / MANIFEST)


def read_file(folder: Path, name: str, manifest: Manifest) -> bytes:
    """A file's content, if it is the one avatar.json speaks of."""
    digest, size = manifest.file_record(name)
    content = _read_plain(folder, name, _MAX_FILE_BYTES)
    if len(content) != size or hash_of(content) != digest:
        raise BundleError(
            f"The avatar {folder} is broken: {name} is not the file that {MANIFEST} describes "
            "(changed, or copied incompletely). Copy it again, or create it again."
        )
    return content


def _read_plain(folder: Path, name: str, limit: int) -> bytes:
    """Of a regular file in the folder itself: no link, no device, no path."""
    path = folder / name
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BundleError(
                f"The avatar {folder} is not accepted: {name} is a link or no plain file."
            )
        with os.fdopen(os.open(path, flags), "rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder} is not a whole avatar: {name} is missing. Copy it again, or create it again."
        ) from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) > limit:
        raise BundleError(f"The avatar {folder} is not accepted: {name} is over {limit} bytes.")
    return content


def encode_image(image: NDArray[np.uint8], suffix: str) -> bytes:
    """PNG or JPEG bytes of an RGB or grey picture."""
    bgr = np.ascontiguousarray(image[:, :, ::-1]) if image.ndim == 3 else image
    options = [cv2.IMWRITE_PNG_COMPRESSION, 6]
    if suffix == ".jpg":
        options = [cv2.IMWRITE_JPEG_QUALITY, 95]
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, encoded = cv2.imencode(suffix, bgr, options)
    if not done:
        raise ValueError(f"could not encode {image.shape} as {suffix}")
    return encoded.tobytes()


def decode_image(
    folder: Path,
    name: str,
    data: Mapping[str, bytes],
    *,
    channels: int,
    size: tuple[int, ...] | None = None,
) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W) uint8; `size` (height, width) where only one is right."""
    stated = header_size(data[name])
    if stated is None:
        raise BundleError(f"The avatar {folder} is broken: {name} is not a picture.")
    width, height = stated
    if size is not None and (height, width) != tuple(size):
        raise BundleError(
            f"The avatar {folder} is broken: {name} is {width} x {height} pixels instead of "
            f"{size[1]} x {size[0]}."
        )
    if not (0 < width <= MAX_PICTURE_SIDE and 0 < height <= MAX_PICTURE_SIDE):
        raise BundleError(
            f"The avatar {folder} is not accepted: {name} is {width} x {height} pixels, at most "
            f"{MAX_PICTURE_SIDE} a side are allowed."
        )
    mode = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(
            np.frombuffer(data[name], np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error as error:
        raise BundleError(f"The avatar {folder} is broken: {name}: {error}") from error
    if image is None or image.shape[:2] != (height, width):
        raise BundleError(f"The avatar {folder} is broken: {name} does not decode.")
    pixels = np.asarray(image, np.uint8)
    return np.ascontiguousarray(pixels[:, :, ::-1]) if channels == 3 else pixels


def encode_landmarks(landmarks: Landmarks, neutral: Landmarks) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, points=landmarks.points, neutral=neutral.points)
    return buffer.getvalue()


def decode_landmarks(folder: Path, content: bytes) -> tuple[Landmarks, Landmarks]:
    """(landmarks, neutral) in the crop's pixels."""
    problem = f"The avatar {folder} is broken: landmarks.npz"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) != 2 or sum(m.file_size for m in members) > _MAX_LANDMARKS_BYTES:
                raise BundleError(f"{problem} holds something else than two sets of points.")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = [np.asarray(arrays[key]) for key in ("points", "neutral")]
    except (OSError, ValueError, KeyError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{problem} cannot be read ({error}). Create it again.") from error
    faces = []
    for points in found:
        if points.shape != (N_LANDMARKS, 3) or points.dtype != np.float32:
            raise BundleError(
                f"{problem} has {points.dtype} points of shape {points.shape} instead of float32 "
                f"({N_LANDMARKS}, 3)."
            )
        if not np.isfinite(points).all() or np.abs(points).max() > _FARTHEST_POINT * PICTURE_SIZE:
            raise BundleError(f"{problem} has points that are not numbers or out of range.")
        faces.append(Landmarks(np.ascontiguousarray(points), PICTURE_SIZE, PICTURE_SIZE))
    return faces[0], faces[1]
