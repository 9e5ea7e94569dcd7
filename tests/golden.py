"""Compares a picture with the one kept in tests/golden.

`PUPPET_UPDATE_GOLDEN=1 pytest ...` writes the kept pictures anew; look at them before committing.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "golden"


def assert_like_golden(
    name: str, picture: NDArray[np.uint8], *, mean: float = 0.05, most: int = 40
) -> None:
    """`mean` and `most`: largest mean and single difference in levels of 255; anti-aliasing may
    differ by a few levels between OpenCV builds. On failure the picture that came is left beside
    the kept one as NAME.actual.png."""
    path = FOLDER / f"{name}.png"
    if os.environ.get("PUPPET_UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    kept = cv2.imread(str(path))
    assert kept is not None, f"{path} is missing: run with PUPPET_UPDATE_GOLDEN=1 and look at it"
    expected = cv2.cvtColor(kept, cv2.COLOR_BGR2RGB)
    difference = np.abs(picture.astype(int) - expected)
    if difference.mean() > mean or difference.max() > most:
        actual = path.with_suffix(".actual.png")
        cv2.imwrite(str(actual), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        raise AssertionError(
            f"{name} differs by {difference.mean():.3f} on average and {difference.max()} at most;"
            f" see {actual}"
        )
