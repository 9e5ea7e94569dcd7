"""Carries a cached corpus to a machine that has a GPU but neither MediaPipe nor a network.

    python -m calibrate.pack pack --corpus CORPUS --cache CACHE --out PACK [--every 2]
    python -m calibrate.pack unpack PACK --out CACHE

PACK holds the clips and stills as they are and, small, what MediaPipe found in them: landmarks to
a 32nd of a pixel and mattes at half the cache's resolution, of every N-th frame (two that follow
each other teach the same; the others come back as frames without a face). Unpacking decodes the
pictures again, with OpenCV alone and on all cores. CORPUS and CACHE are those of
`python -m calibrate.cache` without --split, so that their folders are the manifest's splits.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibrate.cache import VIDEO_SUFFIXES

STEPS_PER_PIXEL = 32
PACKED_MATTE = 96
NO_FACE = np.iinfo(np.int16).min


def pack(corpus: Path, cache: Path, out: Path, *, every: int = 1) -> int:
    """Packs every cached clip whose pictures lie in the corpus; returns how many."""
    count = 0
    for meta in sorted(cache.glob("*/*/meta.json")):
        split, name = meta.parent.parent.name, meta.parent.name
        sources = sorted((corpus / split).glob(f"{name}.*"))
        if not sources:
            continue
        folder = out / split
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources[0], folder / sources[0].name)
        landmarks = np.load(meta.parent / "landmarks.npy", allow_pickle=False)
        mattes = np.load(meta.parent / "mattes.npy", allow_pickle=False)
        frames = np.load(meta.parent / "frames.npy", mmap_mode="r", allow_pickle=False)
        part = folder / f"{name}.part.npz"
        np.savez_compressed(
            part,
            size=frames.shape[2:0:-1],
            count=len(landmarks),
            every=every,
            steps=np.diff(quantised(landmarks[::every]), axis=0, prepend=np.int16(0)),
            mattes=np.stack([shrunk(matte) for matte in mattes[::every]]),
            meta=np.frombuffer(meta.read_bytes(), np.uint8),
        )
        os.replace(part, folder / f"{name}.npz")
        count += 1
    return count


def unpack(packed: Path, out: Path, *, processes: int | None = None) -> int:
    """Makes the cache again; what is already there is kept. Returns how many clips it made."""
    jobs = [(path, out / path.parent.name / path.stem) for path in sorted(packed.glob("*/*.npz"))]
    waiting = [job for job in jobs if not (job[1] / "meta.json").is_file()]
    if processes == 1:
        for job in waiting:
            unpack_clip(*job)
        return len(waiting)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for result in [pool.submit(unpack_clip, *job) for job in waiting]:
            result.result()
    return len(waiting)


def unpack_clip(path: Path, folder: Path) -> None:
    """One clip of a pack into its folder of the cache, whole or not at all."""
    cv2.setNumThreads(1)
    (source,) = (p for p in path.parent.glob(f"{path.stem}.*") if p.suffix != ".npz")
    with np.load(path, allow_pickle=False) as stored:
        steps, kept_mattes = stored["steps"], stored["mattes"]
        width, height = stored["size"].tolist()
        count, every = int(stored["count"]), int(stored["every"])
        meta = json.loads(stored["meta"].tobytes())
    landmarks = np.full((count, 478, 3), np.nan, np.float32)
    landmarks[::every] = restored(np.cumsum(steps, axis=0, dtype=np.int16))
    mattes = np.zeros((count, PACKED_MATTE, PACKED_MATTE), np.uint8)
    mattes[::every] = kept_mattes
    frames = decoded(source, count, (width, height))
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    np.save(part / "frames.npy", frames)
    np.save(part / "landmarks.npy", landmarks)
    np.save(part / "mattes.npy", mattes)
    (part / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    os.replace(part, folder)


def quantised(landmarks: NDArray[np.float32]) -> NDArray[np.int16]:
    """(T, 478, 3) pixels as whole steps; frames without a face are NO_FACE throughout."""
    steps = np.clip(np.round(np.nan_to_num(landmarks) * STEPS_PER_PIXEL), NO_FACE + 1, -NO_FACE - 1)
    missing = np.isnan(landmarks[:, :1, :1])
    return np.where(missing, NO_FACE, steps).astype(np.int16)


def restored(steps: NDArray[np.int16]) -> NDArray[np.float32]:
    """The inverse of `quantised`, to half a step."""
    landmarks = steps.astype(np.float32) / STEPS_PER_PIXEL
    landmarks[(steps == NO_FACE).all((1, 2))] = np.nan
    return landmarks


def shrunk(matte: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = cv2.resize(matte, (PACKED_MATTE, PACKED_MATTE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def is_video(source: Path) -> bool:
    return source.suffix.lower() in VIDEO_SUFFIXES


def decoded(source: Path, count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(count, H, W, 3) RGB of a (width, height), to which the cache may have shrunk them. Raises
    ValueError when the file does not hold that many pictures."""
    pictures: list[NDArray[np.uint8]] = []
    reader = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG if is_video(source) else cv2.CAP_IMAGES)
    while len(pictures) < count:
        there, bgr = reader.read()
        if not there:
            break
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        if (rgb.shape[1], rgb.shape[0]) != size:
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        pictures.append(np.asarray(rgb, np.uint8))
    reader.release()
    if len(pictures) != count:
        raise ValueError(f"{source} holds {len(pictures)} pictures, {count} were packed")
    return np.stack(pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description="Carry a cached corpus to another machine.")
    actions = parser.add_subparsers(dest="action", required=True)
    packing = actions.add_parser("pack")
    packing.add_argument("--corpus", type=Path, required=True)
    packing.add_argument("--cache", type=Path, required=True)
    packing.add_argument("--out", type=Path, required=True)
    packing.add_argument("--every", type=int, default=2, help="keep every N-th frame's face")
    unpacking = actions.add_parser("unpack")
    unpacking.add_argument("packed", type=Path)
    unpacking.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.action == "pack":
        pack(arguments.corpus, arguments.cache, arguments.out, every=arguments.every)
    else:
        unpack(arguments.packed, arguments.out)


if __name__ == "__main__":
    main()
