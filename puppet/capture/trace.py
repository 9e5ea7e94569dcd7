"""A recorded landmark trace: a driver without a camera, and without a picture of anybody.

An .npz file (zip of plain arrays, never pickle) with
    version   int64 ()            1
    points    float32 (T, 478, 3) pixels as in `Landmarks`; a row of NaN is "no face"
    times_ns  int64 (T,)          growing; the first one counts as the start
    width, height  int64 ()       of the picture the points were found in, pixels
    teeth     float32 (T, 2)      as in `Landmarks`; a row of NaN is "not known". May be missing.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import time
import zipfile
import zlib
from collections.abc import Generator
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from puppet.capture.played import Cue, PlayedSource, Recording
from puppet.contract import N_LANDMARKS, Landmarks, Observation, SourceError, Teeth, UserError
from puppet.flow import Clock

VERSION = 1
MAX_ITEMS = 90_000
"""50 minutes at 30 fps, half a gigabyte."""
_MAX_SIDE = 16_384
_MAX_COORDINATE = 1e6
_ROW_BYTES = N_LANDMARKS * 3 * 4
_MAX_NS = 10**15  # eleven days
_LAYOUT = {"version": "<i8", "points": "<f4", "times_ns": "<i8", "width": "<i8", "height": "<i8",
           "teeth": "<f4"}  # fmt: skip
_OPTIONAL = ("teeth",)
_HEADER = re.compile(
    r"\{'descr': '(<f4|<i8)', 'fortran_order': False, 'shape': \(([0-9, ]{0,40})\), \} *\n"
)


class TraceSource(PlayedSource[Observation]):
    """Plays a trace. Raises SourceError, with what is wrong, when it is not a sound one."""

    def __init__(
        self,
        path: Path,
        *,
        loop: bool = False,
        realtime: bool = True,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        super().__init__(trace_recording(path), loop=loop, realtime=realtime, clock=clock)


class TraceWriter:
    """Collects observations and writes them on `close`, in one go, beside and then renamed.

    As a context manager it also writes when the block is left by an error or Ctrl-C: what was
    recorded so far is kept. Nothing is written when nothing was recorded.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[NDArray[np.float32] | None] = []
        self._teeth: list[Teeth | None] = []
        self._times: list[int] = []
        self._size: tuple[int, int] | None = None
        self._closed = False

    def append(self, observation: Observation) -> None:
        """Copies the points. Raises UserError when the trace is full.

        ValueError when time does not grow or the picture's size changes (a bug of the caller).
        """
        if self._closed:
            raise ValueError("the trace is closed")
        if len(self._times) >= MAX_ITEMS:
            raise UserError(f"a trace holds at most {MAX_ITEMS} pictures: start a new one")
        if self._times and observation.captured_at_ns <= self._times[-1]:
            raise ValueError("observations must come in order of time")
        found = observation.landmarks
        if found is not None:
            size = found.width, found.height
            if self._size not in (None, size):
                raise ValueError(f"the picture's size changed from {self._size} to {size}")
            self._size = size
        self._rows.append(None if found is None else found.points.copy())
        self._teeth.append(None if found is None else found.teeth)
        self._times.append(observation.captured_at_ns)

    def close(self) -> None:
        """Idempotent. Raises UserError when the file cannot be written."""
        if self._closed:
            return
        self._closed = True
        if not self._times:
            return
        points = np.full((len(self._rows), N_LANDMARKS, 3), np.nan, np.float32)
        for i, row in enumerate(self._rows):
            if row is not None:
                points[i] = row
        width, height = self._size or (1, 1)
        teeth = np.array([seen or (np.nan, np.nan) for seen in self._teeth], np.float32)
        times = np.asarray(self._times, np.int64)
        times -= times[0]  # when it was recorded is nobody's business
        try:
            _save(self.path, points, teeth, times, width, height)
        except OSError as error:
            raise UserError(
                f"cannot write the trace {self.path} ({error.strerror or error}): "
                "choose a folder that exists, that you may write to and that has room"
            ) from error

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def trace_recording(path: Path) -> Recording[Observation]:
    """Reads and checks a trace. Raises SourceError."""
    arrays = _load(path)
    version, width, height = (_number(path, arrays, n) for n in ("version", "width", "height"))
    times = arrays["times_ns"].astype(np.int64, copy=False)
    points = arrays["points"].astype(np.float32, copy=False)
    if version != VERSION:
        raise _bad(path, f"it has version {version}, this program reads {VERSION}")
    if not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
        raise _bad(path, f"its picture size {width}x{height} makes no sense")
    if points.shape[1:] != (N_LANDMARKS, 3) or times.shape != points.shape[:1] or not len(times):
        raise _bad(path, f"points {points.shape} and times {times.shape} do not fit together")
    if not (times[1:] > times[:-1]).all() or int(times[-1]) - int(times[0]) > _MAX_NS:
        raise _bad(path, "its times do not grow from picture to picture, or grow without measure")
    missing = np.isnan(points).all(axis=(1, 2))
    if not (np.abs(points[~missing]) <= _MAX_COORDINATE).all():  # also false for NaN
        raise _bad(path, "it has points that are not finite")
    unknown = np.full((len(points), 2), np.nan, np.float32)
    teeth = arrays.get("teeth", unknown).astype(np.float32, copy=False)
    if teeth.shape != (len(points), 2) or ((teeth < 0) | (teeth > 1)).any():
        raise _bad(path, "what it says of teeth is not two shares for each picture")
    gaps = np.diff(times)
    fps = 1e9 / float(np.median(gaps)) if len(gaps) else 30.0
    cues = partial(_cues, points, teeth, times - times[0], missing, width, height)
    return Recording(path.name, cues, (width, height), fps, len(times))


def _number(path: Path, arrays: dict[str, NDArray[np.generic]], name: str) -> int:
    if arrays[name].shape != ():
        raise _bad(path, f"{name} is not a single number")
    return int(arrays[name].astype(np.int64))


def _cues(
    points: NDArray[np.float32],
    teeth: NDArray[np.float32],
    times_ns: NDArray[np.int64],
    missing: NDArray[np.bool_],
    width: int,
    height: int,
) -> Generator[Cue[Observation], None, None]:
    rows = zip(points, teeth.tolist(), times_ns.tolist(), missing.tolist(), strict=True)
    for row, (upper, lower), at_ns, none in rows:
        seen = None if math.isnan(upper + lower) else (upper, lower)
        # A copy: what is handed out may be kept or changed, the trace may be played again.
        found = None if none else Landmarks(row.copy(), width, height, seen)
        yield Cue(at_ns, partial(Observation, found))


def _load(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of `_LAYOUT`, after its size was checked against what the file really holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            held = {name.removesuffix(".npy") for name in archive.namelist()}
            wanted = [name for name in _LAYOUT if name in held or name not in _OPTIONAL]
            return {name: _member(archive, name) for name in wanted}
    except FileNotFoundError as error:
        raise SourceError(f"there is no landmark trace {path}: check the path") from error
    except KeyError as error:
        raise _bad(path, f"an array is missing ({error})") from error
    # RuntimeError: encrypted; NotImplementedError: a compression that Python does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise _bad(path, str(error)) from error


def _member(archive: zipfile.ZipFile, name: str) -> NDArray[np.generic]:
    """One array. Raises ValueError. The header is matched, not evaluated, and nothing larger than
    a full trace is unpacked, whatever the file claims."""
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > MAX_ITEMS * _ROW_BYTES + 4096:
        raise ValueError(f"{name} is larger than {MAX_ITEMS} pictures need")
    with archive.open(info) as stream:
        if stream.read(8) != b"\x93NUMPY\x01\x00":
            raise ValueError(f"{name} is not an array")
        header = stream.read(int.from_bytes(stream.read(2), "little")).decode("latin-1")
        match = _HEADER.fullmatch(header)
        if match is None or match[1] != _LAYOUT[name]:
            raise ValueError(f"{name} is not an array of {_LAYOUT[name]} in C order")
        shape = tuple(int(n) for n in match[2].split(",") if n.strip())
        data = stream.read(info.file_size)
    return np.frombuffer(data, _LAYOUT[name]).reshape(shape)  # ValueError when it does not fit


def _save(
    path: Path,
    points: NDArray[np.float32],
    teeth: NDArray[np.float32],
    times_ns: NDArray[np.int64],
    width: int,
    height: int,
) -> None:
    handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(
                stream,
                version=np.int64(VERSION),
                points=points,
                teeth=teeth,
                times_ns=times_ns,
                width=np.int64(width),
                height=np.int64(height),
            )
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def _bad(path: Path, why: str) -> SourceError:
    return SourceError(
        f"{path} is not a landmark trace this program can play: {why}; record it again"
    )
