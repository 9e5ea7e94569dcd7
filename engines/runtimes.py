"""The choice of a runtime: tried in order, refused with a reason, never silently.

Order of 'auto': TensorRT and the other NVIDIA ways where there is such a GPU, then OpenVINO, then
ONNX Runtime. What really runs is in the generator's `info`, as read back from the runtime.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from engines.cache import EngineCache
from engines.contract import Generator, ParityError, RuntimeUnavailable, SpecMismatch, reason
from engines.models import Model, load_model_of
from engines.parity import check_parity, make_reference
from engines.ways import AUTO, EXACT, Way, Wish, ways

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run, and whether it can be gone here."""

    runtime: str
    device: str
    available: bool
    reason: str
    """Why not, and what to do; empty if available."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An open generator and what was refused before it."""

    generator: Generator
    runtime: str
    device: str
    is_gpu: bool
    rejected: tuple[Candidate, ...]


def candidates() -> list[Candidate]:
    """Every way to run a generator, in the order of choice, and why it cannot be gone here."""
    found = []
    for way in ways():
        try:
            way.probe()
        except Exception as error:  # noqa: BLE001 (a library's edge: each has errors of its own)
            found.append(Candidate(way.runtime, way.device, False, reason(error)))
        else:
            found.append(Candidate(way.runtime, way.device, True, ""))
    return found


def open_generator(
    tier: str = AUTO,
    *,
    weights: Path | None = None,
    onnx: Path | None = None,
    runtime: str = AUTO,
    device: str = AUTO,
    precision: str = AUTO,
    threads: int | None = None,
    require_gpu: bool = False,
    expected_draw_style: str | None = None,
    cache: EngineCache | None = None,
) -> Generator:
    """Opens the best generator there is here; see choose_generator."""
    return choose_generator(
        tier,
        weights=weights,
        onnx=onnx,
        runtime=runtime,
        device=device,
        precision=precision,
        threads=threads,
        require_gpu=require_gpu,
        expected_draw_style=expected_draw_style,
        cache=cache,
    ).generator


def choose_generator(
    tier: str = AUTO,
    *,
    weights: Path | None = None,
    onnx: Path | None = None,
    runtime: str = AUTO,
    device: str = AUTO,
    precision: str = AUTO,
    threads: int | None = None,
    require_gpu: bool = False,
    expected_draw_style: str | None = None,
    cache: EngineCache | None = None,
    without: frozenset[tuple[str, str]] = frozenset(),
) -> Choice:
    """Tries the ways to run in order and opens the first that works and passes the parity gate.

    tier: 'coarse', 'small', 'base' or 'auto' ('base' on NVIDIA GPUs, else 'small'); `weights`
    (a tuned safetensors file) or `onnx` (an avatar's own graph) go before it. runtime and device
    as candidates() names them ('tensorrt' means both of its modules). precision: 'auto' (the
    quickest), 'exact' (the same pictures each time), or one by name. With require_gpu, CPU ways
    are refused. `without` leaves out (runtime, device) pairs, such as those that broke down.

    Raises SpecMismatch (model and drawing do not fit: no runtime can help) and
    RuntimeUnavailable with every reason when nothing can run.
    """
    cache = cache or EngineCache()
    rejected: list[Candidate] = []
    for way in _wanted(runtime, device):
        try:
            if (way.runtime, way.device) in without:
                raise RuntimeUnavailable("It broke down before.")
            if require_gpu and not way.is_gpu:
                raise RuntimeUnavailable("A GPU is required, and this is none.")
            way.probe()
            model = load_model_of(tier, weights=weights, onnx=onnx, largest=way.largest_tier)
            _check_style(model, expected_draw_style)
            wish = Wish(way.exact if precision == EXACT else precision, threads)
            generator = _open_checked(way, model, wish, cache)
        except SpecMismatch:
            raise
        except Exception as error:  # noqa: BLE001 (a library's edge: each has errors of its own)
            rejected.append(Candidate(way.runtime, way.device, False, reason(error)))
            continue
        _report(generator, rejected)
        return Choice(generator, way.runtime, way.device, way.is_gpu, tuple(rejected))
    reasons = "\n".join(f"  {c.runtime} on {c.device}: {c.reason}" for c in rejected)
    wanted = runtime if device == AUTO else f"{runtime} on {device}"
    raise RuntimeUnavailable(
        f"No generator runtime can run here (asked for {wanted}"
        f"{', a GPU required' if require_gpu else ''}):\n{reasons}"
    )


def _open_checked(way: Way, model: Model, wish: Wish, cache: EngineCache) -> Generator:
    """Opens and passes the gate. A wrong engine is thrown away and built once more; if the
    precision was left to us, float32 is tried last. Raises ParityError."""
    reference = make_reference(model, cache)
    tries = [wish, wish]
    if wish.precision == AUTO:
        tries.append(replace(wish, precision="f32"))
    for last, attempt in zip((*[False] * (len(tries) - 1), True), tries, strict=True):
        generator = way.open(model, attempt, cache)
        try:
            check_parity(generator, reference)
            return generator
        except ParityError as error:
            discard = getattr(generator, "discard_cached", None)
            generator.close()
            if discard is not None:
                discard()
            if last:
                raise
            _log.warning("%s It is built again.", error)
        except Exception:
            generator.close()
            raise
    raise AssertionError("unreachable")


def _check_style(model: Model, expected: str | None) -> None:
    if expected is None:
        return
    style = model.generator().spec.draw_style
    if style not in ("any", expected):
        raise SpecMismatch(
            f"This generator was made for drawing style {style!r}, but this version draws "
            f"{expected!r}. Create the avatar again with this version."
        )


def _report(generator: Generator, rejected: list[Candidate]) -> None:
    info = generator.info
    for candidate in rejected:
        _log.info("Not used: %s on %s: %s", candidate.runtime, candidate.device, candidate.reason)
    _log.info(
        "Generator %s runs on %s %s, %s, %s",
        generator.spec.tier,
        info.runtime,
        info.version,
        info.device,
        info.precision,
    )


def _wanted(runtime: str, device: str) -> list[Way]:
    everything = ways()
    chosen = [
        way
        for way in everything
        if (way.automatic if runtime == AUTO and device == AUTO else True)
        and runtime in (AUTO, way.runtime, way.runtime.removesuffix("_rtx"))
        and device.lower() in (AUTO, way.device.lower())
    ]
    if not chosen:
        known = ", ".join(f"{way.runtime} on {way.device}" for way in everything)
        wanted = repr(runtime) if device == AUTO else f"{runtime!r} on {device!r}"
        raise RuntimeUnavailable(f"There is no runtime {wanted}. Known: {known}.")
    return chosen
