"""Pictures from a folder, a glob pattern or a single file, as a source."""

from __future__ import annotations

import glob
import re
from collections.abc import Generator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from puppet.capture.played import Cue, Recording
from puppet.contract import Frame, Rgb, SourceError

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")
)
DEFAULT_FPS = 25.0
_MAX_BYTES = 256 * 2**20
_BEHIND_ALPHA = 128
"""What shows through transparent pixels: mid grey, which no face detector takes for anything."""


def image_recording(spec: str, fps: float | None = None) -> Recording[Frame]:
    """The pictures of a folder or pattern in natural order (2 before 10), at `fps`.

    EXIF rotation is applied; grey, 16-bit and transparent pictures become RGB. Sizes may differ
    from picture to picture. Raises SourceError when there is none, or the first is broken; a
    broken one later is passed over, as a lost picture of a camera would be.
    """
    paths = _find(spec)
    rate = DEFAULT_FPS if fps is None else fps
    height, width = read_picture(paths[0]).shape[:2]
    name = Path(spec).name or spec
    return Recording(name, partial(_cues, paths, rate), (width, height), rate, len(paths))


def read_picture(path: Path) -> Rgb:
    """(H, W, 3) uint8, upright; the caller owns it. Raises SourceError."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise SourceError(f"{path} is larger than {_MAX_BYTES >> 20} MiB: make it smaller")
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"cannot read the picture {path} ({error.strerror})") from error
    picture = _decode(data) if data.size else None
    if picture is None:
        raise SourceError(
            f"{path} is not a picture that can be read: it is damaged, or of an unknown kind; "
            "save it again as PNG or JPEG"
        )
    return picture


def _decode(data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> Rgb | None:
    try:
        if data[:2].tobytes() != b"\xff\xd8":  # all but JPEG can be transparent
            raw = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
            if raw is not None and raw.ndim == 3 and raw.shape[2] == 4:
                return _over_grey(raw)
        # Turns by EXIF, makes 8 bits of 16 and three channels of one.
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:  # e.g. more pixels than OpenCV is willing to read
        return None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _over_grey(bgra: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Rgb:
    full = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(bgra.dtype, 1)
    scaled = bgra.astype(np.float32) / np.float32(full)
    alpha = scaled[..., 3:]
    rgb = scaled[..., 2::-1] * alpha + np.float32(_BEHIND_ALPHA / 255) * (1 - alpha)
    return np.ascontiguousarray(np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8))


def _find(spec: str) -> list[Path]:
    path = Path(spec)
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
        where = f"the folder {spec}"
    elif path.is_file():
        return [path]
    else:
        found = [Path(p) for p in glob.glob(spec) if Path(p).is_file()]
        where = f"{spec}"
    if not found and "%" in spec:
        raise SourceError(
            f"no pictures in {spec}: patterns are written with '*', as in frame_*.png; "
            "or give the folder"
        )
    if not found:
        kinds = ", ".join(sorted(s[1:] for s in IMAGE_SUFFIXES))
        raise SourceError(f"no pictures in {where}: put pictures there ({kinds})")
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts frame_2 before frame_10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(p), "") if p.isdigit() else (0, 0, p.lower()) for p in parts]


def _cues(paths: list[Path], fps: float) -> Generator[Cue[Frame], None, None]:
    for i, path in enumerate(paths):
        try:
            picture = read_picture(path)
        except SourceError:
            if i == 0:
                raise
            continue
        yield Cue(round(i * 1e9 / fps), partial(Frame, picture))
