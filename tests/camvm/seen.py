"""What is to be seen in pictures that come out of the virtual camera. Pure."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.avatar.bundle import Avatar
from puppet.compose import ComposeSettings, Compositor, LabelSettings
from puppet.compose.label import make_label

Rgb = NDArray[np.uint8]
_MOUTH = (61, 291, 0, 17)  # corners, upper and lower lip


def mouth_box(avatar: Avatar, size: tuple[int, int]) -> tuple[slice, slice]:
    """Where the avatar's mouth is in pictures of `size`, with some room around it."""
    framing = Compositor(avatar, ComposeSettings(size=size)).framing
    points = avatar.landmarks.points[list(_MOUTH), :2] * framing.side / 512
    low, high = points.min(axis=0), points.max(axis=0)
    room = 0.4 * (high[0] - low[0])
    left, top = low - room + (framing.x, framing.y)
    right, bottom = high + room + (framing.x, framing.y)
    return slice(max(0, int(top)), int(bottom)), slice(max(0, int(left)), int(right))


def motion(pictures: list[Rgb], box: tuple[slice, slice]) -> float:
    """How much a part changes over time: mean over its pixels of the deviation, in levels."""
    small = [cv2.cvtColor(p[box], cv2.COLOR_RGB2GRAY) for p in pictures]
    return float(np.std(np.stack(small).astype(np.float32), axis=0).mean())


def label_likeness(picture: Rgb) -> float:
    """Correlation, -1 to 1, of the label's corner with the label as it is drawn."""
    height, width = picture.shape[:2]
    label = make_label(LabelSettings(), (width, height))
    assert label is not None
    drawn = cv2.cvtColor(np.ascontiguousarray(label.rgba[..., :3]), cv2.COLOR_RGB2GRAY)
    there = cv2.cvtColor(label.region(picture), cv2.COLOR_RGB2GRAY)
    inside = label.rgba[..., 3] > 200
    return float(np.corrcoef(drawn[inside], there[inside])[0, 1])


def judge(pictures: list[Rgb], avatar: Avatar, size: tuple[int, int]) -> dict[str, Any]:
    """Size, moving face, label of some pictures of the portrait, with a verdict each."""
    sizes = {p.shape[1::-1] for p in pictures}
    if sizes != {size}:
        return {"sizes": sorted(sizes), "ok": False}
    mouth = motion(pictures, mouth_box(avatar, size))
    corner = motion(pictures, (slice(0, size[1] // 8), slice(0, size[0] // 10)))
    label = min(label_likeness(p) for p in pictures)
    return {
        "size": list(size),
        "mouth_motion": round(mouth, 2),
        "corner_motion": round(corner, 2),
        "label_likeness": round(label, 3),
        "ok": mouth > 2.0 and mouth > 4 * corner and label > 0.85,
    }


def delays_s(
    fed: tuple[NDArray[np.float64], NDArray[np.float32]],
    shown: tuple[NDArray[np.float64], NDArray[np.float32]],
) -> list[float]:
    """How long after each jump of the driver the portrait was half way to its new face.

    Both are (times in seconds, thumbnails (N, h, w)) of one clock. A jump is a large change of
    the driver's picture with stillness before the next; everything the program does is in the
    delay, smoothing too.
    """
    times, thumbs = fed
    change = np.abs(np.diff(thumbs, axis=0)).mean(axis=(1, 2))
    jumps = times[1:][change > 0.5 * change.max()]
    found = []
    for before, jump, after in zip(jumps, jumps[1:], jumps[2:], strict=False):
        if jump - before < 0.9 or after - jump < 0.9:
            continue  # not a still face before and after
        window = (shown[0] > jump - 0.2) & (shown[0] < after)
        at, seen = shown[0][window], shown[1][window]
        old, new = seen[at < jump], seen[at > after - 0.2]
        if not len(old) or not len(new):
            continue
        way = new.mean(axis=0) - old.mean(axis=0)
        length = float((way * way).sum())
        if length < way.size * 0.25:  # half a level: the two faces look alike
            continue
        share = ((seen - old.mean(axis=0)) * way).sum(axis=(1, 2)) / length
        arrived = at[(at > jump) & (share > 0.5)]
        if len(arrived):
            found.append(float(arrived[0] - jump))
    return found
