"""The face tracker on a real face: scikit-image's astronaut (NASA, public domain)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from puppet.contract import Frame, Landmarks, Rgb, Tracker, TrackerError
from puppet.system import data_dir, explain_import_error
from puppet.track import find_faces, has_bundled_models, open_mesh, open_tracker, settle_face
from puppet.track.follow import Box, choose_face, face_box, only_face, overlap
from puppet.track.tasks import MODEL_NAME, MODEL_VARIABLE, TasksMesh, model_path, read_model

PORTRAITS = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "portraits"
MS = 1_000_000


def astronaut() -> Rgb:
    from skimage import data

    return np.asarray(data.astronaut(), np.uint8)


def scene(*faces: tuple[int, int, int], size: tuple[int, int] = (480, 800)) -> Rgb:
    """Astronauts (x, y, side) on grey; about 0.2 of the side is face."""
    picture = np.full((*size, 3), 110, np.uint8)
    head = astronaut()[0:256, 96:352]
    for x, y, side in faces:
        picture[y : y + side, x : x + side] = cv2.resize(head, (side, side))
    return picture


BIG, SMALL = (20, 40, 400), (500, 100, 280)


@pytest.fixture
def tracker() -> Iterator[Tracker]:
    opened = open_tracker()
    yield opened
    opened.close()


def centre_x(tracker: Tracker, rgb: Rgb, at_ms: int) -> float | None:
    seen = tracker.track(Frame(rgb, at_ms * MS, at_ms)).landmarks
    return None if seen is None else face_box(seen).centre[0]


def near(x: float | None, where: tuple[int, int, int]) -> bool:
    return x is not None and where[0] <= x <= where[0] + where[2]


def test_tracks_478_points_in_pixels_and_carries_time_and_index(tracker: Tracker) -> None:
    seen = tracker.track(Frame(astronaut(), 123_456_789, 7))
    assert (seen.captured_at_ns, seen.index) == (123_456_789, 7)
    assert seen.landmarks is not None
    assert (seen.landmarks.width, seen.landmarks.height) == (512, 512)
    points = seen.landmarks.points
    nose, left_iris, right_iris, chin = points[1], points[468], points[473], points[152]
    # Where they are in this well known photograph.
    assert np.hypot(*(nose[:2] - (226, 124))) < 12
    assert left_iris[0] < nose[0] < right_iris[0]
    assert left_iris[1] < nose[1] < chin[1]
    assert nose[2] < points[234][2]  # the nose is nearer than the ear: z grows away from us


def test_no_face_is_an_observation_without_landmarks(tracker: Tracker) -> None:
    assert tracker.track(Frame(np.zeros((480, 640, 3), np.uint8), 0, 0)).landmarks is None


def test_repeated_and_odd_time_stamps_and_sizes_are_taken(tracker: Tracker) -> None:
    picture = astronaut()
    for rgb, at in ((picture, 5), (picture, 5), (picture[:, :-1], 5), (picture[1:], 4)):
        assert centre_x(tracker, np.ascontiguousarray(rgb), at) is not None


def test_takes_the_largest_of_two_and_stays_with_it(tracker: Tracker) -> None:
    both = scene(BIG, SMALL)
    assert all(near(centre_x(tracker, both, i * 33), BIG) for i in range(4))


def test_stays_with_a_face_when_a_larger_one_comes(tracker: Tracker) -> None:
    alone = scene(SMALL)
    assert any(near(centre_x(tracker, alone, i * 33), SMALL) for i in range(4))
    both = scene(BIG, SMALL)
    assert all(near(centre_x(tracker, both, 200 + i * 33), SMALL) for i in range(4))


def test_comes_back_to_the_same_face_after_a_short_loss_and_to_the_largest_after_a_long_one(
    tracker: Tracker,
) -> None:
    nothing, both = scene(), scene(BIG, SMALL)
    for i in range(4):
        centre_x(tracker, scene(SMALL), i * 33)
    assert centre_x(tracker, nothing, 200) is None
    assert near(centre_x(tracker, both, 400), SMALL)
    assert near(centre_x(tracker, both, 433), SMALL)
    assert centre_x(tracker, nothing, 500) is None
    assert near(centre_x(tracker, both, 9000), BIG)


def test_closing_twice_is_fine_and_tracking_afterwards_is_a_named_error() -> None:
    tracker = open_tracker(max_faces=1)
    tracker.close()
    tracker.close()
    with pytest.raises(TrackerError, match="closed"):
        tracker.track(Frame(astronaut(), 0, 0))


def test_the_terminal_stays_clean() -> None:
    code = (
        "from puppet.track import open_tracker, find_faces\n"
        "from puppet.contract import Frame\nfrom skimage import data\nimport os\n"
        "t = open_tracker()\n"
        "for i in range(3): assert t.track(Frame(data.astronaut(), i, i)).landmarks is not None\n"
        "assert find_faces(data.astronaut())\n"
        "t.close()\nos.write(2, b'a real message')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "a real message"


def test_chatter_is_dropped_and_messages_pass(capfd: pytest.CaptureFixture[str]) -> None:
    from puppet.track.quiet import without_chatter

    with without_chatter():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nsomething else\n")
    assert capfd.readouterr().err == "something else\n"


# Stills


def test_finds_one_face_in_a_whole_picture_and_cut_tight() -> None:
    (whole,) = find_faces(astronaut())
    (tight,) = find_faces(np.ascontiguousarray(astronaut()[70:215, 165:285]))
    offset = np.array([165, 70], np.float32)
    difference = np.abs(tight.points[:, :2] + offset - whole.points[:, :2])
    assert float(np.median(difference)) < 3


def test_finds_a_face_too_small_for_the_detector_at_once() -> None:
    picture = scene((1400, 900, 120), size=(1500, 2000))
    (face,) = find_faces(picture)
    x, y = face_box(face).centre
    assert 1400 < x < 1520
    assert 900 < y < 1020


def test_finds_all_faces_largest_first() -> None:
    faces = find_faces(scene(BIG, SMALL))
    assert [near(face_box(f).centre[0], w) for f, w in zip(faces, (BIG, SMALL), strict=True)] == [
        True,
        True,
    ]


@pytest.mark.parametrize("turned", [0, 12])
def test_a_portrait_is_measured_as_its_driver_will_be(tracker: Tracker, turned: int) -> None:
    """Holds for a camera that sees the very picture: nothing must move then."""
    turn = cv2.getRotationMatrix2D((226, 124), turned, 1.0)
    picture = np.asarray(cv2.warpAffine(astronaut(), turn, (512, 512)), np.uint8)
    for at in range(12):
        followed = tracker.track(Frame(picture, at * 33 * MS, at)).landmarks
    with closing(open_mesh(still=True, max_faces=1, confidence=0.5)) as mesh:
        (searched,) = mesh.find(picture, 0)
    (settled,) = find_faces(picture)
    assert followed is not None

    def away(face: Landmarks) -> float:
        """In distances of the eyes."""
        eyes = np.linalg.norm(followed.points[33, :2] - followed.points[263, :2])
        return float(np.linalg.norm((face.points - followed.points)[:, :2], axis=1).mean() / eyes)

    assert away(settled) < 0.008
    assert away(settled) < 0.6 * away(searched)


def test_a_face_that_cannot_be_followed_stays_where_it_was_found() -> None:
    (face,) = find_faces(astronaut())
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3)).astype(np.uint8)
    assert settle_face(noise, face) is face


def test_finds_none_in_noise() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    assert find_faces(noise) == []


def test_refuses_what_is_no_picture() -> None:
    with pytest.raises(ValueError, match="uint8"):
        find_faces(np.zeros((4, 4), np.uint8))


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["lp_s9", "lp_s10", "lp_s12", "lp_s6", "anit_statue", "lp_s7", "hmeme_toon"]
)
def test_finds_the_face_of_paintings_statues_and_drawings(name: str) -> None:
    path = PORTRAITS / f"{name}.jpg"
    if not path.is_file():
        pytest.skip("the shared portraits are not beside the project")
    bgr = cv2.imread(str(path))
    assert bgr is not None
    assert len(find_faces(np.ascontiguousarray(bgr[:, :, ::-1]))) == 1


# Which face


def test_choice_of_face() -> None:
    small, large = Box(0, 0, 10, 10), Box(50, 0, 90, 40)
    assert choose_face([small, large], None) == 1
    assert choose_face([small, large], Box(2, 1, 12, 11)) == 0
    assert choose_face([large, small], Box(2, 1, 12, 11)) == 1
    # None overlaps: the nearest of the same size.
    assert choose_face([Box(30, 0, 40, 10), Box(25, 0, 65, 40)], Box(15, 0, 25, 10)) == 0


def test_overlap_is_symmetric_and_bounded() -> None:
    one, other = Box(0, 0, 10, 10), Box(5, 0, 15, 10)
    assert overlap(one, other) == overlap(other, one) == pytest.approx(1 / 3)
    assert overlap(one, one) == 1
    assert overlap(one, Box(10, 0, 20, 10)) == 0


def test_only_face_blanks_the_others_and_not_the_original() -> None:
    picture = np.full((100, 200, 3), 9, np.uint8)
    left, right = Box(10, 10, 50, 50), Box(120, 10, 180, 70)
    masked = only_face(picture, [left, right], keep=0)
    assert (masked[10:50, 10:50] == 9).all()
    assert (masked[10:70, 120:180] == 0).all()
    assert (picture == 9).all()


# What is missing


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        ("libGL.so.1: cannot open shared object file", ("libgl1", "mesa-libGL")),
        ("libEGL.so.1: cannot open shared object file", ("libegl1", "mesa-libEGL")),
        ("libgthread-2.0.so.0: cannot open shared object file", ("libglib2.0-0", "glib2")),
    ],
)
def test_a_missing_system_library_names_its_packages(text: str, packages: tuple[str, str]) -> None:
    message = explain_import_error(ImportError(text))
    assert f"apt-get install {packages[0]}" in message
    assert f"dnf install {packages[1]}" in message


def test_an_unknown_library_and_a_missing_package_are_named() -> None:
    assert "libfoo.so.3" in explain_import_error(
        ImportError("libfoo.so.3: cannot open shared object file: No such file")
    )
    missing = ModuleNotFoundError("No module named 'mediapipe'", name="mediapipe")
    assert "'mediapipe'" in explain_import_error(missing)


def test_the_model_file_of_newer_mediapipe_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUPPET_HOME", str(tmp_path))
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)
    assert data_dir() == tmp_path
    assert model_path() == tmp_path / "models" / "face_landmarker.task"
    with pytest.raises(TrackerError, match="download https://") as raised:
        read_model()
    assert str(model_path()) in str(raised.value)
    page = tmp_path / "page.task"
    page.write_text("<html>not found</html>")
    monkeypatch.setenv(MODEL_VARIABLE, str(page))
    with pytest.raises(TrackerError, match="error page"):
        read_model()
    # The archive that Google serves begins with two bytes of padding.
    archive = io.BytesIO(b"\0\0")
    with zipfile.ZipFile(archive, "a") as content:
        content.writestr("face_landmarks_detector.tflite", b"TFL3")
    page.write_bytes(archive.getvalue())
    assert read_model()[:4] == b"\0\0PK"


# The real model file of newer MediaPipe, if somebody brought it


@pytest.fixture
def tasks_tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracker]:
    """The tracker of Python 3.13, with whichever MediaPipe is here."""
    if not model_path().is_file():
        pytest.skip(f"no {MODEL_NAME} here; set {MODEL_VARIABLE} to one")
    monkeypatch.setattr("puppet.track.has_bundled_models", lambda: False)
    opened = open_tracker()
    assert opened.name == TasksMesh.name
    yield opened
    opened.close()


def test_the_newer_tracker_finds_the_same_face(tasks_tracker: Tracker) -> None:
    seen = tasks_tracker.track(Frame(astronaut(), 0, 0)).landmarks
    assert seen is not None
    points = seen.points
    assert np.hypot(*(points[1][:2] - (226, 124))) < 12
    assert points[468][0] < points[473][0]
    assert points[1][2] < points[234][2]
    if has_bundled_models():
        with closing(open_mesh(still=True, max_faces=1, confidence=0.5)) as older:
            (other,) = older.find(astronaut(), 0)
        away = np.linalg.norm(points[:, :2] - other.points[:, :2], axis=1)
        assert away.mean() < 0.03 * face_box(seen).size


def test_the_newer_tracker_follows_one_of_two_faces(tasks_tracker: Tracker) -> None:
    alone, both = scene(SMALL), scene(BIG, SMALL)
    assert centre_x(tasks_tracker, scene(), 0) is None
    assert any(near(centre_x(tasks_tracker, alone, 33 + i * 33), SMALL) for i in range(4))
    assert all(near(centre_x(tasks_tracker, both, 200 + i * 33), SMALL) for i in range(4))
    assert near(centre_x(tasks_tracker, both, 200), SMALL), "a time stamp may repeat"


def test_landmarks_survive_the_wire_form() -> None:
    pytest.importorskip("mediapipe.framework", reason="the tracker of Python 3.10 to 3.12")
    from mediapipe.framework.formats import landmark_pb2

    from puppet.track.solutions import landmarks_from_message

    values = np.random.default_rng(3).random((478, 3)).astype(np.float32)
    message = landmark_pb2.NormalizedLandmarkList()
    for x, y, z in values:
        message.landmark.add(x=x, y=y, z=z)
    fast = landmarks_from_message(message, 640, 360)
    message.landmark[0].visibility = 1.0  # another wire form: read the slow way
    slow = landmarks_from_message(message, 640, 360)
    expected = values * np.array([640, 360, 640], np.float32)
    assert isinstance(fast, Landmarks)
    np.testing.assert_array_equal(fast.points, expected)
    np.testing.assert_array_equal(slow.points, expected)
    del message.landmark[477]
    with pytest.raises(TrackerError, match="477"):
        landmarks_from_message(message, 640, 360)
