"""Decodes clips and stills once, with landmarks and mattes, into arrays that training maps.

    python -m calibrate.cache --corpus CORPUS --split train --out CACHE

CORPUS holds `manifest.csv` (columns split, id, person_id, file, licence, ...; the pictures lie in
CORPUS/SPLIT/ID.*), or is any folder of clips and pictures, each taken for a person of its own.
CACHE receives a folder for each clip: `frames.npy` (T, H, W, 3) RGB, `landmarks.npy` (T, 478, 3)
in pixels with NaN where no face was found, `mattes.npy` (T, 192, 192), `meta.json`; and, beside
them, `cache.log` and `cache.json` with what was left out and why. Without --split, a manifest's
splits become sub-folders. Landmarks come from the tracker of the live loop, so training sees what
will be drawn. What is already there is not made again; a clip appears whole or not at all.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.capture.images import IMAGE_SUFFIXES, read_picture
from puppet.contract import Frame, Landmarks, PuppetError, UserError

if TYPE_CHECKING:
    from puppet.avatar.person import Segmenter

MATTE_SIZE = 192
VIDEO_SUFFIXES = frozenset((".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v"))
LEAST_FACES = 0.5
"""Share of a clip's frames that must show a face."""
OTHER_FACE = 0.4
"""A second face this large beside the first (side against side) makes two people of a clip."""
UNEVEN = 1.6
"""A frame that lasts this many times as long as the usual one is uneven."""

Pixels = NDArray[np.uint8]
log = logging.getLogger(__name__)


class LeftOut(Exception):
    """A clip that cannot be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Job:
    """One clip or still to be cached."""

    path: Path
    folder: Path
    person: str
    source: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds one clip in memory."""

    side: int = 768
    frames: int = 750


def find_jobs(corpus: Path, out: Path, split: str | None) -> list[Job]:
    """The clips of a manifest or of a plain folder. Raises UserError."""
    if not corpus.is_dir():
        raise UserError(f"There is no folder {corpus}: give the folder of clips with --corpus.")
    manifest = corpus / "manifest.csv"
    jobs = _listed(manifest, out, split) if manifest.is_file() else _plain(corpus, out)
    if not jobs:
        of = f" of the split {split!r}" if split else ""
        raise UserError(f"{corpus} holds no clips or pictures{of}.")
    return jobs


def _listed(manifest: Path, out: Path, split: str | None) -> list[Job]:
    jobs = []
    with manifest.open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            try:
                here, name, person = row["split"], row["id"], row["person_id"]
            except KeyError as error:
                raise UserError(f"{manifest} has no column {error}.") from error
            if split is not None and here != split:
                continue
            if Path(name).name != name or Path(here).name != here:
                raise UserError(f"{manifest}: {here}/{name} is not a plain file name.")
            found = sorted((manifest.parent / here).glob(f"{name}.*"))
            source = f"{row.get('repository') or ''}/{row.get('file') or ''}".strip("/")
            path = found[0] if found else manifest.parent / here / name
            folder = out / name if split is not None else out / here / name
            jobs.append(Job(path, folder, person, source, row.get("licence") or ""))
    return jobs


def _plain(corpus: Path, out: Path) -> list[Job]:
    suffixes = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    paths = sorted(p for p in corpus.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
    names = plain_names(paths, corpus)
    return [
        Job(path, out / name, name, str(path.relative_to(corpus)))
        for path, name in zip(paths, names, strict=True)
    ]


def plain_names(paths: list[Path], folder: Path) -> list[str]:
    """A name of its own for every file under a folder: its way there, with the suffix only where
    it takes that to tell it from another."""
    short = [path.relative_to(folder) for path in paths]
    stems = Counter(each.with_suffix("") for each in short)
    return [
        "__".join((each.with_suffix("") if stems[each.with_suffix("")] == 1 else each).parts)
        for each in short
    ]


def cache_clip(job: Job, limits: Limits) -> str:
    """Caches one clip; a line about it. Raises LeftOut. Runs in a process of its own."""
    from puppet.avatar.person import Segmenter

    cv2.setNumThreads(1)
    still = job.path.suffix.lower() in IMAGE_SUFFIXES
    try:
        frames, fps = _read_still(job.path) if still else _read_clip(job.path, limits)
    except (PuppetError, OSError) as error:
        raise LeftOut(f"cannot be read: {error}") from error
    frames = _shrunk(frames, limits.side)
    if not still:
        refuse_cuts(frames)
    refuse_two_people(frames)
    landmarks = _landmarks_of_still(frames[0]) if still else _landmarks(frames)
    found = int((~np.isnan(landmarks[:, 0, 0])).sum())
    if found < max(1, LEAST_FACES * len(frames)):
        raise LeftOut(f"a face in {found} of {len(frames)} frames only")
    segmenter = Segmenter()
    try:
        mattes = _mattes(segmenter, frames)
    finally:
        segmenter.close()
    meta = {
        "person": job.person, "source": job.source, "licence": job.licence, "fps": fps,
        "file": job.path.name,
    }  # fmt: skip
    _write(job.folder, frames, landmarks, mattes, meta)
    return f"{len(frames)} frames, {found} with a face"


def _read_still(path: Path) -> tuple[list[Pixels], float]:
    return [read_picture(path)], 0.0


def _read_clip(path: Path, limits: Limits) -> tuple[list[Pixels], float]:
    from puppet.capture import open_source

    source = open_source(str(path), realtime=False)
    frames: list[Pixels] = []
    times: list[int] = []
    try:
        while len(frames) < limits.frames:
            frame = source.read(10.0)
            if not isinstance(frame, Frame):
                break
            small = _shrunk([frame.rgb], limits.side)[0]
            if frames and small.shape != frames[0].shape:
                raise LeftOut(f"its pictures change their size at frame {len(frames)}")
            frames.append(small)
            times.append(frame.captured_at_ns)
    finally:
        source.close()
    if len(frames) < 2:
        raise LeftOut("shorter than two frames")
    return frames, even_rate(np.array(times))


def even_rate(times_ns: NDArray[np.int64]) -> float:
    """Frames a second. Raises LeftOut where more than one frame in twenty is uneven in time."""
    steps = np.diff(times_ns)
    usual = float(np.median(steps))
    if usual <= 0:
        raise LeftOut("its time stamps do not advance")
    uneven = (steps > UNEVEN * usual) | (steps < usual / UNEVEN)
    if uneven.mean() > 0.05:
        raise LeftOut(f"variable frame rate ({uneven.mean():.0%} of the frames uneven in time)")
    return round(1e9 / usual, 3)


def refuse_cuts(frames: list[Pixels]) -> None:
    """Raises LeftOut where two successive frames are not of one shot."""
    small = np.stack([cv2.resize(f, (32, 32), interpolation=cv2.INTER_AREA) for f in frames])
    change = np.abs(np.diff(small.astype(np.int16), axis=0)).mean((1, 2, 3))
    # A cut stands out of its surroundings; fast motion and exposure do not by so much.
    limit = max(18.0, 6 * float(np.median(change)))
    if len(change) and change.max() > limit:
        raise LeftOut(f"a cut after frame {int(change.argmax())}")


def refuse_two_people(frames: list[Pixels], looks: int = 5) -> None:
    """Raises LeftOut where more than one look in five finds a second large face."""
    from puppet.track import open_mesh
    from puppet.track.follow import face_box

    mesh = open_mesh(still=True, max_faces=4, confidence=0.5)
    seen = 0
    chosen = np.unique(np.linspace(0, len(frames) - 1, looks).astype(int))
    try:
        for i in chosen:
            sides = sorted((face_box(f).size for f in mesh.find(frames[i], 0)), reverse=True)
            seen += len(sides) > 1 and sides[1] > OTHER_FACE * sides[0]
    finally:
        mesh.close()
    if seen > 0.2 * len(chosen):
        raise LeftOut("two people")


def _landmarks(frames: list[Pixels]) -> NDArray[np.float32]:
    from puppet.track import open_tracker

    tracker = open_tracker(max_faces=1)
    found = []
    try:
        for i, rgb in enumerate(frames):
            found.append(_points(tracker.track(Frame(rgb, i * 40_000_000, i)).landmarks))
    finally:
        tracker.close()
    return np.stack(found)


def _landmarks_of_still(rgb: Pixels) -> NDArray[np.float32]:
    from puppet.track import find_faces

    faces = find_faces(rgb)
    return _points(faces[0] if faces else None)[None]


def _points(face: Landmarks | None) -> NDArray[np.float32]:
    return np.full((478, 3), np.nan, np.float32) if face is None else face.points


def _mattes(segmenter: Segmenter, frames: list[Pixels]) -> Pixels:
    if not segmenter.available:
        raise UserError(
            "Person segmentation is not in this MediaPipe; install mediapipe 0.10.21 "
            "(Python up to 3.12) to make a cache."
        )
    size = (MATTE_SIZE, MATTE_SIZE)
    mattes = [
        cv2.resize(segmenter.person(rgb), size, interpolation=cv2.INTER_AREA) for rgb in frames
    ]
    return (np.stack(mattes) * 255).astype(np.uint8)


def _shrunk(frames: list[Pixels], side: int) -> list[Pixels]:
    """Copies no larger than `side`, contiguous."""
    scale = side / max(frames[0].shape[:2])
    if scale >= 1:
        return [np.ascontiguousarray(f) for f in frames]
    height, width = frames[0].shape[:2]
    size = (round(width * scale), round(height * scale))
    return [np.asarray(cv2.resize(f, size, interpolation=cv2.INTER_AREA), np.uint8) for f in frames]


def _write(
    folder: Path, frames: list[Pixels], landmarks: NDArray[np.float32], mattes: Pixels,
    meta: dict[str, object],
) -> None:  # fmt: skip
    """Fills a folder beside and renames it: a kill leaves no half clip."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    np.save(part / "frames.npy", np.stack(frames))
    np.save(part / "landmarks.npy", landmarks)
    np.save(part / "mattes.npy", mattes)
    (part / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)


def fill_cache(
    jobs: list[Job], out: Path, *, processes: int, limits: Limits | None = None, quiet: bool = False
) -> Counter[str]:
    """Caches all jobs that are not there yet; counts 'made', 'there' and 'left out'.

    Reasons go to the log and to cache.log and cache.json in `out`.
    """
    from rich.progress import Progress

    out.mkdir(parents=True, exist_ok=True)
    waiting = [job for job in jobs if not (job.folder / "meta.json").is_file()]
    counts: Counter[str] = Counter({"there": len(jobs) - len(waiting), "made": 0, "left out": 0})
    reasons: dict[str, str] = {}
    with (
        Progress(disable=quiet) as bar,
        (out / "cache.log").open("a", encoding="utf-8") as lines,
    ):
        task = bar.add_task("caching", total=len(jobs), completed=counts["there"])
        for job, told, made in _work(waiting, limits or Limits(), processes):
            counts["made" if made else "left out"] += 1
            if not made:
                reasons[job.folder.name] = told
                log.warning("%s: left out: %s", job.path.name, told)
            lines.write(f"{job.path}: {'' if made else 'left out: '}{told}\n")
            lines.flush()
            bar.update(task, advance=1, description=job.folder.name[:30])
    part = out / "cache.json.part"
    part.write_text(json.dumps({"counts": counts, "left_out": reasons}, indent=1), encoding="utf-8")
    os.replace(part, out / "cache.json")
    return counts


def _work(jobs: list[Job], limits: Limits, processes: int) -> Iterator[tuple[Job, str, bool]]:
    """(job, what came of it, whether it was made) as they end."""
    if processes <= 1:
        for job in jobs:
            yield job, *_attempt(job, limits)
        return
    # Spawned, not forked: MediaPipe's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs) or 1), context) as pool:
        running: dict[Future[tuple[str, bool]], Job] = {
            pool.submit(_attempt, job, limits): job for job in jobs
        }
        try:
            for done in as_completed(running):
                yield running[done], *done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _attempt(job: Job, limits: Limits) -> tuple[str, bool]:
    try:
        return cache_clip(job, limits), True
    except LeftOut as reason:
        return str(reason), False


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Caches clips and stills for training.")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of clips and stills")
    parser.add_argument("--split", help="of the manifest; all when left out")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cache")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    for name, value in asdict(Limits()).items():
        parser.add_argument(f"--most-{name}", type=int, default=value)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    given = parse(arguments)
    limits = Limits(given.most_side, given.most_frames)
    try:
        jobs = find_jobs(given.corpus, given.out, given.split)
        counts = fill_cache(
            jobs, given.out, processes=given.processes, limits=limits, quiet=given.quiet
        )
    except PuppetError as error:
        raise SystemExit(str(error)) from error
    log.warning("%s", ", ".join(f"{number} {what}" for what, number in sorted(counts.items())))


if __name__ == "__main__":
    main()
