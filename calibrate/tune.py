"""Few-shot tuning: the generator fitted to one person from 1 to some dozens of pictures.

Meta-learned weights are trained a little further on one person's pictures (Zakharov et al., ICCV
2019, section 3.3), held back by a pull towards the weights they came from. With several pictures
the main portrait's tensors become parameters of their own and every other picture is a truth
that the main portrait has to be moved to. With one picture there are only synthetic motions: they
say nothing of how hair, neck and room really move, so only what is painted into eyes and mouth
is tuned then. Some pictures are held out, and what is kept is what does best on them, so that
tuning never ends with less than it began with.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import default_collate

import calibrate.triton_first  # noqa: F401 (for its effect)
from calibrate.batch import to_device
from calibrate.combine import combine
from calibrate.cuts import Clip
from calibrate.losses import (
    SqueezeNetFeatures,
    attention,
    edge_loss,
    fidelity_of_parts,
    multiscale,
    perceptual_loss,
    weighted_l1,
    weighted_l2,
)
from calibrate.precision import bf16_is_quicker, quicker_layout
from calibrate.ranges import measuring
from calibrate.shots import Shots
from engines.branches import Portrait
from engines.network import Moved, Network
from engines.quantize import Ranges


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """How far and how fast to tune."""

    steps: int = 400
    minutes: float = 2.5
    batch: int = 4
    rate: float = 3e-4
    """Of the weights; Adam."""
    tensor_rate: float = 2e-3
    """Of the portrait's features, detail and code."""
    pull: float = 0.3
    """Share of the way back to the base weights that is gone per unit of learning (rate * step),
    relative to Adam's largest move."""
    roaming_share: float = 0.4
    """Of the steps with pairs cut at random through the encoder; the rest move the portrait."""
    judge_every: int = 20
    average: float = 0.95
    seed: int = 1
    threads: int | None = None
    bf16: bool | None = None
    """Or float32; None for the quicker one here."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where tuning stands; handed to the caller after each judgement."""

    step: int
    steps: int
    share: float
    """Of the steps or of the time, whichever is further, in [0, 1]."""
    loss: float
    score: float
    """On what is held out (lower is better), of the weights as they are now."""
    best: float
    start: float
    sheet: NDArray[np.uint8]
    """(H, W, 3) RGB: rows of portrait, before, now, truth."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best that was found."""

    network: Network
    features: NDArray[np.float32]
    detail: NDArray[np.float32]
    code: NDArray[np.float32]
    start: float
    best: float
    steps: int
    ranges: Ranges = field(default_factory=dict)
    """What comes into the generator's convolutions on the held-out pictures."""

    @property
    def portrait(self) -> dict[str, NDArray[np.float32]]:
        """The learned portrait tensors by name, batch of one."""
        return {"features": self.features, "detail": self.detail, "code": self.code}


def tune(
    network: Network,
    pictures: Clip,
    settings: TuneSettings | None = None,
    *,
    perceptual: SqueezeNetFeatures | None = None,
    tell: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Tuned:
    """Fits `network` (left as it is) to `pictures`: square pictures of one person in one framing,
    all with a face; the first is the portrait.

    Ends after settings.steps or .minutes, when `stop` says so, or at Ctrl-C; always with the
    best so far. `perceptual` sharpens the judgement where the file for it is there.
    """
    settings = settings or TuneSettings()
    tuner = _Tuner(network, pictures, settings, perceptual)
    with contextlib.suppress(KeyboardInterrupt):  # what was found so far is the result
        tuner.run(tell, stop)
    return tuner.result()


def fitted(portrait: Portrait) -> list[Tensor]:
    """The tensors of a portrait that are learned: what is read from its pixels, not they."""
    return [portrait.features, portrait.detail, portrait.code]


def with_fitted(portrait: Portrait, tensors: Sequence[Tensor]) -> Portrait:
    """The portrait with other learned tensors, in the order of `fitted`."""
    features, detail, code = tensors
    return portrait._replace(features=features, detail=detail, code=code)


class _Tuner:
    """The state of one tuning run."""

    def __init__(
        self, base: Network, pictures: Clip, settings: TuneSettings,
        perceptual: SqueezeNetFeatures | None,
    ) -> None:  # fmt: skip
        self.began = time.monotonic()
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.settings, self.perceptual = settings, perceptual
        self.device = next(base.parameters()).device
        self.bf16 = bf16_is_quicker(self.device) if settings.bf16 is None else settings.bf16
        self.base = [p.detach().clone() for p in base.parameters()]
        self.layout = quicker_layout(self.device, bf16=self.bf16)
        self.network = copy.deepcopy(base).requires_grad_(True)
        self.network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.data = Shots(
            pictures, batch=settings.batch, roaming_share=settings.roaming_share, seed=settings.seed
        )
        if self.data.alone:
            self.network.requires_grad_(False)
            self.network.generator.synthesis.requires_grad_(True)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        start = combine(self.network, self.data.sources)
        self.portrait = start
        self.tensors = [nn.Parameter(t.clone()) for t in fitted(start)]
        self.averaged_tensors = [t.detach().clone() for t in self.tensors]
        self.optimiser = torch.optim.Adam(
            [
                {
                    "params": [p for p in self.network.parameters() if p.requires_grad],
                    "lr": settings.rate,
                },
                {"params": self.tensors, "lr": settings.tensor_rate},
            ],
            betas=(0.9, 0.99),
        )
        # Made-up motions of one picture teach its mouth and gaze by heart: hardly a way at all.
        weights_rate = settings.rate / 100 if self.data.alone else settings.rate
        self.rates = (weights_rate, settings.tensor_rate)
        self.step = 0
        self.held = [self._here(default_collate([s])) for s in self.data.held_out]
        self.before: list[Tensor] = []
        self.start, self.before = self._judge()
        self.best = self.start
        self.kept = self._snapshot()

    def run(self, tell: Callable[[Progress], None] | None, stop: Callable[[], bool]) -> None:
        settings, share = self.settings, 0.0
        for fixed, raw in self.data.batches():
            for group, rate in zip(
                self.optimiser.param_groups, self.rates, strict=True
            ):  # warm up, then a line down: the end must not depend on the last batch
                group["lr"] = rate * min(1.0, (self.step + 1) / 10) * (1.05 - share)
            loss = self._learn(self._here(raw), fixed)
            self.step += 1
            spent = (time.monotonic() - self.began) / (60 * settings.minutes)
            share = min(1.0, max(spent, self.step / settings.steps))
            done = share >= 1 or stop()
            if done or self.step % settings.judge_every == 0:
                score, results = self._judge()
                if score < self.best:
                    self.best, self.kept = score, self._snapshot()
                if tell:
                    marks = (loss, score, self.best, self.start)
                    tell(Progress(self.step, settings.steps, share, *marks, self._sheet(results)))
            if done:
                break

    def result(self) -> Tuned:
        state, tensors = self.kept
        tuned = Network(self.network.tier)
        tuned.load_state_dict({k: v.cpu().contiguous() for k, v in state.items()})
        features, detail, code = (t.cpu().contiguous().numpy().copy() for t in tensors)
        self.averaged.load_state_dict(state)
        self.averaged_tensors = list(tensors)
        with measuring(self.averaged.generator) as ranges:
            self._judge()
        scores = (self.start, self.best, self.step)
        return Tuned(tuned.eval(), features, detail, code, *scores, ranges)

    def _here(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        return to_device(raw, self.device, self.layout)

    def _learn(self, batch: dict[str, Tensor], fixed: bool) -> float:
        moved = self._move(batch, fixed)
        loss = _loss(batch, moved, self.perceptual, self._weight(batch))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.requires_grad], 1.0)
        self.optimiser.step()
        rate = self.optimiser.param_groups[0]["lr"]
        decay = min(self.settings.average, self.step / (self.step + 5))
        with torch.no_grad():
            weights = list(self.network.parameters())
            for weight, origin in zip(weights, self.base, strict=True):
                weight.lerp_(origin, min(1.0, self.settings.pull * rate * 10))
            for mean, now in zip(self.averaged.parameters(), weights, strict=True):
                mean.lerp_(now, 1 - decay)
            for fitted_mean, fitted_now in zip(self.averaged_tensors, self.tensors, strict=True):
                fitted_mean.lerp_(fitted_now, 1 - decay)
        return float(loss.item())

    def _move(self, batch: dict[str, Tensor], fixed: bool) -> Moved:
        mixed = (
            torch.autocast(self.device.type, torch.bfloat16)
            if self.bf16
            else contextlib.nullcontext()
        )
        with mixed:
            if fixed:
                count = len(batch["motion"])
                whole = with_fitted(self.portrait, self.tensors)
                portrait = Portrait(*(t.expand(count, *t.shape[1:]) for t in whole))
            else:
                portrait = self.network.encoder(batch["portrait"], batch["portrait_contours"])
            moved: Moved = self.network.generator(batch["contours"], batch["motion"], portrait)
        return moved

    def _weight(self, batch: dict[str, Tensor]) -> Tensor:
        """(B, 1, 256, 256): where the truth is to be believed, and how much it matters there."""
        weight = attention(batch["contours"])
        return weight - 0.99 if self.data.alone else weight

    @torch.no_grad()
    def _judge(self) -> tuple[float, list[Tensor]]:
        """The mean loss on what is held out, by the averaged weights, and the pictures."""
        total, results = 0.0, []
        for batch in self.held:
            if self.data.fixed:
                portrait = with_fitted(self.portrait, self.averaged_tensors)
            else:
                portrait = self.averaged.encoder(batch["portrait"], batch["portrait_contours"])
            moved = self.averaged.generator(batch["contours"], batch["motion"], portrait)
            weight = self._weight(batch)
            result = _compose(batch, moved)
            total += float(multiscale(weighted_l1, result, batch["target"], weight))
            total += 0.5 * float(edge_loss(result, batch["target"], weight))
            if self.perceptual is not None:
                features = self.perceptual(result), self.perceptual(batch["target"])
                total += 0.2 * float(perceptual_loss(*features, weight))
            results.append(result)
        return total / len(self.held), results

    @torch.no_grad()
    def _snapshot(self) -> tuple[dict[str, Tensor], list[Tensor]]:
        state = {k: v.clone() for k, v in self.averaged.state_dict().items()}
        if self.data.fixed:
            return state, [t.clone() for t in self.averaged_tensors]
        # No truth to fit the tensors to: they are what the encoder now says.
        return state, fitted(combine(self.averaged, self.data.sources))

    def _sheet(self, results: list[Tensor]) -> NDArray[np.uint8]:
        rows = []
        for batch, before, now in list(zip(self.held, self.before, results, strict=True))[:4]:
            row = torch.cat((batch["portrait"][:, :3], before, now, batch["target"]), 3)
            rows.append(row[0].clamp(0, 1).mul(255).byte().permute(1, 2, 0).cpu().numpy())
        sheet: NDArray[np.uint8] = np.concatenate(rows, 0)
        return sheet


def _compose(batch: dict[str, Tensor], moved: Moved) -> Tensor:
    return moved.rgb * moved.alpha + batch["background"] * (1 - moved.alpha)


def _loss(
    batch: dict[str, Tensor], moved: Moved, perceptual: SqueezeNetFeatures | None, weight: Tensor
) -> Tensor:
    """As in base training; edges stand in where there are no perceptual features."""
    truth = batch["target"]
    result = _compose(batch, moved)
    loss = 10 * multiscale(weighted_l1, result, truth, weight)
    loss = loss + 60 * multiscale(weighted_l2, result, truth, weight)
    loss = loss + 0.1 * fidelity_of_parts(result, truth, batch["contours"])
    loss = loss + 5 * edge_loss(result, truth, weight)
    loss = loss + 0.5 * (moved.alpha - batch["target_matte"]).abs().mean()
    loss = loss + 0.5 * moved.residual.abs().mean() + 0.002 * moved.mask.mean()
    loss = loss + 3 * weighted_l1(moved.painted, truth, attention(batch["contours"]) - 0.9)
    if perceptual is not None:
        with torch.no_grad():
            wanted = perceptual(truth)
        loss = loss + 2 * perceptual_loss(perceptual(result), wanted, weight)
    return loss
