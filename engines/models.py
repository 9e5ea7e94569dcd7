"""Which generators there are: the shipped tiers, tuned weights, an avatar's own ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from engines.coarse import TIER as COARSE
from engines.coarse import coarse_graph
from engines.contract import SpecMismatch
from engines.graph import ENCODER, GENERATOR, Graph, parse_graph, read_graph
from engines.quantize import Ranges
from engines.weights import (
    Weights,
    check_names,
    fill_template,
    parse_weights,
    read_weights,
    template_weights,
)

if TYPE_CHECKING:
    import onnx

TIERS = (COARSE, "small", "base")


class Model(Protocol):
    """A generator before a runtime was chosen for it."""

    @property
    def tier(self) -> str:
        """One of TIERS."""
        ...

    def generator(self, body: str = "f32") -> Graph:
        """The graph with its body in 'f32' or 'f16', or the nearest the model has."""
        ...

    def encoder(self) -> Graph | None:
        """The graph that makes the portrait's tensors; None where there is none."""
        ...

    @property
    def ranges(self) -> Ranges:
        """What comes into its convolutions, for 8 bits; empty where that is not known."""
        ...


class CoarseModel:
    """The motion alone; nothing learned."""

    tier = COARSE
    ranges: Ranges = MappingProxyType({})

    def generator(self, body: str = "f32") -> Graph:
        """Always float32: there is no body."""
        return coarse_graph()

    def encoder(self) -> Graph | None:
        """None: engines.coarse.coarse_portrait packs the portrait."""
        return None


class WeightsModel:
    """A tier's network with the shipped or with tuned weights."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.tier = weights.tier
        if self.tier not in template_tiers():
            raise SpecMismatch(
                f"This version has no network of the tier {self.tier!r}; it has "
                f"{', '.join(template_tiers()) or 'none'}. Update webcam-puppet."
            )
        wanted: dict[str, tuple[int, ...]] = {}
        for name in (f"{self.tier}.{GENERATOR}.f32.onnx", f"{self.tier}.{ENCODER}.f32.onnx"):
            wanted |= template_weights(template(name))
        check_names(weights, wanted)
        self.ranges = weights.ranges

    def generator(self, body: str = "f32") -> Graph:
        """Fills the template; some tens of milliseconds."""
        return self._fill(f"{self.tier}.{GENERATOR}.{body}.onnx")

    def encoder(self) -> Graph | None:
        """Fills the encoder's template."""
        return self._fill(f"{self.tier}.{ENCODER}.f32.onnx")

    def _fill(self, name: str) -> Graph:
        return parse_graph(fill_template(_data(name), self.weights), origin=name)


@dataclass(frozen=True)
class FileModel:
    """One ONNX file, as an avatar may carry it; its portrait tensors come with it."""

    path: Path

    @property
    def ranges(self) -> Ranges:
        """Not known."""
        return {}

    @cached_property
    def _graph(self) -> Graph:
        graph = read_graph(self.path)
        if graph.role != GENERATOR:
            raise SpecMismatch(f"{self.path} is no generator but an {graph.role}.")
        return graph

    @property
    def tier(self) -> str:
        """As the file says."""
        return self._graph.spec.tier

    def generator(self, body: str = "f32") -> Graph:
        """The file's graph, whatever its body's precision."""
        return self._graph

    def encoder(self) -> Graph | None:
        """None: tensors were made when the file was."""
        return None


def load_model_of(
    tier: str = "auto",
    *,
    weights: Path | None = None,
    onnx: Path | None = None,
    largest: str = "small",
) -> Model:
    """Finds a model. Raises SpecMismatch.

    `onnx` wins over `weights`, which wins over `tier`. The tier 'auto' is the largest that is
    shipped, up to `largest`.
    """
    if onnx is not None:
        return FileModel(onnx)
    if weights is not None:
        return WeightsModel(read_weights(weights))
    if tier == "auto":
        upto = TIERS[: TIERS.index(largest) + 1]
        tier = [name for name in upto if name in shipped_tiers()][-1]
    if tier == COARSE:
        return CoarseModel()
    if tier not in shipped_tiers():
        raise SpecMismatch(
            f"There is no generator tier {tier!r} in this installation, only "
            f"{', '.join(shipped_tiers())}."
        )
    name = f"{tier}.safetensors"
    return WeightsModel(parse_weights(_data(name), origin=name))


def shipped_tiers() -> list[str]:
    """Tiers that run without any other file, the smallest first."""
    return [t for t in TIERS if t == COARSE or _exists(f"{t}.safetensors")]


def template_tiers() -> list[str]:
    """Tiers whose graph templates are here, with or without weights."""
    return [t for t in TIERS if _exists(f"{t}.{GENERATOR}.f32.onnx")]


def template_names(tier: str) -> list[str]:
    """File names of a tier's templates in engines/data."""
    return [
        f"{tier}.{GENERATOR}.f32.onnx",
        f"{tier}.{GENERATOR}.f16.onnx",
        f"{tier}.{ENCODER}.f32.onnx",
    ]


def template(name: str) -> onnx.ModelProto:
    """A template of engines/data, parsed."""
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(_data(name))
    return model


def _exists(name: str) -> bool:
    return (resources.files("engines") / "data" / name).is_file()


def _data(name: str) -> bytes:
    return (resources.files("engines") / "data" / name).read_bytes()
