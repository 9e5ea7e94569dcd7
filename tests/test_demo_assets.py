"""The portrait and the driver clip that ship: real MediaPipe must find on them what was drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.make_demo import timeline
from tests.make_demo.topology import EYES, LIPS_INNER, LIPS_OUTER, OVAL

DATA = Path(__file__).parents[1] / "puppet" / "data"
PORTRAIT, DRIVER = DATA / "demo_portrait.jpg", DATA / "demo_driver.mp4"
Array = NDArray[np.float64]

solutions = pytest.importorskip("mediapipe.python.solutions.face_mesh", reason="MediaPipe 0.10.21")


@dataclass(frozen=True)
class Tracked:
    """What the tracker saw over the clip; NaN where it saw nothing."""

    found: NDArray[np.bool_]
    points: Array  # (T, 478, 3)


def _points(found: object, width: int, height: int) -> Array:
    points = [(p.x, p.y, p.z) for p in found.landmark]  # type: ignore[attr-defined]
    return np.array(points) * [width, height, width]


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    bgr = cv2.imread(str(PORTRAIT))
    assert bgr is not None
    return np.ascontiguousarray(bgr[:, :, ::-1])


@pytest.fixture(scope="module")
def portrait_points(portrait: NDArray[np.uint8]) -> Array:
    with solutions.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=4) as mesh:
        faces = mesh.process(portrait).multi_face_landmarks
    assert faces is not None
    assert len(faces) == 1
    return _points(faces[0], portrait.shape[1], portrait.shape[0])


def _clip() -> Iterator[NDArray[np.uint8]]:
    with av.open(str(DRIVER)) as clip:
        for frame in clip.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


@pytest.fixture(scope="module")
def tracked() -> Tracked:
    rows = []
    with solutions.FaceMesh(refine_landmarks=True, max_num_faces=1) as mesh:
        for rgb in _clip():
            faces = mesh.process(rgb).multi_face_landmarks
            rows.append(_points(faces[0], 640, 480) if faces else np.full((478, 3), np.nan))
    points = np.array(rows)
    return Tracked(~np.isnan(points[:, 0, 0]), points)


def test_files_are_small_and_of_the_promised_format(portrait: NDArray[np.uint8]) -> None:
    assert portrait.shape == (1280, 1024, 3)
    assert PORTRAIT.stat().st_size <= 400_000
    assert DRIVER.stat().st_size <= 600_000
    with av.open(str(DRIVER)) as clip:
        video, sound = clip.streams.video[0], clip.streams.audio[0]
        assert (video.width, video.height, video.average_rate) == (640, 480, timeline.FPS)
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert video.frames == timeline.FRAMES
        loudest = max(float(np.abs(f.to_ndarray()).max()) for f in clip.decode(sound))
    assert 0.1 < loudest <= 1.0


def test_portrait_landmarks_sit_where_they_were_painted(
    portrait: NDArray[np.uint8], portrait_points: Array
) -> None:
    from tests.make_demo import portrait as recipe

    painted = recipe.landmarks()
    found = portrait_points[:, :2]
    oval = painted[152, 1] - painted[10, 1]
    for name, group, limit in (
        ("eyes", np.concatenate([np.concatenate(e[:2]) for e in EYES.values()]), 0.02),
        ("brows", np.concatenate([np.concatenate(e[3:]) for e in EYES.values()]), 0.035),
        ("irises", np.array([468, 473]), 0.012),
        ("lips", np.concatenate([LIPS_OUTER, LIPS_INNER]), 0.025),
        ("oval", OVAL, 0.06),
    ):
        away = np.linalg.norm(found[group] - painted[group], axis=1).mean() / oval
        assert away < limit, f"{name}: {away:.3f} of the face's height away from the painting"


def test_portrait_is_calm_frontal_and_well_framed(portrait_points: Array) -> None:
    p = portrait_points
    height = p[152, 1] - p[10, 1]
    assert 0.3 * 1280 < height < 0.45 * 1280
    assert abs(p[13, 1] - p[14, 1]) < 0.012 * height  # lips closed
    for upper, lower in ((159, 145), (386, 374)):
        assert p[lower, 1] - p[upper, 1] > 0.04 * height  # eyes open
    nose = (p[4, 0] - p[234, 0]) / (p[454, 0] - p[234, 0])
    assert 0.4 < nose < 0.6


def _truth(name: str) -> Array:
    return np.array([getattr(timeline.moment(i)[0], name) for i in range(timeline.FRAMES)])


def _agree(a: Array, b: Array) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def test_tracker_keeps_the_driver(tracked: Tracked) -> None:
    assert len(tracked.found) == timeline.FRAMES
    assert tracked.found.mean() >= 0.99


def test_tracked_mouth_lids_gaze_and_yaw_follow_the_animation(tracked: Tracked) -> None:
    p, ok = tracked.points[tracked.found], tracked.found
    across = np.linalg.norm(p[:, 263, :2] - p[:, 33, :2], axis=1)

    mouth = np.linalg.norm(p[:, 14, :2] - p[:, 13, :2], axis=1) / across
    assert _agree(mouth, _truth("jaw")[ok]) > 0.85
    blink = _truth("blink")[ok]
    lids = sum(
        np.linalg.norm(p[:, a, :2] - p[:, b, :2], axis=1) for a, b in ((159, 145), (386, 374))
    )
    openness = lids / across
    assert _agree(-openness, blink) > 0.7
    assert np.median(openness[blink > 0.98]) < 0.6 * np.median(openness[blink < 0.02])
    yaw = np.array([timeline.moment(i)[1].yaw for i in range(timeline.FRAMES)])[ok]
    turned = (p[:, 4, 0] - (p[:, 234, 0] + p[:, 454, 0]) / 2) / (p[:, 454, 0] - p[:, 234, 0])
    assert _agree(turned, yaw) > 0.9
    looking = np.abs(_truth("gaze_x")[ok]) > 0.01
    looking &= blink < 0.1
    iris = (p[:, 468, 0] - (p[:, 33, 0] + p[:, 133, 0]) / 2) / across
    assert _agree(iris[looking], _truth("gaze_x")[ok][looking]) > 0.8


def test_clip_begins_with_a_second_of_calm_and_loops_without_a_jump(tracked: Tracked) -> None:
    start = [timeline.moment(i) for i in range(timeline.FPS)]
    assert all(face == start[0][0] for face, _ in start)
    assert all(abs(pose.yaw) + abs(pose.pitch) + abs(pose.roll) == 0 for _, pose in start)
    pictures = list(_clip())
    seam = np.abs(pictures[-1].astype(int) - pictures[0].astype(int)).mean()
    steps = [np.abs(b.astype(int) - a.astype(int)).mean() for a, b in itertools.pairwise(pictures)]
    assert seam < max(steps)
