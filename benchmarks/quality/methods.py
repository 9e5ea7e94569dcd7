"""The three ways to make a picture that are compared, all from the same sitter and landmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.sitter import Sitter, compose
from engines.contract import EngineError, Generator, LandmarkImage, SpecMismatch
from puppet.contract import Landmarks, Rgb
from puppet.draw import DRAW_STYLE, LandmarkPainter

if TYPE_CHECKING:
    import torch

METHODS = ("still", "coarse", "generator")


class Animator(Protocol):
    """Makes pictures of one sitter at a time."""

    about: dict[str, str]
    """What really computes, for the report."""

    def sit(self, sitter: Sitter) -> None: ...
    def picture(self, driving: Landmarks) -> Rgb:
        """(512, 512, 3), a new array; `driving` in the pixels of the 512 square."""
        ...


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What computes the generator's pictures."""

    tier: str = "auto"
    weights: Path | None = None
    runtime: str = "auto"
    """A runtime of engines.runtimes, or 'torch': the network as it is trained."""
    precision: str = "auto"


class Still:
    """The portrait repeated."""

    def __init__(self) -> None:
        self.about = {"runtime": "none"}

    def sit(self, sitter: Sitter) -> None:
        self._plain = sitter.plain

    def picture(self, driving: Landmarks) -> Rgb:
        return self._plain


class Engine:
    """A generator opened as the live loop opens it, composed over the sitter's background."""

    def __init__(self, choice: EngineChoice) -> None:
        """Raises EngineError."""
        from engines.models import load_model_of
        from engines.runtimes import open_generator

        self._model = load_model_of(choice.tier, weights=choice.weights)
        self._generator: Generator = open_generator(
            choice.tier,
            weights=choice.weights,
            runtime=choice.runtime,
            precision=choice.precision,
            threads=1,
            expected_draw_style=DRAW_STYLE,
        )
        info, spec = self._generator.info, self._generator.spec
        self.about = {
            "tier": spec.tier,
            "weights_sha256": spec.weights_sha256,
            "runtime": f"{info.runtime} {info.version}",
            "device": info.device,
            "precision": info.precision,
        }

    def sit(self, sitter: Sitter) -> None:
        from engines.encode import encode_portrait

        self._painter = LandmarkPainter(sitter.landmarks)
        contours = self._painter.paint(sitter.landmarks).contours.copy()
        tensors = encode_portrait(sitter.portrait, sitter.matte, contours, model=self._model)
        self._generator.set_portrait(tensors)
        self._background = sitter.background

    def picture(self, driving: Landmarks) -> Rgb:
        rgba = self._generator.generate(self._painter.paint(driving))
        return compose(rgba, self._background)


class Trained:
    """The torch network itself: for weights in training, before they are exported."""

    def __init__(self, weights: Path) -> None:
        """Raises SpecMismatch."""
        import torch
        from safetensors import SafetensorError, safe_open

        from engines.network import Network

        torch.set_num_threads(1)
        try:
            with safe_open(weights, "pt") as stored:  # type: ignore[no-untyped-call]
                metadata = stored.metadata() or {}
                tensors = {key: stored.get_tensor(key).float() for key in stored.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise SpecMismatch(f"The weights {weights} cannot be read: {error}.") from error
        if metadata.get("draw_style") != DRAW_STYLE:
            raise SpecMismatch(
                f"{weights} was trained on the drawing {metadata.get('draw_style')!r}, "
                f"but this version draws {DRAW_STYLE!r}."
            )
        tier = metadata.get("tier", "small")
        self._network = Network(tier).eval().requires_grad_(False)
        try:
            self._network.load_state_dict(tensors)
        except RuntimeError as error:
            raise SpecMismatch(f"{weights} is not of the {tier!r} network: {error}") from error
        self.about = {"tier": tier, "runtime": f"torch {torch.__version__}", "precision": "f32"}
        if "step" in metadata:
            self.about["step"] = metadata["step"]

    def sit(self, sitter: Sitter) -> None:
        import torch

        self._painter = LandmarkPainter(sitter.landmarks)
        contours = self._painter.paint(sitter.landmarks).contours
        four = np.dstack((sitter.portrait, sitter.matte))
        with torch.inference_mode():
            self._portrait = self._network.encoder(_planes(four), _planes(contours))
        self._background = sitter.background

    def picture(self, driving: Landmarks) -> Rgb:
        return compose(self._rgba(self._painter.paint(driving)), self._background)

    def _rgba(self, image: LandmarkImage) -> NDArray[np.uint8]:
        import torch

        motion = torch.from_numpy(image.motion).permute(2, 0, 1)[None]
        with torch.inference_mode():
            moved = self._network.generator(_planes(image.contours), motion, self._portrait)
            both = torch.cat((moved.rgb, moved.alpha), 1)[0].clamp(0, 1)
            return np.asarray((both * 255).round().byte().permute(1, 2, 0).numpy(), np.uint8)


def _planes(picture: NDArray[np.uint8]) -> torch.Tensor:
    """(H, W, C) bytes to (1, C, H, W) in [0, 1]."""
    import torch

    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def open_animators(choice: EngineChoice) -> tuple[dict[str, Animator], str]:
    """The three methods, and a sentence when there are only two: no trained weights.

    Raises EngineError when weights were asked for and cannot be used.
    """
    animators: dict[str, Animator] = {
        "still": Still(),
        "coarse": Engine(EngineChoice(tier="coarse")),
    }
    if choice.runtime == "torch" and choice.weights is not None:
        animators["generator"] = Trained(choice.weights)
        return animators, ""
    try:
        generator = Engine(choice)
    except EngineError as error:
        if choice.weights is not None or choice.tier != "auto":
            raise
        return animators, f"No generator: {error}"
    if generator.about["tier"] == "coarse":
        return animators, "No generator: this installation ships no trained weights."
    animators["generator"] = generator
    return animators, ""
