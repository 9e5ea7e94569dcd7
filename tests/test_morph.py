"""Faces between two people: the same expression, one mouth, one's own eyes, all pictures alike."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate.cuts import SIZE, Clip, Cut, cut
from calibrate.data import PairDataset
from calibrate.likeness import likeness
from calibrate.morph import cut_onto, morph
from calibrate.mouths import close_lips
from puppet.landmarks import LIP_PAIRS, LIPS_INNER, LIPS_OUTER, mean_face

EYE, CHEEK = 468, 205
OPENINGS = (0.0, 0.06, 0.12, 0.2, 0.3)


def landmarks(opening: float, *, long: float = 1.0, size: float = 100.0) -> np.ndarray:
    """(478, 3) pixels: the mean face with closed lips, `long` times as high, the lower lip down."""
    points = close_lips(mean_face())
    for ring in (LIPS_OUTER, LIPS_INNER):
        below = list(ring[1 : len(ring) // 2])
        points[below, 1] += opening
    points[:, 1] *= long
    return (points * size + SIZE / 2).astype(np.float32)


def clip_of(person: str, colour: int, faces: list[np.ndarray]) -> Clip:
    """A person of one colour throughout."""
    shape = (len(faces), SIZE, SIZE)
    return Clip(
        person, person, np.full((*shape, 3), colour, np.uint8), np.full(shape, 255, np.uint8),
        np.stack(faces), np.arange(len(faces)),
    )  # fmt: skip


def noisy(person: str, seed: int, faces: list[np.ndarray]) -> Clip:
    clip = clip_of(person, 0, faces)
    random = np.random.default_rng(seed).integers(60, 200, clip.frames.shape)
    clip.frames[:] = random
    return clip


def place(points: np.ndarray, index: int) -> tuple[int, int]:
    x, y = (points[index, :2] + 1) * (SIZE / 2)
    return int(y), int(x)


STRAIGHT = np.eye(2, 3, dtype=np.float32)


def test_the_same_expression_is_found_in_another_face() -> None:
    one = likeness(clip_of("one", 100, [landmarks(x) for x in OPENINGS]))
    other = likeness(clip_of("other", 100, [landmarks(x, long=1.1) for x in OPENINGS[::-1]]))
    found = [other.nearest(one.of(i)) for i in range(len(OPENINGS))]
    assert found == [4, 3, 2, 1, 0]


def test_nobody_is_found_who_never_opens_the_mouth() -> None:
    one = likeness(clip_of("one", 100, [landmarks(x) for x in OPENINGS]))
    shut = likeness(clip_of("shut", 100, [landmarks(0.0), landmarks(0.01)]))
    assert shut.nearest(one.of(0)) == 0
    assert shut.nearest(one.of(4)) is None


def test_only_usable_frames_are_found() -> None:
    clip = clip_of("one", 100, [landmarks(x) for x in OPENINGS])
    some = Clip(clip.name, clip.person, clip.frames, clip.mattes, clip.landmarks, np.array((1, 3)))
    like = likeness(some)
    assert {like.nearest(like.of(i)) for i in (1, 3)} == {1, 3}


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_other_face_is_cut_onto_this_one(mirrored: bool) -> None:
    small = clip_of("small", 100, [landmarks(0.1, size=50.0) + np.float32((20, -10, 0))])
    face = cut(clip_of("large", 100, [landmarks(0.1)]), 0, STRAIGHT, mirrored)
    other = cut_onto(small, 0, face, mirrored)
    assert np.abs(other.points[:468, :2] - face.points[:468, :2]).max() < 0.02


@pytest.mark.parametrize("seed", range(6))
def test_mouth_of_one_eyes_of_ones_own_and_the_same_in_all(seed: int) -> None:
    clip = noisy("one", 1, [landmarks(0.2), landmarks(0.2)])
    clip.frames[1] = clip.frames[0]
    donor = noisy("other", 2, [landmarks(0.2)])
    faces = [cut(clip, i, STRAIGHT, False) for i in (0, 1)]
    others = [cut_onto(donor, 0, face, False) for face in faces]
    (first, second), _ = morph(faces, others, np.random.default_rng(seed))
    assert np.array_equal(first.rgb, second.rgb)
    assert first.points is faces[0].points

    def share(index: int) -> float:
        """Of the other in a small square around a landmark."""
        y, x = place(first.points, index)
        around = (slice(y - 4, y + 5), slice(x - 4, x + 5))
        a, b, seen = (
            each[around].astype(float).ravel() for each in (faces[0].rgb, others[0].rgb, first.rgb)
        )
        a, b, seen = a - a.mean(), b - b.mean(), seen - seen.mean()
        return float(np.linalg.lstsq(np.stack((a, b), 1), seen, rcond=None)[0][1])

    assert share(EYE) == pytest.approx(0, abs=0.05)
    assert 0.3 < share(CHEEK) < 1.1
    mouth = share(LIP_PAIRS[4][0])
    assert min(abs(mouth), abs(mouth - 1)) < 0.15
    assert np.array_equal(first.rgb[:20], faces[0].rgb[:20])


def test_the_others_light_becomes_ones_own() -> None:
    face = cut(clip_of("bright", 200, [landmarks(0.1)]), 0, STRAIGHT, False)
    other = cut(clip_of("dark", 80, [landmarks(0.1)]), 0, STRAIGHT, False)
    (seen,), _ = morph([face], [other], np.random.default_rng(0))
    assert np.abs(seen.rgb.astype(int) - 200).max() <= 1


def test_samples_are_between_people_and_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    people = [
        noisy(name, seed, [landmarks(x) for x in OPENINGS]) for seed, name in enumerate("abc")
    ]
    made = []

    def watched(
        faces: list[Cut], others: list[Cut], rng: np.random.Generator
    ) -> tuple[list[Cut], bool]:
        made.append((faces, others))
        return morph(faces, others, rng)

    monkeypatch.setattr("calibrate.data.morph", watched)
    varied = PairDataset(people, [], length=12, seed=1, stills_share=0)
    first = [varied[i] for i in range(12)]
    assert 3 <= len(made) <= 11  # a share of them
    for faces, others in made:
        assert len(faces) == len(others) == 2
        assert not any(np.array_equal(a.rgb, b.rgb) for a, b in zip(faces, others, strict=True))
    for i, before in enumerate(first):
        assert all(np.array_equal(before[key], value) for key, value in varied[i].items())
    made.clear()
    fitted = PairDataset(people, [], length=12, seed=1, stills_share=0, varied=False)
    for i in range(12):
        fitted[i]
    assert not made


def test_a_person_alone_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calibrate.data.morph", lambda *_: pytest.fail("with whom?"))
    alone = PairDataset(
        [noisy("a", 0, [landmarks(x) for x in OPENINGS])], [], length=12, seed=1, stills_share=0
    )
    for i in range(12):
        alone[i]


def test_a_still_with_open_lips_gets_a_portrait_with_closed_ones() -> None:
    still = clip_of("smiling", 100, [landmarks(0.2)])
    people = [clip_of("speaking", 100, [landmarks(x) for x in OPENINGS])]
    drawn = PairDataset(people, [still], length=40, seed=1, stills_share=1.0)
    openings = []
    for i in range(40):
        (portrait, target), _ = drawn._still(np.random.default_rng(i))
        openings.append([_opening(each.points) for each in (portrait, target)])
    portraits, targets = np.array(openings).T
    assert targets.min() > 0.1  # what is painted is always the real picture
    assert 5 <= (portraits < 1e-3).sum() <= 30


def test_without_anybody_filmed_a_still_is_moved_all_the_same() -> None:
    still = clip_of("smiling", 100, [landmarks(0.2)])
    drawn = PairDataset([], [still], length=4, seed=1, stills_share=1.0)
    for i in range(4):
        assert drawn[i]["portrait"].shape == (SIZE, SIZE, 3)


def test_closed_lips_meet_half_way() -> None:
    closed = close_lips(landmarks(0.2))
    assert _opening(closed) == pytest.approx(0, abs=1e-6)
    lower, upper = LIP_PAIRS[4]
    assert np.allclose(closed[upper], landmarks(0.2)[[lower, upper]].mean(0))


def _opening(points: np.ndarray) -> float:
    """Of the eyes' distance."""
    unit = np.linalg.norm(points[33] - points[263])
    return float(max(np.linalg.norm(points[a] - points[b]) for a, b in LIP_PAIRS) / unit)
