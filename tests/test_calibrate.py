"""The clip cache: what it keeps, what it leaves out and why, and that it goes on where it was."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from calibrate import cache
from calibrate.cache import (
    Job,
    LeftOut,
    Limits,
    cache_clip,
    even_rate,
    fill_cache,
    find_jobs,
    refuse_cuts,
    refuse_two_people,
)
from calibrate.data import open_cache
from puppet.contract import Frame, UserError

SIDE = 256


def astronaut(shift: int = 0, side: int = SIDE) -> np.ndarray:
    from skimage import data

    rgb = data.astronaut()[0:300, 80 + shift : 380 + shift]
    return np.asarray(cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def write_video(path: Path, frames: list[np.ndarray], ticks: list[int] | None = None) -> None:
    """`ticks`: presentation times in 1/1000 s; 25 a second when left out."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = frames[0].shape[1], frames[0].shape[0]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        if ticks:
            from fractions import Fraction

            stream.codec_context.time_base = Fraction(1, 1000)
        for i, rgb in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            picture.pts = ticks[i] if ticks else i
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips and pictures, good and bad."""
    folder = tmp_path_factory.mktemp("corpus")
    write_video(folder / "good.mp4", [astronaut(i % 4) for i in range(12)])
    wall = np.full((SIDE, SIDE, 3), 120, np.uint8)
    write_video(folder / "wall.mp4", [wall] * 6)
    (folder / "broken.mp4").write_bytes(b"not a video")
    (folder / "more").mkdir()
    cv2.imwrite(str(folder / "more" / "still.png"), astronaut()[..., ::-1])
    (folder / "notes.txt").write_text("not a clip")
    return folder


needs_segmentation = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="MediaPipe for this Python has no person segmentation"
)


@pytest.fixture(scope="module")
def filled(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "cache"
    cache.main(["--corpus", str(corpus), "--out", str(out), "--processes", "1", "--quiet"])
    return out


@needs_segmentation
def test_good_clips_are_cached(filled: Path) -> None:
    clips = {clip.name: clip for clip in open_cache(filled)}
    assert set(clips) == {"good", "more__still"}
    good = clips["good"]
    assert good.frames.shape == (12, SIDE, SIDE, 3)
    assert good.mattes.shape == (12, 192, 192)
    assert good.mattes.dtype == np.uint8
    assert len(good.usable) >= 11
    assert len({clip.person for clip in clips.values()}) == 2
    nose = good.landmarks[good.usable, 1, :2]
    assert ((nose > 0.3 * SIDE) & (nose < 0.7 * SIDE)).all()
    # The matte is of the person: more in the middle than in the upper corners.
    assert good.mattes[0, 96, 96] > 200 > good.mattes[0, 5, 185]
    meta = json.loads((filled / "good" / "meta.json").read_text())
    assert meta["fps"] == 25
    assert meta["source"] == "good.mp4"


@needs_segmentation
def test_what_is_left_out_is_counted_with_its_reason(filled: Path) -> None:
    told = json.loads((filled / "cache.json").read_text())
    assert told["counts"] == {"made": 2, "left out": 2, "there": 0}
    assert "cannot be read" in told["left_out"]["broken"]
    assert "face in 0 of 6" in told["left_out"]["wall"]
    assert "left out: cannot be read" in (filled / "cache.log").read_text()
    assert not list(filled.glob("*.part"))


@needs_segmentation
def test_goes_on_where_it_was(corpus: Path, filled: Path) -> None:
    before = (filled / "good" / "frames.npy").stat().st_mtime_ns
    # A kill in the middle of a clip leaves a folder beside, which counts for nothing.
    (filled / "more__still").rename(filled / "more__still.part")
    (filled / "more__still.part" / "frames.npy").write_bytes(b"half")
    counts = fill_cache(find_jobs(corpus, filled, None), filled, processes=2, quiet=True)
    assert counts == {"there": 1, "made": 1, "left out": 2}
    assert (filled / "good" / "frames.npy").stat().st_mtime_ns == before
    assert {clip.name for clip in open_cache(filled)} == {"good", "more__still"}


def test_a_cut_is_left_out() -> None:
    first = [astronaut(i) for i in range(5)]
    second = [np.ascontiguousarray(255 - f[::-1]) for f in first]
    refuse_cuts(first)
    with pytest.raises(LeftOut, match="cut after frame 4"):
        refuse_cuts(first + second)


def test_fast_motion_is_no_cut() -> None:
    refuse_cuts([astronaut(10 * i) for i in range(8)])


def test_two_people_are_left_out() -> None:
    two = np.concatenate((astronaut(), astronaut()[:, ::-1]), 1)
    with pytest.raises(LeftOut, match="two people"):
        refuse_two_people([two] * 3)
    refuse_two_people([astronaut()] * 3)


def test_variable_frame_rate_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "uneven.mkv"
    ticks = list(np.cumsum([40, 40, 120] * 4))
    write_video(path, [astronaut(i % 3) for i in range(12)], [int(t) for t in ticks])
    with pytest.raises(LeftOut, match="variable frame rate"):
        cache_clip(Job(path, tmp_path / "out", "p"), Limits())
    assert not (tmp_path / "out").exists()


def test_pictures_that_change_their_size_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changing:
        def __init__(self) -> None:
            self.sides = [64, 64, 80]

        def read(self, timeout: float) -> Frame | None:
            side = self.sides.pop(0) if self.sides else 0
            rgb = np.zeros((side, side, 3), np.uint8)
            return Frame(rgb, (4 - len(self.sides)) * 40_000_000, 0) if side else None

        def close(self) -> None:
            pass

    monkeypatch.setattr("puppet.capture.open_source", lambda *_, **__: Changing())
    with pytest.raises(LeftOut, match="change their size at frame 2"):
        cache_clip(Job(tmp_path / "x.mp4", tmp_path / "x", "x"), Limits())


def test_even_rate_forgives_rounding_and_one_lost_frame() -> None:
    steps = np.array([33, 33, 34] * 20) * 1_000_000
    steps[7] *= 2
    assert even_rate(np.cumsum(steps)) == pytest.approx(30, abs=0.5)
    with pytest.raises(LeftOut, match="do not advance"):
        even_rate(np.zeros(5, np.int64))


@needs_segmentation
def test_long_and_large_clips_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    write_video(path, [astronaut(i % 3, side=320) for i in range(8)])
    cache_clip(Job(path, tmp_path / "out" / "large", "p"), Limits(side=192, frames=5))
    assert open_cache(tmp_path / "out")[0].frames.shape == (5, 192, 192, 3)


def test_a_manifest_names_splits_and_people(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.mp4").write_bytes(b"")
    rows = ["split,id,person_id,repository,file,licence", "train,a,p1,o/r,x/a.mp4,MIT"]
    rows.append("val,b,p2,o/r,b.mp4,MIT")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    out = tmp_path / "cache"
    jobs = find_jobs(tmp_path, out, "train")
    assert jobs == [Job(tmp_path / "train" / "a.mp4", out / "a", "p1", "o/r/x/a.mp4", "MIT")]
    assert [job.folder for job in find_jobs(tmp_path, out, None)] == [
        out / "train" / "a",
        out / "val" / "b",
    ]
    # Listed, but the file is missing: left out with a reason, not a crash.
    counts = fill_cache(find_jobs(tmp_path, out, "val"), out, processes=1, quiet=True)
    assert counts["left out"] == 1


def test_a_manifest_cannot_write_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("split,id,person_id\ntrain,../../x,p\n")
    with pytest.raises(UserError, match="plain file name"):
        find_jobs(tmp_path, tmp_path / "cache", None)


def test_an_empty_or_missing_corpus_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no clips"):
        find_jobs(tmp_path, tmp_path / "cache", None)
    with pytest.raises(SystemExit, match="There is no folder"):
        cache.main(["--corpus", str(tmp_path / "none"), "--out", str(tmp_path / "c"), "--quiet"])
    with pytest.raises(FileNotFoundError, match=r"calibrate\.cache"):
        open_cache(tmp_path)
