"""Landmark traces: what goes in comes out, and no file can do harm."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puppet.capture import open_source
from puppet.capture import trace as trace_module
from puppet.capture.trace import TraceSource, TraceWriter, trace_recording
from puppet.contract import Landmarks, Observation, SourceError, UserError

STEP = 33_366_667


def observation(i: int, *, face: bool = True) -> Observation:
    points = np.random.default_rng(i).uniform(0, 480, (478, 3)).astype(np.float32)
    teeth = None if i == 3 else (0.25 + i / 8, 0.125)  # what float32 holds exactly
    landmarks = Landmarks(points, 640, 480, teeth) if face else None
    return Observation(landmarks, 5_000 + i * STEP, i)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "driver.npz"
    with TraceWriter(path) as writer:
        for i in range(5):
            writer.append(observation(i, face=i != 2))
    return path


def test_round_trip_offline(trace: Path) -> None:
    source = open_source(str(trace), realtime=False)
    assert isinstance(source, TraceSource)
    assert (source.size, source.length) == ((640, 480), 5)
    assert source.fps_nominal == pytest.approx(29.97, abs=0.01)
    played = [source.read(1.0) for _ in range(5)]
    assert source.read(1.0) is None
    start = played[0].captured_at_ns
    for i, (got, want) in enumerate(zip(played, map(observation, range(5)), strict=True)):
        assert got.captured_at_ns - start == i * STEP
        assert got.index == i
        if i == 2:
            assert got.landmarks is None
        else:
            np.testing.assert_array_equal(got.landmarks.points, want.landmarks.points)
            assert (got.landmarks.width, got.landmarks.height) == (640, 480)
            assert got.landmarks.teeth == want.landmarks.teeth


def test_what_is_handed_out_is_a_copy(trace: Path) -> None:
    source = TraceSource(trace, loop=True, realtime=False)
    first = source.read(1.0)
    kept = first.landmarks.points.copy()
    first.landmarks.points[:] = 0
    for _ in range(4):
        source.read(1.0)
    np.testing.assert_array_equal(source.read(1.0).landmarks.points, kept)


def test_loop_goes_on_in_time(trace: Path) -> None:
    source = TraceSource(trace, loop=True, realtime=False)
    assert source.length is None
    times = [source.read(1.0).captured_at_ns for _ in range(12)]
    assert set(np.diff(times)) == {STEP}


def test_interrupted_recording_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"

    def record() -> None:
        with TraceWriter(path) as writer:
            writer.append(observation(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record()
    assert trace_recording(path).length == 1
    assert os.listdir(tmp_path) == ["cut.npz"]  # nothing left beside it


def test_failed_write_keeps_the_old_file(trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = trace.read_bytes()

    def full_disk(stream: io.BufferedWriter, **arrays: object) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    writer = TraceWriter(trace)
    writer.append(observation(0))
    with pytest.raises(UserError, match="No space left"):
        writer.close()
    assert trace.read_bytes() == before
    assert os.listdir(trace.parent) == [trace.name]


def test_writer_refuses_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = TraceWriter(tmp_path / "t.npz")
    writer.append(observation(1))
    with pytest.raises(ValueError, match="order of time"):
        writer.append(observation(1))
    other = Observation(Landmarks(np.zeros((478, 3), np.float32), 320, 240), 10**9, 2)
    with pytest.raises(ValueError, match="size changed"):
        writer.append(other)
    monkeypatch.setattr(trace_module, "MAX_ITEMS", 1)
    with pytest.raises(UserError, match="start a new one"):
        writer.append(observation(2))
    missing = TraceWriter(tmp_path / "nowhere" / "t.npz")
    missing.append(observation(0))
    with pytest.raises(UserError, match="choose a folder that exists"):
        missing.close()


def sound() -> dict[str, np.ndarray]:
    return {
        "version": np.int64(1),
        "points": np.ones((3, 478, 3), np.float32),
        "times_ns": np.arange(3, dtype=np.int64) * STEP,
        "width": np.int64(640),
        "height": np.int64(480),
    }


HOSTILE = {
    "version": {"version": np.int64(2)},
    "points of another type": {"points": np.ones((3, 478, 3), np.float64)},
    "points of another shape": {"points": np.ones((3, 468, 3), np.float32)},
    "too few points": {"points": np.ones((2, 478, 3), np.float32)},
    "no points": {
        "points": np.ones((0, 478, 3), np.float32),
        "times_ns": np.zeros(0, np.int64),
    },
    "infinite": {"points": np.full((3, 478, 3), np.inf, np.float32)},
    "half missing": {
        "points": np.where(np.arange(3) == 0, np.nan, np.ones((3, 478, 3))).astype(np.float32)
    },
    "times stand still": {"times_ns": np.zeros(3, np.int64)},
    "times overflow": {"times_ns": np.array([-(2**63), 0, 2**63 - 1], np.int64)},
    "times of another shape": {"times_ns": np.zeros((3, 1), np.int64)},
    "no width": {"width": np.int64(0)},
    "huge": {"height": np.int64(2**40)},
    "size is a list": {"width": np.ones(3, np.int64)},
    "pickle": {"points": np.array([{"a": 1}], dtype=object)},
    "teeth of another type": {"teeth": np.zeros((3, 2))},
    "teeth of another shape": {"teeth": np.zeros((3, 3), np.float32)},
    "teeth lighter than light": {"teeth": np.full((3, 2), np.inf, np.float32)},
    "other order": {"points": np.asfortranarray(np.ones((3, 478, 3), np.float32))},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_unsound_contents_are_refused(tmp_path: Path, change: dict[str, np.ndarray]) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **{**sound(), **change})
    with pytest.raises(SourceError, match=r"bad\.npz is not a landmark trace"):
        trace_recording(path)


def test_the_sound_one_is_accepted(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", **sound())
    assert trace_recording(tmp_path / "good.npz").length == 3


def test_an_earlier_trace_without_teeth_plays(tmp_path: Path) -> None:
    np.savez(tmp_path / "earlier.npz", **sound())
    source = TraceSource(tmp_path / "earlier.npz", realtime=False)
    first = source.read(1.0)
    assert first is not None
    assert first.landmarks is not None
    assert first.landmarks.teeth is None


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(mark),)

    path = tmp_path / "evil.npz"
    np.savez(path, **{**sound(), "points": np.array([Payload()], dtype=object)})
    with pytest.raises(SourceError):
        trace_recording(path)
    (tmp_path / "raw.npz").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(SourceError):
        trace_recording(tmp_path / "raw.npz")
    assert not mark.exists()


def test_a_header_that_claims_too_much(tmp_path: Path) -> None:
    path = tmp_path / "claims.npz"
    np.savez(path, **sound())
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    members["points.npy"] = members["points.npy"].replace(b"(3, 478, 3)", b"(9, 478, 3)")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(SourceError, match="is not a landmark trace"):
        trace_recording(path)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_module, "MAX_ITEMS", 2)  # the limit, not the machine, is on trial
    np.savez_compressed(tmp_path / "bomb.npz", **sound())
    with pytest.raises(SourceError, match="larger than 2 pictures need"):
        trace_recording(tmp_path / "bomb.npz")


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no landmark trace .*check the path"):
        open_source(str(tmp_path / "none.npz"))
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(SourceError, match="an array is missing"):
        open_source(str(tmp_path / "other.npz"))
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(SourceError, match="is not a landmark trace"):
        open_source(str(tmp_path / "folder.npz"))


@given(st.data())
def test_damaged_bytes_never_do_worse_than_source_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    stream = io.BytesIO()
    np.savez_compressed(stream, **sound())
    raw = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    path = folder / "damaged.npz"
    path.write_bytes(raw)
    try:
        recording = trace_recording(path)
    except SourceError:
        return
    for cue in recording.cues():
        assert isinstance(cue.load(0, 0), Observation)
