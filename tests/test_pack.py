"""A corpus that travels packed is the corpus that training would have seen."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from calibrate.data import open_cache
from calibrate.pack import STEPS_PER_PIXEL, pack, quantised, restored, unpack
from tests.faces import face

FRAMES = 6


def make_corpus(folder: Path) -> tuple[Path, Path]:
    """A clip and a still, and the cache as `calibrate.cache` lays it out."""
    rng = np.random.default_rng(3)
    pictures = np.stack(
        [cv2.resize(rng.integers(0, 255, (6, 6, 3)).astype(np.uint8), (96, 96))] * FRAMES
    )
    corpus, cache = folder / "corpus", folder / "cache"
    (corpus / "train").mkdir(parents=True)
    with av.open(str(corpus / "train" / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    (corpus / "portraits").mkdir()
    large = cv2.resize(pictures[0], (192, 192), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(corpus / "portraits" / "still.png"), large[..., ::-1])  # the cache shrank it
    landmarks = np.stack([face(turn=(0, 0.05 * i, 0)).points for i in range(FRAMES)])
    landmarks[2] = np.nan
    for split, name, count in (("train", "clip", FRAMES), ("portraits", "still", 1)):
        here = cache / split / name
        here.mkdir(parents=True)
        np.save(here / "frames.npy", pictures[:count])
        np.save(here / "landmarks.npy", landmarks[:count])
        np.save(here / "mattes.npy", np.full((count, 192, 192), 200, np.uint8))
        (here / "meta.json").write_text(json.dumps({"person": "p1"}))
    return corpus, cache


def test_what_is_unpacked_is_what_was_packed(tmp_path: Path) -> None:
    corpus, cache = make_corpus(tmp_path)
    assert pack(corpus, cache, tmp_path / "packed") == 2
    assert unpack(tmp_path / "packed", tmp_path / "again") == 2
    assert unpack(tmp_path / "packed", tmp_path / "again") == 0, "what is there is kept"
    (before,), (after,) = open_cache(cache / "train"), open_cache(tmp_path / "again" / "train")
    assert after.person == before.person
    assert np.array_equal(after.usable, before.usable)
    error = np.abs(after.landmarks[after.usable] - before.landmarks[before.usable]).max()
    assert error <= 0.5 / STEPS_PER_PIXEL + 1e-4
    assert np.abs(after.frames.astype(int) - before.frames).mean() < 4, "H.264 and back"
    assert set(np.unique(after.mattes)) == {200}
    (before,) = open_cache(cache / "portraits")
    (after,) = open_cache(tmp_path / "again" / "portraits")
    assert np.array_equal(after.frames, before.frames)
    (still,) = open_cache(tmp_path / "again" / "portraits")
    assert np.array_equal(still.frames, np.load(cache / "portraits" / "still" / "frames.npy"))


def test_of_every_other_frame_the_rest_comes_back_without_a_face(tmp_path: Path) -> None:
    corpus, cache = make_corpus(tmp_path)
    pack(corpus, cache, tmp_path / "packed", every=2)
    unpack(tmp_path / "packed", tmp_path / "again", processes=1)
    (before,), (after,) = open_cache(cache / "train"), open_cache(tmp_path / "again" / "train")
    assert after.usable.tolist() == [0, 4], "the third frame shows no face"
    assert len(after.frames) == FRAMES
    error = np.abs(after.landmarks[[0, 4]] - before.landmarks[[0, 4]]).max()
    assert error <= 0.5 / STEPS_PER_PIXEL + 1e-4


def test_landmarks_far_outside_are_held_and_missing_faces_stay_missing() -> None:
    some = np.stack([face().points, face(centre=(4000, -4000)).points, face().points])
    some[2] = np.nan
    again = restored(quantised(some))
    assert np.abs(again[0] - some[0]).max() <= 0.5 / STEPS_PER_PIXEL + 1e-4
    assert np.isfinite(again[1]).all()
    assert np.isnan(again[2]).all()


def test_a_clip_that_is_not_the_one_packed_is_refused(tmp_path: Path) -> None:
    corpus, cache = make_corpus(tmp_path)
    pack(corpus, cache, tmp_path / "packed")
    clip = tmp_path / "packed" / "train" / "clip.mp4"
    clip.write_bytes(clip.read_bytes()[:900])
    with pytest.raises(ValueError, match="were packed"):
        unpack(tmp_path / "packed", tmp_path / "again")
    assert not (tmp_path / "again" / "train" / "clip").exists()
