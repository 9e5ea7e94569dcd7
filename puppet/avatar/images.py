"""Reading pictures that may come from anybody: the size is read from the header before a single
pixel is decoded, so that a small file cannot ask for gigabytes."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.contract import PictureError, Rgb

MAX_FILE_BYTES = 200 << 20
MAX_PIXELS = 120_000_000


def header_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) as the header of a PNG, JPEG, WebP or BMP says; None for anything else."""
    kind = _kind(data)
    try:
        if kind == "PNG" and data[12:16] == b"IHDR":
            width, height = struct.unpack(">II", data[16:24])
            return width, height
        if kind == "JPEG":
            return _jpeg_size(data)
        if kind == "WebP":
            return _webp_size(data)
        if kind == "BMP":
            width, height = struct.unpack("<ii", data[18:26])
            return abs(width), abs(height)
    except (struct.error, IndexError):
        return None
    return None


def _kind(data: bytes) -> str:
    """What a file's first bytes say it is, of the kinds that are read; empty for anything else."""
    signatures = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8", "BMP": b"BM"}
    for kind, signature in signatures.items():
        if data.startswith(signature):
            return kind
    return "WebP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """The largest of all frame headers: a second one must not hide behind a small first."""
    largest: tuple[int, int] | None = None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            break
        if marker in (0x01, *range(0xD0, 0xDA)):
            at += 2
            continue
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            if largest is None or width * height > largest[0] * largest[1]:
                largest = width, height
        at += 2 + length
    return largest


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def read_photo(path: Path) -> tuple[Rgb, NDArray[np.uint8] | None, bytes]:
    """(rgb, alpha or None, the file's bytes); upright by its EXIF, grey and 16 bit converted.

    A picture with transparency is put on light grey. Raises PictureError with a sentence.
    """
    data = _file_bytes(path)
    size = header_size(data)
    if size is None:
        raise PictureError(f"{path} is not a picture this program reads{_what_it_is(data)}")
    width, height = size
    if width * height > MAX_PIXELS or width <= 0 or height <= 0:
        raise PictureError(
            f"{path} says it is {width} x {height} pixels; at most "
            f"{MAX_PIXELS // 1_000_000} megapixels are read. Make a smaller copy of it."
        )
    encoded = np.frombuffer(data, np.uint8)
    try:
        raw = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
        has_alpha = raw is not None and raw.ndim == 3 and raw.shape[2] == 4
        if not has_alpha:
            # Upright by EXIF; also turns grey, palette and 16 bit into three 8 bit channels.
            raw = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        raise PictureError(f"{path} could not be decoded: {error}") from error
    if raw is None or raw.size == 0:
        raise PictureError(
            f"{path} is damaged: its header is fine but its pixels are not. "
            "Save or download it again."
        )
    if raw.dtype == np.uint16:
        raw = (raw // 257).astype(np.uint8)
    bgr = np.asarray(raw, np.uint8)
    rgb = np.ascontiguousarray(bgr[:, :, 2::-1])
    if not has_alpha:
        return rgb, None, data
    alpha = np.ascontiguousarray(bgr[:, :, 3])
    share = alpha[..., None].astype(np.float32) / 255
    rgb = np.round(rgb * share + 225 * (1 - share)).astype(np.uint8)
    return rgb, (alpha if alpha.min() < 128 else None), data


def _file_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            problem = "is a folder, not a picture" if path.is_dir() else "does not exist"
            raise PictureError(f"{path} {problem}.")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PictureError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MB: export a JPEG.")
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path} cannot be read: {error.strerror or error}") from error


def why_no_photo(path: Path) -> str:
    """The end of a sentence that says why `read_photo` would not take the file for a picture;
    empty where it would. Looks at the first bytes only."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError as error:
        return f": it cannot be read ({error.strerror or error})."
    return "" if _kind(head) else _what_it_is(head)


def _what_it_is(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return " (HEIC, AVIF or a video). Export it as JPEG or PNG and try again."
    if data[:4] in (b"II*\0", b"MM\0*"):
        return " (TIFF). Export it as JPEG or PNG and try again."
    if not data:
        return ": the file is empty."
    return ". Give a JPEG, PNG, WebP or BMP file."


def shrink(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """`image` with at most `longest` pixels on its longer side; itself when it is small enough."""
    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
