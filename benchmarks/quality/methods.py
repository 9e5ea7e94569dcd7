"""The three ways to make a picture that are compared, all from the same sitter and landmarks."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.sitter import Sitter, compose
from engines.contract import EngineError, Generator, LandmarkImage
from puppet.contract import Landmarks, Rgb
from puppet.draw import DRAW_STYLE, LandmarkPainter

if TYPE_CHECKING:
    import torch

    from calibrate.tune import Tuned
    from engines.branches import Portrait

METHODS = ("still", "coarse", "generator")


class Animator(Protocol):
    """Makes pictures of one sitter at a time."""

    about: dict[str, str]
    """What really computes, for the report."""

    def sit(self, sitter: Sitter, tuned: Tuned | None = None) -> None:
        """`tuned`: what calibration made of this sitter; methods without weights ignore it."""
        ...

    def picture(self, driving: Landmarks) -> Rgb:
        """(512, 512, 3), a new array; `driving` in the pixels of the 512 square."""
        ...

    def matte(self, driving: Landmarks) -> NDArray[np.uint8]:
        """(512, 512), a new array: the person's alpha in the same picture."""
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

    def sit(self, sitter: Sitter, tuned: Tuned | None = None) -> None:
        self._plain, self._matte = sitter.plain, sitter.matte

    def picture(self, driving: Landmarks) -> Rgb:
        return self._plain

    def matte(self, driving: Landmarks) -> NDArray[np.uint8]:
        return self._matte


class Engine:
    """A generator opened as the live loop opens it, composed over the sitter's background."""

    def __init__(self, choice: EngineChoice) -> None:
        """Raises EngineError."""
        from engines.models import load_model_of

        self._choice = choice
        self._model = load_model_of(choice.tier, weights=choice.weights)
        self._base = self._generator = self._open(choice.weights)
        info, spec = self._generator.info, self._generator.spec
        self.about = {
            "tier": spec.tier,
            "weights_sha256": spec.weights_sha256,
            "runtime": f"{info.runtime} {info.version}",
            "device": info.device,
            "precision": info.precision,
        }

    def sit(self, sitter: Sitter, tuned: Tuned | None = None) -> None:
        from engines.encode import encode_portrait

        self._painter = LandmarkPainter(sitter.landmarks)
        contours = self._painter.paint(sitter.landmarks).contours.copy()
        tensors = encode_portrait(sitter.plain, sitter.matte, contours, model=self._model)
        if self._generator is not self._base:
            self._generator.close()
        self._generator = self._base
        if tuned is not None and self._base.spec.tier == tuned.network.tier:
            self._generator = self._open_tuned(tuned)
            tensors |= tuned.portrait
        self._generator.set_portrait(tensors)
        self._background = sitter.background

    def picture(self, driving: Landmarks) -> Rgb:
        rgba = self._generator.generate(self._painter.paint(driving))
        return compose(rgba, self._background)

    def matte(self, driving: Landmarks) -> NDArray[np.uint8]:
        return self._generator.generate(self._painter.paint(driving))[..., 3].copy()

    def _open(self, weights: Path | None) -> Generator:
        from engines.runtimes import open_generator

        return open_generator(
            self._choice.tier,
            weights=weights,
            runtime=self._choice.runtime,
            precision=self._choice.precision,
            threads=1,
            expected_draw_style=DRAW_STYLE,
        )

    def _open_tuned(self, tuned: Tuned) -> Generator:
        from calibrate.command import write_tuned_weights

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.safetensors"
            write_tuned_weights(path, tuned)
            return self._open(path)


class Trained:
    """The torch network itself: for weights in training, before they are exported."""

    def __init__(self, weights: Path) -> None:
        """Raises SpecMismatch."""
        import torch

        from calibrate.trained import load_trained

        torch.set_num_threads(1)
        self.network = load_trained(weights)
        version = f"torch {torch.__version__}"
        self.about = {"tier": self.network.tier, "runtime": version, "precision": "f32"}

    def sit(self, sitter: Sitter, tuned: Tuned | None = None) -> None:
        import torch

        self._painter = LandmarkPainter(sitter.landmarks)
        contours = self._painter.paint(sitter.landmarks).contours
        four = np.dstack((sitter.plain, sitter.matte))
        self._now = self.network if tuned is None else tuned.network
        with torch.inference_mode():
            portrait: Portrait = self._now.encoder(_planes(four), _planes(contours))
            if tuned is not None:
                own = {name: torch.from_numpy(values) for name, values in tuned.portrait.items()}
                portrait = portrait._replace(**own)
        self._portrait = portrait
        self._background = sitter.background

    def picture(self, driving: Landmarks) -> Rgb:
        return compose(self._rgba(self._painter.paint(driving)), self._background)

    def matte(self, driving: Landmarks) -> NDArray[np.uint8]:
        return self._rgba(self._painter.paint(driving))[..., 3].copy()

    def _rgba(self, image: LandmarkImage) -> NDArray[np.uint8]:
        import torch

        motion = torch.from_numpy(image.motion).permute(2, 0, 1)[None]
        with torch.inference_mode():
            moved = self._now.generator(_planes(image.contours), motion, self._portrait)
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
