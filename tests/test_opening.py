"""Stills with closed lips open them: as somebody did, with that mouth's inside, in own light."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate.cuts import SIZE, Cut, cut
from calibrate.data import PairDataset
from calibrate.morph import cut_onto
from calibrate.mouths import mouth_shares
from calibrate.opening import open_lips, transplant
from calibrate.people import People
from puppet.landmarks import LIP_PAIRS, LIPS_INNER
from tests.test_morph import OPENINGS, STRAIGHT, clip_of, landmarks, noisy, place

LOWER, UPPER = LIP_PAIRS[4]
BROW, NOSE_BRIDGE, CHIN = 105, 6, 152


def face_of(person: str, colour: int, opening: float) -> Cut:
    return cut(clip_of(person, colour, [landmarks(opening)]), 0, STRAIGHT, False)


def gap(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[LOWER] - points[UPPER]))


def test_the_inside_is_the_donors_and_all_else_ones_own() -> None:
    face = cut(noisy("one", 1, [landmarks(0.25)]), 0, STRAIGHT, False)
    donor = cut_onto(noisy("other", 2, [landmarks(0.25)]), 0, face, False)
    seen = transplant(face, donor).rgb.astype(int)
    inside = mouth_shares(face.points)[1]
    there = inside > 0.99
    assert there.sum() > 100
    assert np.array_equal(seen[inside < 0.4], face.rgb[inside < 0.4])
    assert np.corrcoef(seen[there].ravel(), donor.rgb[there].ravel())[0, 1] > 0.9
    assert abs(np.corrcoef(seen[there].ravel(), face.rgb[there].ravel())[0, 1]) < 0.3


def test_teeth_stand_in_the_light_of_the_face_they_are_put_into() -> None:
    face, donor = face_of("dim", 60, 0.25), face_of("bright", 120, 0.25)
    y, x = place(face.points, LOWER)
    seen = transplant(face, donor).rgb[y - 8, x].astype(float)
    assert seen == pytest.approx(120 * (61 / 121) ** 0.5, abs=2)  # darker, and not as dark as skin


def test_a_tint_is_taken_on_whole() -> None:
    face, donor = face_of("orange", 100, 0.25), face_of("grey", 100, 0.25)
    face.rgb[..., 2] = 60
    y, x = place(face.points, LOWER)
    red, _, blue = transplant(face, donor).rgb[y - 8, x].astype(float)
    assert blue / red == pytest.approx(60 / 100, abs=0.03)


def test_lips_and_jaw_move_and_the_upper_face_stays() -> None:
    face = cut(noisy("one", 1, [landmarks(0.0)]), 0, STRAIGHT, False)
    change = np.zeros_like(face.points)
    change[:, 1] = 0.1  # everything down, of which the upper face takes no notice
    change[list(LIPS_INNER[1:10]), 1] = 0.25
    opened = open_lips(face, change)
    eyes = float(np.linalg.norm(face.points[33, :2] - face.points[263, :2]))
    assert gap(opened.points) == pytest.approx(0.15 * eyes, rel=0.05)
    moved = (opened.points - face.points)[:, 1] / eyes
    assert moved[[BROW, NOSE_BRIDGE]] == pytest.approx(0, abs=1e-6)
    assert moved[CHIN] == pytest.approx(0.1, rel=0.05)
    y, x = place(face.points, NOSE_BRIDGE)
    around = (slice(y - 8, y + 9), slice(x - 8, x + 9))
    shifted = np.abs(opened.rgb[around].astype(int) - face.rgb[around])
    assert shifted.mean() < 5  # of noise: the motion is smooth, and fades up there
    y, x = place(face.points, LOWER)
    below = (slice(y + 2, y + 19), slice(x - 8, x + 9))
    assert np.abs(opened.rgb[below].astype(int) - face.rgb[below]).mean() > 20


def test_it_is_opened_as_somebody_did_who_shows_the_inside() -> None:
    people = People([clip_of("filmed", 100, [landmarks(x) for x in OPENINGS])], [])
    for seed in range(10):
        found = people.opening(np.random.default_rng(seed))
        assert found is not None
        change, clip, frame = found
        opened = float((change[LOWER] - change[UPPER])[1])
        assert clip.person == "filmed"
        assert OPENINGS[frame] > 0.06
        assert opened == pytest.approx(OPENINGS[frame], rel=0.25)


def test_nobody_opens_who_was_never_seen_to() -> None:
    always_shut = clip_of("shut", 100, [landmarks(0.0), landmarks(0.01)])
    always_open = clip_of("open", 100, [landmarks(0.2), landmarks(0.3)])
    people = People([always_shut, always_open], [])
    assert people.opening(np.random.default_rng(0)) is None


def test_stills_with_closed_lips_open_them_now_and_then() -> None:
    still = clip_of("still", 100, [landmarks(0.0)])
    people = [noisy("speaking", 1, [landmarks(x) for x in OPENINGS])]
    drawn = PairDataset(people, [still], length=40, seed=1, stills_share=1.0)
    opened = 0
    for i in range(40):
        (portrait, target), _ = drawn._still(np.random.default_rng(i))
        assert target.rgb.shape == (SIZE, SIZE, 3)
        inside = mouth_shares(target.points)[1] > 0.99
        if gap(portrait.points) < 1e-3 and gap(target.points) > 0.02:
            opened += 1
            assert target.rgb[inside].std() > 10  # the one who speaks is speckled, the still is not
    assert 10 <= opened <= 35


def test_a_mirrored_still_opens_the_other_way_round(monkeypatch: pytest.MonkeyPatch) -> None:
    crooked = landmarks(0.2)
    crooked[list(LIPS_INNER[1:5]), 1] += 12  # one half of the mouth opens more
    people = [clip_of("crooked", 100, [landmarks(0.0), crooked])]
    still = clip_of("still", 100, [landmarks(0.0)])
    drawn = PairDataset(people, [still], length=1, seed=1, stills_share=1.0)
    pairs: list[tuple[Cut, Cut]] = []

    def watched(face: Cut, donor: Cut) -> Cut:
        pairs.append((face, donor))
        return transplant(face, donor)

    monkeypatch.setattr("calibrate.data.transplant", watched)
    for i in range(12):
        drawn._opened(np.random.default_rng(i))
    halves = {
        tuple(
            float(np.linalg.norm(np.subtract(*each.points[list(LIP_PAIRS[2])])))
            > float(np.linalg.norm(np.subtract(*each.points[list(LIP_PAIRS[6])])))
            for each in pair
        )
        for pair in pairs
    }
    assert halves == {(True, True), (False, False)}  # each way round, and the donor always alike
