"""What comes out: a table on the terminal, JSON, a contact sheet."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.quality.methods import METHODS
from benchmarks.quality.metrics import regions
from benchmarks.quality.reenact import HIGHER_IS_BETTER, KEYS, Measured, Numbers, Row, average
from puppet.contract import Rgb

TILE = 256
_DECIMALS = {"psnr": 2, "psnr_mouth": 2, "psnr_eyes": 2, "flicker": 3, "temporal_error": 3}


def summary(measured: Sequence[Measured]) -> dict[str, Numbers | None]:
    """By method: the mean over clips (each clip counts alike); None for a method not run."""
    return {
        method: average([m.numbers[method] for m in measured])
        if measured and method in measured[0].numbers
        else None
        for method in METHODS
    }


def as_json(measured: Sequence[Measured]) -> dict[str, Any]:
    """'mean' and 'clips' of the result file."""
    return {
        "mean": summary(measured),
        "clips": {
            m.name: {
                **{method: m.numbers.get(method) for method in METHODS},
                "frames": m.frames,
                "faces_lost": m.faces_lost,
                **({"note": m.note} if m.note else {}),
            }
            for m in measured
        },
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def print_tables(console: Console, measured: Sequence[Measured]) -> None:
    """The means with the gain over the better floor, and PSNR by clip."""
    mean = summary(measured)
    table = Table(title=f"Mean over {len(measured)} clips")
    for heading in ("", *METHODS, "gain over the better floor"):
        table.add_column(heading, justify="left" if not heading else "right")
    for key in KEYS:
        values = {method: (mean[method] or {}).get(key) for method in METHODS}
        name = f"{key} {'↑' if key in HIGHER_IS_BETTER else '↓'}"
        table.add_row(name, *(_text(key, values[m]) for m in METHODS), _gain(key, values))
    console.print(table)

    clips = Table(title="PSNR (mouth) by clip, dB")
    clips.add_column("clip", overflow="ellipsis")
    for method in METHODS:
        clips.add_column(method, justify="right")
    for m in measured:
        cells = []
        for method in METHODS:
            own = m.numbers.get(method, {})
            cells.append(
                f"{_text('psnr', own.get('psnr'))} ({_text('psnr', own.get('psnr_mouth'))})"
            )
        clips.add_row(escape(m.name), *cells)
    console.print(clips)


def _text(key: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.{_DECIMALS.get(key, 4)}f}"


def _gain(key: str, values: dict[str, float | None]) -> str:
    own = values["generator"]
    floors = [v for v in (values["still"], values["coarse"]) if v is not None]
    if own is None or not floors:
        return "-"
    if key in HIGHER_IS_BETTER:
        return f"{own - max(floors):+.{_DECIMALS.get(key, 4)}f}"
    best = min(floors)
    return f"{100 * (own - best) / best:+.1f} %" if best > 0 else "-"


def write_sheet(path: Path, rows: Sequence[Row]) -> None:
    """Rows of portrait, coarse, generator, truth; then mouth and eyes of the last three, large;
    then where coarse and generator err (absolute difference times three)."""
    strips = [_strip(row) for row in rows]
    if strips:
        write_png(path, np.concatenate([_headings(strips[0].shape[1]), *strips]))


def write_png(path: Path, rgb: Rgb) -> None:
    """Beside and then renamed. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.stem + ".part.png")
    if not cv2.imwrite(str(part), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
        raise OSError(f"cannot write {part}")
    os.replace(part, path)


def tile(rgb: NDArray[np.uint8], width: int = TILE, height: int = TILE) -> Rgb:
    """Scaled to a tile."""
    grows = rgb.shape[0] < height
    method = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=method), np.uint8)


def write_on(rgb: Rgb, text: str) -> None:
    """Small white text with a dark edge, in the upper left; in place."""
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(rgb, text, (5, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness)


def _strip(row: Row) -> Rgb:
    shown = [row.results.get("coarse"), row.results.get("generator"), row.truth]
    pictures = [row.portrait, *(_or_grey(rgb, row.truth) for rgb in shown)]
    tiles = [tile(rgb) for rgb in pictures]
    write_on(tiles[0], row.name[:36])
    for rgb in pictures[1:]:
        tiles.append(_close_up(rgb, row))
    for method in ("coarse", "generator"):
        result = _or_grey(row.results.get(method), row.truth)
        tiles.append(tile(np.asarray(cv2.convertScaleAbs(cv2.absdiff(result, row.truth), alpha=3))))
    return np.concatenate(tiles, 1)


def _close_up(rgb: Rgb, row: Row) -> Rgb:
    """Eyes above, mouth below."""
    parts = []
    for region, high in (("eyes", 0.36), ("mouth", 0.64)):
        ys, xs = np.nonzero(regions(row.face, rgb.shape[0])[region])
        if not len(ys):
            parts.append(np.zeros((round(TILE * high), TILE, 3), np.uint8))
            continue
        width = float(np.ptp(xs)) + 1
        half = np.array((width, width * high)) * 0.55
        centre = np.array((xs.mean(), ys.mean()))
        low, high_ = np.maximum(centre - half, 0).astype(int), (centre + half).astype(int) + 1
        part = rgb[low[1] : high_[1], low[0] : high_[0]]
        parts.append(tile(part, TILE, round(TILE * high)))
    return np.concatenate(parts)[:TILE]


def _or_grey(rgb: Rgb | None, like: Rgb) -> Rgb:
    return np.full_like(like, 128) if rgb is None else rgb


def _headings(width: int) -> Rgb:
    names = ("portrait (still)", "coarse", "generator", "truth", "coarse", "generator", "truth")
    strip = np.full((22, width, 3), 40, np.uint8)
    for i, name in enumerate((*names, "error x3: coarse", "error x3: generator")):
        write_on(strip[:, i * TILE :], name)
    return strip
