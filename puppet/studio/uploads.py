"""Pictures that somebody sent, for the background."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from puppet.avatar.images import read_photo, shrink
from puppet.contract import PictureError, Rgb

LONGEST_SIDE = 2048


def read_background(data: bytes) -> Rgb:
    """(H, W, 3) uint8, longer side at most 2048. Raises PictureError."""
    with tempfile.TemporaryDirectory(prefix="puppet-upload-") as folder:
        path = Path(folder) / "picture"
        path.write_bytes(data)
        try:
            rgb, _, _ = read_photo(path)
        except PictureError as error:
            told = str(error).replace(str(path), "the picture")
            raise PictureError(told[:1].upper() + told[1:]) from error
    return np.ascontiguousarray(shrink(rgb, LONGEST_SIDE))
