"""Other people's teeth: inside the lips and nowhere else, in the face's own light."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate.cast import Cast
from calibrate.cuts import SIZE, Cut, cut
from calibrate.data import PairDataset
from calibrate.morph import cut_onto
from calibrate.mouths import mouth_shares
from calibrate.transplant import fits, transplant
from puppet.landmarks import LIP_PAIRS
from tests.test_morph import OPENINGS, STRAIGHT, clip_of, landmarks, noisy, place


def opened(person: str, colour: int, opening: float) -> Cut:
    return cut(clip_of(person, colour, [landmarks(opening)]), 0, STRAIGHT, False)


def test_the_inside_is_the_donors_and_all_else_ones_own() -> None:
    face = cut(noisy("one", 1, [landmarks(0.25)]), 0, STRAIGHT, False)
    donor = cut_onto(noisy("other", 2, [landmarks(0.25)]), 0, face, False)
    seen = transplant(face, donor).rgb.astype(int)
    inside = mouth_shares(face.points)[1]
    assert (inside > 0.99).sum() > 100
    assert np.array_equal(seen[inside < 0.4], face.rgb[inside < 0.4])
    there = inside > 0.99
    assert np.corrcoef(seen[there].ravel(), donor.rgb[there].ravel())[0, 1] > 0.9
    assert abs(np.corrcoef(seen[there].ravel(), face.rgb[there].ravel())[0, 1]) < 0.3


def test_teeth_stand_in_the_light_of_the_face_they_are_put_into() -> None:
    face, donor = opened("dim", 60, 0.25), opened("bright", 120, 0.25)
    centre = place(face.points, LIP_PAIRS[4][0])
    row = centre[0] - 8
    seen = transplant(face, donor).rgb[row, centre[1]].astype(float)
    assert seen == pytest.approx(120 * (61 / 121) ** 0.5, abs=2)  # darker, and not as dark as skin


def test_a_tint_is_taken_on_whole() -> None:
    face, donor = opened("orange", 100, 0.25), opened("grey", 100, 0.25)
    face.rgb[..., 2] = 60
    y, x = place(face.points, LIP_PAIRS[4][0])
    red, _, blue = transplant(face, donor).rgb[y - 8, x].astype(float)
    assert blue / red == pytest.approx(60 / 100, abs=0.03)


def test_only_where_the_portrait_shows_no_teeth() -> None:
    shut, apart = opened("one", 100, 0.0), opened("one", 100, 0.25)
    assert fits(shut, apart)
    assert not fits(apart, apart)
    assert not fits(shut, shut)


def test_a_mouth_open_as_wide_is_found_among_filmed_and_photographed_ones() -> None:
    filmed = clip_of("filmed", 100, [landmarks(x) for x in OPENINGS])
    still = clip_of("still", 100, [landmarks(0.21)])
    cast = Cast([filmed], [still])
    wanted = cast.likenesses["filmed"].mouth_of(3)
    found = [cast.teeth(wanted, np.random.default_rng(i)) for i in range(20)]
    assert {(clip.person, frame) for clip, frame in filter(None, found)} == {
        ("filmed", 3), ("still", 0),
    }  # fmt: skip
    assert cast.teeth(wanted + 5, np.random.default_rng(0)) is None


def test_samples_get_other_teeth_and_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    people = [noisy(name, i, [landmarks(x) for x in OPENINGS]) for i, name in enumerate("abc")]
    made: list[tuple[Cut, Cut]] = []

    def watched(face: Cut, donor: Cut) -> Cut:
        made.append((face, donor))
        return transplant(face, donor)

    monkeypatch.setattr("calibrate.data.transplant", watched)
    varied = PairDataset(people, [], length=40, seed=1, stills_share=0)
    first = [varied[i] for i in range(40)]
    assert 3 <= len(made) <= 30
    for face, _ in made:
        assert face.rgb.shape == (SIZE, SIZE, 3)
    for i, before in enumerate(first):
        assert all(np.array_equal(before[key], value) for key, value in varied[i].items())
    made.clear()
    fitted = PairDataset(people, [], length=40, seed=1, stills_share=0, varied=False)
    for i in range(40):
        fitted[i]
    assert not made
