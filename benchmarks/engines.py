"""Generator latency: every runtime and precision that opens here, side by side in one run.

    python -m benchmarks.engines [--tiers small base] [--frames 200] [--json OUT]

Runtimes take turns frame block by frame block, so that other load on the machine falls on all of
them alike. Wall time is what a viewer waits for; processor time (of all threads) is nearly free
of the noise of a busy machine. Weights are the shipped ones, or made up where none are shipped
(the time is the same).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import environment
from engines.build import RTX, build_engine
from engines.cache import EngineCache
from engines.contract import EngineError, Generator, PortraitTensors
from engines.graph import ENCODER, GENERATOR
from engines.models import Model, WeightsModel, load_model_of, shipped_tiers, template
from engines.parity import Reference, check_parity, make_reference, reference_images
from engines.ways import Way, Wish, ways
from engines.weights import WEIGHTS_VERSION, Weights, template_weights
from puppet.draw import DRAW_STYLE

BLOCK = 10
WARM_UP = 5
PRECISIONS = {"openvino": ("int8", "bf16", "f32"), "torch": ("auto",)}


@dataclass
class Row:
    """One runtime's result, times in milliseconds per frame."""

    tier: str
    runtime: str
    version: str
    device: str
    precision: str
    open_ms: float
    set_portrait_ms: float
    wall_median: float
    wall_p95: float
    processor_median: float
    bare_median: float | None
    """The engine alone, copies to and from the device included; the rest is our wrapper."""
    mean_error: float
    """Against the float32 reference, of 255."""


@dataclass
class _Entrant:
    generator: Generator
    open_ms: float
    mean_error: float
    wall: list[float]
    processor: list[float]
    set_portrait: list[float]
    bare: list[float]


def main() -> None:
    """Measures and prints; see the module."""
    parser = argparse.ArgumentParser(description="Generator latency of every runtime")
    parser.add_argument("--tiers", nargs="+", default=["coarse", "small", "base"])
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--threads", type=int, nargs="+", default=[0], help="0: the default")
    parser.add_argument(
        "--runtimes",
        nargs="+",
        help="leave others out (torch on a CPU spins while it waits: it slows what runs beside it)",
    )
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    block = environment()
    rows: list[Row] = []
    builds: list[dict[str, Any]] = []
    for tier in options.tiers:
        model = open_model(tier)
        rows += measure(model, options.frames, options.threads, options.runtimes)
        builds += measure_build(model)
    print_table(rows, builds, block)
    if options.json:
        result = {"environment": block, "rows": [asdict(r) for r in rows], "builds": builds}
        beside = options.json.with_name(options.json.name + ".part")
        beside.write_text(json.dumps(result, indent=1) + "\n")
        os.replace(beside, options.json)


def open_model(tier: str) -> Model:
    """The shipped tier, or its network with made-up weights."""
    if tier in shipped_tiers():
        return load_model_of(tier)
    rng = np.random.default_rng(0)
    shapes = {
        **template_weights(template(f"{tier}.{GENERATOR}.f32.onnx")),
        **template_weights(template(f"{tier}.{ENCODER}.f32.onnx")),
    }
    tensors = {
        name: (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float16)
        for name, shape in sorted(shapes.items())
    }
    return WeightsModel(Weights(tensors, tier, DRAW_STYLE, WEIGHTS_VERSION, "made up"))


def measure(
    model: Model, frames: int, threads: list[int], runtimes: list[str] | None = None
) -> list[Row]:
    """All runtimes on one model, in turns."""
    cache = EngineCache()
    reference = make_reference(model, cache)
    entrants = _open_all(model, threads, runtimes, cache)
    for entrant in entrants:
        _run(entrant, reference.portrait, WARM_UP)
        entrant.wall.clear()
        entrant.processor.clear()
        entrant.bare.clear()
    for _ in range(max(1, frames // BLOCK)):
        for entrant in entrants:
            _run(entrant, reference.portrait, BLOCK)
    rows = [_row(model.tier, entrant) for entrant in entrants]
    for entrant in entrants:
        entrant.generator.close()
    return rows


def measure_build(model: Model) -> list[dict[str, Any]]:
    """Time and size of the TensorRT engine; empty where the module is not installed."""
    try:
        build_engine(model.generator("f16"))
        engine = build_engine(model.generator("f16"))
    except EngineError as error:
        print(f"{model.tier}: TensorRT engine not built: {error}")
        return []
    return [
        {
            "tier": model.tier,
            "module": RTX,
            "version": engine.version,
            "targets": list(engine.targets),
            "build_ms": round(engine.seconds * 1e3, 1),
            "bytes": len(engine.data),
        }
    ]


def _open_all(
    model: Model, threads: list[int], runtimes: list[str] | None, cache: EngineCache
) -> list[_Entrant]:
    reference = make_reference(model, cache)
    entrants = []
    for way in ways():
        if runtimes is not None and way.runtime not in runtimes:
            continue
        for precision, count in product(PRECISIONS.get(way.runtime, ("auto",)), threads):
            try:
                way.probe()
                wish = Wish(precision, count or None)
                entrants.append(_open(way, model, wish, reference, cache))
            except EngineError as refused:
                which = f"{way.runtime} on {way.device}, {precision}"
                print(f"{model.tier}: not run: {which}: {refused}")
    return entrants


def _open(way: Way, model: Model, wish: Wish, reference: Reference, cache: EngineCache) -> _Entrant:
    started = time.perf_counter()
    generator = way.open(model, wish, cache)
    opened = (time.perf_counter() - started) * 1e3
    return _Entrant(generator, opened, check_parity(generator, reference).mean, [], [], [], [])


def _run(entrant: _Entrant, portrait: PortraitTensors, frames: int) -> None:
    images = reference_images()
    started = time.perf_counter()
    entrant.generator.set_portrait(portrait)
    entrant.set_portrait.append((time.perf_counter() - started) * 1e3)
    for index in range(frames):
        wall, processor = time.perf_counter(), time.process_time()
        entrant.generator.generate(images[index % len(images)])
        entrant.processor.append((time.process_time() - processor) * 1e3)
        entrant.wall.append((time.perf_counter() - wall) * 1e3)
        if (repeat := getattr(entrant.generator, "repeat", None)) is not None:
            wall = time.perf_counter()
            repeat()
            entrant.bare.append((time.perf_counter() - wall) * 1e3)


def _row(tier: str, entrant: _Entrant) -> Row:
    info = entrant.generator.info
    return Row(
        tier=tier,
        runtime=info.runtime,
        version=info.version,
        device=info.device,
        precision=info.precision,
        open_ms=round(entrant.open_ms, 1),
        set_portrait_ms=round(float(np.median(entrant.set_portrait)), 2),
        wall_median=round(float(np.median(entrant.wall)), 2),
        wall_p95=round(float(np.quantile(entrant.wall, 0.95)), 2),
        processor_median=round(float(np.median(entrant.processor)), 2),
        bare_median=round(float(np.median(entrant.bare)), 2) if entrant.bare else None,
        mean_error=round(entrant.mean_error, 4),
    )


def print_table(rows: list[Row], builds: list[dict[str, Any]], block: dict[str, Any]) -> None:
    """A table for people; the file is for machines."""
    print(json.dumps(block))
    heads = ("median", "p95", "bare", "cpu", "error")
    print(f"{'tier':7} {'runtime':16} {'prec':5} " + " ".join(f"{head:>8}" for head in heads))
    for row in rows:
        bare = "-" if row.bare_median is None else f"{row.bare_median:.2f}"
        print(
            f"{row.tier:7} {row.runtime:16} {row.precision:5} {row.wall_median:8.2f} "
            f"{row.wall_p95:8.2f} {bare:>8} {row.processor_median:8.2f} {row.mean_error:8.4f}  "
            f"{row.device}"
        )
    for build in builds:
        print(
            f"{build['tier']:7} {build['module']} engine: built in {build['build_ms']:.0f} ms, "
            f"{build['bytes'] / 1e6:.1f} MB, {', '.join(build['targets'])}"
        )


if __name__ == "__main__":
    main()
