"""The gate before the picture: an engine is used only if it paints what the reference paints.

The reference is the same network in float32 on a plain CPU runtime, on landmark images and a
portrait that are fixed formulas, so every machine checks the same thing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cache import CacheKey, EngineCache
from engines.contract import (
    CONTOURS_SIZE,
    MOTION_SIZE,
    PICTURE_SIZE,
    Generator,
    LandmarkImage,
    ParityError,
    RuntimeUnavailable,
)
from engines.encode import encode_portrait
from engines.graph import Graph
from engines.models import Model


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest accepted differences from the reference, in levels of 255."""

    mean: float
    p999: float
    """Exceeded by one value in a thousand: an edge may move by a fraction of a pixel."""
    greatest: float


TOLERANCES: Mapping[str, Tolerance] = {
    "f32": Tolerance(mean=0.05, p999=1, greatest=8),
    "f16": Tolerance(mean=0.3, p999=4, greatest=32),
    "bf16": Tolerance(mean=1.0, p999=12, greatest=96),
    # The reference portrait is painted of waves, which no face has. Shipped ranges hold it
    # (calibrate.ranges); a tuned network's may clip what of it no picture of the person shows.
    "int8": Tolerance(mean=1.0, p999=40, greatest=128),
}
"""By precision as RuntimeInfo names it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far an engine is from the reference, in levels of 255."""

    mean: float
    p999: float
    greatest: float


@dataclass(frozen=True, slots=True)
class Reference:
    """What a model must paint."""

    weights_sha256: str
    portrait: dict[str, NDArray[np.float32]]
    pictures: list[NDArray[np.uint8]]


def check_parity(generator: Generator, reference: Reference) -> Difference:
    """Runs the fixed landmark images and compares. Raises ParityError with the numbers.

    Leaves the reference's portrait set; the caller sets its own afterwards.
    """
    info = generator.info
    who = f"{info.runtime} {info.version} on {info.device} ({info.precision})"
    if generator.spec.weights_sha256 != reference.weights_sha256:
        raise ParityError(f"{who} holds an engine of other weights than were asked for.")
    generator.set_portrait(reference.portrait)
    worst = Difference(0.0, 0.0, 0.0)
    for image, expected in zip(reference_images(), reference.pictures, strict=True):
        painted = generator.generate(image)
        if painted.shape != expected.shape or painted.dtype != expected.dtype:
            raise ParityError(f"{who} gives {painted.dtype}{list(painted.shape)}, not a picture.")
        difference = compare(painted, expected)
        worst = Difference(
            max(worst.mean, difference.mean),
            max(worst.p999, difference.p999),
            max(worst.greatest, difference.greatest),
        )
    allowed = TOLERANCES.get(info.precision, TOLERANCES["f32"])
    if worst.mean > allowed.mean or worst.p999 > allowed.p999 or worst.greatest > allowed.greatest:
        raise ParityError(
            f"{who} paints a wrong picture: mean error {worst.mean:.2f} (at most {allowed.mean}), "
            f"99.9 % within {worst.p999:.0f} (at most {allowed.p999}), greatest "
            f"{worst.greatest:.0f} (at most {allowed.greatest}) of 255."
        )
    return worst


def compare(painted: NDArray[np.uint8], expected: NDArray[np.uint8]) -> Difference:
    """Differences of two RGBA pictures; colour counts as far as it is seen (times alpha)."""
    errors = np.abs(_seen(painted) - _seen(expected))
    return Difference(float(errors.mean()), float(np.quantile(errors, 0.999)), float(errors.max()))


def _seen(rgba: NDArray[np.uint8]) -> NDArray[np.float32]:
    seen = rgba.astype(np.float32)
    seen[:, :, :3] *= seen[:, :, 3:] / 255
    return seen


def make_reference(model: Model, cache: EngineCache) -> Reference:
    """Paints the reference, or takes it from the cache. Raises RuntimeUnavailable."""
    graph = model.generator("f32")
    key = CacheKey(graph.sha256, "reference", "parity", "1")
    data = cache.get_or_build(key, lambda: _paint_reference(model, graph))
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            portrait = {n: arrays["portrait." + n] for n in graph.portrait_inputs}
            pictures = [arrays[f"picture.{i}"] for i in range(len(reference_images()))]
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        cache.discard(key)
        raise ParityError(f"The reference pictures are damaged ({error}). Try again.") from error
    return Reference(graph.spec.weights_sha256, portrait, pictures)


def _paint_reference(model: Model, graph: Graph) -> bytes:
    generator = _reference_runtime(graph)
    portrait = reference_portrait(model, graph)
    generator.set_portrait(portrait)
    arrays: dict[str, NDArray[Any]] = {"portrait." + n: t for n, t in portrait.items()}
    for index, image in enumerate(reference_images()):
        arrays[f"picture.{index}"] = generator.generate(image).copy()
    generator.close()
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _reference_runtime(graph: Graph) -> Generator:
    from engines.runtime_onnxruntime import OnnxRuntimeGenerator
    from engines.runtime_openvino import OpenVinoGenerator

    try:
        return OnnxRuntimeGenerator(graph)
    except RuntimeUnavailable:
        return OpenVinoGenerator(graph, precision="f32")


def reference_portrait(model: Model, graph: Graph) -> dict[str, NDArray[np.float32]]:
    """Portrait tensors of a drawn head; smooth waves where the model has no encoder."""
    if model.encoder() is None and model.tier != "coarse":
        return {name: _waves(spec.shape) for name, spec in graph.portrait_inputs.items()}
    rgb, matte, contours = reference_portrait_arrays()
    return encode_portrait(rgb, matte, contours, model=model)


def reference_portrait_arrays() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """(512, 512, 3) picture, (512, 512) matte and (256, 256, 3) contours of a drawn head."""
    y, x = _coordinates(PICTURE_SIZE)
    waves = [0.5 + 0.4 * np.sin(x * fx + y * fy + c) for c, (fx, fy) in enumerate(_WAVES)]
    rgb = (np.stack(waves, axis=2) * 255).astype(np.uint8)
    inside = np.clip((1 - (x / 0.7) ** 2 - (y / 0.9) ** 2) * 12, 0, 1)
    return rgb, (inside * 255).astype(np.uint8), _draw(0.0, 0.0, 0.2)


def reference_images() -> list[LandmarkImage]:
    """Landmark images of a drawn head: still, turned with the mouth open, and far to a side."""
    images = []
    for dx, dy, mouth, turn in ((0, 0, 0.2, 0), (0.05, -0.03, 0.6, 0.1), (-0.12, 0.08, 0.1, -0.2)):
        y, x = _coordinates(MOTION_SIZE)
        fade = np.exp(-(x**2 + y**2) * 2)
        offset = np.stack([-dx - turn * y, -dy + turn * x + 0.02 * mouth * y], axis=2)
        motion = np.ascontiguousarray(offset * fade[:, :, None], dtype=np.float32)
        images.append(LandmarkImage(_draw(dx, dy, mouth), motion))
    return images


_WAVES = ((9.0, 4.0), (-5.0, 11.0), (7.0, -6.0))


def _draw(dx: float, dy: float, mouth: float) -> NDArray[np.uint8]:
    """Rings where oval, eyes and lips would be, in the three channels."""
    y, x = _coordinates(CONTOURS_SIZE)
    rings = (
        ((0.0, 0.0, 0.45, 0.46),),
        ((-0.18, -0.1, 0.09, 0.05), (0.18, -0.1, 0.09, 0.05)),
        ((0.0, 0.2, 0.16, 0.05 + 0.2 * mouth), (0.0, 0.2, 0.12, 0.01 + 0.15 * mouth)),
    )
    channels = []
    for shapes in rings:
        channel = np.zeros_like(x)
        for cx, cy, rx, ry in shapes:
            radius = np.hypot((x - cx - dx) / rx, (y - cy - dy) / ry)
            channel = np.maximum(channel, np.clip(2 - np.abs(radius - 1) * min(rx, ry) * 128, 0, 1))
        channels.append(channel)
    return np.ascontiguousarray(np.stack(channels, axis=2) * 255, dtype=np.uint8)


def _coordinates(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centres = (np.arange(size) + 0.5) * 2 / size - 1
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return y, x


def _waves(shape: tuple[int, ...]) -> NDArray[np.float32]:
    flat = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return np.ascontiguousarray(0.5 + 0.5 * np.sin(flat * 0.013), dtype=np.float32)
