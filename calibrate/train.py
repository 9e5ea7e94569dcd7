"""Base training of the generator over many people. Reads top to bottom.

    python -m calibrate.train --cache CACHE --squeezenet SQUEEZENET.npz --out RUN --minutes 60
    torchrun --nproc_per_node 2 -m calibrate.train ...      # one process per core or GPU

CACHE is what `python -m calibrate.cache` made. RUN receives `checkpoint.pt` (everything needed to
go on exactly), `weights.safetensors` (the averaged weights that ship), `log.csv` and
`preview.png`. A run that finds a checkpoint in RUN goes on from it; a kill loses at most the
steps since the last one.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import cv2
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

import calibrate.triton_first  # noqa: F401 (for its effect)
from calibrate.batch import to_device
from calibrate.combine import SeveralSources
from calibrate.data import WINDOW, PairDataset, open_cache
from calibrate.discriminator import PatchDiscriminator
from calibrate.journal import CsvLog, save_preview
from calibrate.losses import (
    SqueezeNetFeatures,
    attention,
    edge_loss,
    feature_matching,
    fidelity_of_parts,
    hinge_discriminator,
    hinge_generator,
    multiscale,
    perceptual_loss,
    weighted_l1,
    weighted_l2,
    windows,
)
from calibrate.muon import Muon, hidden_weights
from calibrate.near import judge_window, part_around
from calibrate.precision import bf16_is_quicker, quicker_layout
from calibrate.processes import Place, agree, average_gradients, join_processes, leave_processes
from calibrate.recipe import LEARNED_TEETH, Recipe, learning_rate
from calibrate.trained import load_trained, save_trained
from engines.contract import SpecMismatch
from engines.network import Moved, Network
from puppet.draw import DRAW_STYLE

CHECKPOINT_PARTS = ("network", "averaged", "judge", "optimiser", "muon", "judge_optimiser")
_log = logging.getLogger(__name__)
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def main(arguments: list[str] | None = None) -> None:
    given = parse(arguments)
    recipe: Recipe = given.recipe
    place = join_processes(given.threads)
    if recipe.batch % place.world:
        raise SystemExit(f"batch {recipe.batch} does not divide by {place.world} processes")
    if recipe.whole_every < 1:
        raise SystemExit(
            f"--whole-every {recipe.whole_every}: 1 learns whole pictures only, N one in N"
        )
    given.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    bf16 = bf16_is_quicker(place.device) if given.bf16 is None else given.bf16
    bf16 = agree(float(bf16), place) > 0
    mixed = torch.autocast(place.device.type, torch.bfloat16) if bf16 else nullcontext()
    layout = quicker_layout(place.device, bf16=bf16)
    run = Run(recipe, place.device, perceptual=given.squeezenet, layout=layout)
    checkpoint = given.out / "checkpoint.pt"
    if checkpoint.exists():
        run.restore(checkpoint)
    elif given.start_from is not None:
        run.start_from(given.start_from)
    run.spread(place.world)

    last = min(recipe.steps, run.step + given.max_steps)
    loader = open_loader(given, run.step, last, place)
    log = CsvLog(given.out / "log.csv") if place.rank == 0 else None
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), disable=place.rank != 0 or given.quiet, refresh_per_second=1,
    )  # fmt: skip
    began = saved_at = time.monotonic()
    spent = 0.0  # of the time there is
    with bar:
        task = bar.add_task("training", total=last, completed=run.step)
        for raw in loader:
            batch = to_device(raw, place.device, layout)
            seen, result, moved, terms = run.learn(batch, mixed, spent if given.anneal else 0.0)
            if log and run.step % given.log_every == 0:
                row = {k: v.item() for k, v in terms.items()}  # the only wait for the GPU
                log.write(run.step, row)
                bar.update(task, completed=run.step, description=f"loss {sum(row.values()):.3f}")
            spent = agree((time.monotonic() - began) / max(1e-9, 60 * given.minutes), place)
            out_of_time = spent >= 1
            due = time.monotonic() - saved_at > 60 * given.save_minutes
            if place.rank == 0 and (due or out_of_time or run.step == last):
                save_preview(given.out / "preview.png", seen, result, moved)
                run.save(given.out)
                saved_at = time.monotonic()
            if out_of_time:
                break
    if place.world > 1:
        run.part()
        leave_processes()


def open_loader(
    given: argparse.Namespace, step: int, last: int, place: Place
) -> DataLoader[dict[str, Any]]:
    """This process's share of the batches of steps `step` to `last`: sample i is the same
    whatever the number of processes, and after a restart."""
    recipe: Recipe = given.recipe
    stills = open_cache(given.stills) if given.stills else []
    pairs = PairDataset(
        open_cache(given.cache), stills, length=recipe.steps * recipe.batch, seed=recipe.seed,
        stills_share=recipe.stills_share, sources=recipe.sources,
        foreground_share=recipe.foreground_share, shown=LEARNED_TEETH,
    )  # fmt: skip
    share = recipe.batch // place.world
    first = place.rank * share
    indices = [s * recipe.batch + first + i for s in range(step, last) for i in range(share)]
    return DataLoader(
        Subset(pairs, indices), batch_size=share, num_workers=given.workers,
        pin_memory=place.device.type == "cuda", prefetch_factor=4 if given.workers else None,
        persistent_workers=given.workers > 0, worker_init_fn=_one_thread,
    )  # fmt: skip


class Run:
    """The networks, their optimisers and the step they are at."""

    def __init__(
        self, recipe: Recipe, device: torch.device, *, perceptual: Path | None,
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:  # fmt: skip
        def place(module: ModuleT) -> ModuleT:
            module.to(device, memory_format=layout)  # type: ignore[call-overload]
            return module

        self.recipe, self.step, self.world = recipe, 0, 1
        self.network = place(Network(recipe.tier))
        self.judge = place(PatchDiscriminator())
        self.perceptual = None if perceptual is None else place(SqueezeNetFeatures(perceptual))
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        hidden, rest = hidden_weights(self.network)
        self.muon = Muon(hidden, recipe.rate)
        self.optimiser = torch.optim.AdamW(rest, recipe.rate, (0.9, 0.99), weight_decay=0.01)
        self.judge_optimiser = torch.optim.Adam(self.judge.parameters(), 2e-4, (0.5, 0.99))
        self.trained: nn.Module = SeveralSources(self.network)

    def spread(self, world: int) -> None:
        """From here on gradients are averaged over so many processes."""
        self.world = world
        if world > 1:
            self.trained = nn.parallel.DistributedDataParallel(self.trained)

    def part(self) -> None:
        """From here on alone again; lets go of what averages gradients."""
        self.world, self.trained = 1, SeveralSources(self.network)

    def learn(
        self, batch: dict[str, Tensor], mixed: AbstractContextManager[Any], spent: float = 0.0
    ) -> tuple[dict[str, Tensor], Tensor, Moved, dict[str, Tensor]]:
        """One step: what of the batch was judged, the pictures, what made them, and the terms of
        the loss.

        `spent`: share of the session's time, where the learning rate is to follow that."""
        recipe = self.recipe
        for group in self.optimiser.param_groups + self.muon.param_groups:
            group["lr"] = learning_rate(recipe, self.step, spent)
        adversarial = self.step >= recipe.adversarial_from
        near = self.step % recipe.whole_every != 0
        corners = part_around(batch["window"]) if near else None
        with mixed:
            moved: Moved = self.trained(
                batch["portrait"], batch["portrait_contours"], batch["contours"],
                batch["motion"], batch.get("extra"), batch.get("extra_weight"), corners,
            )  # fmt: skip
        if corners is not None:
            moved, batch = judge_window(moved, batch, corners)
        result = moved.rgb * moved.alpha + batch["background"] * (1 - moved.alpha)
        terms = self._terms(batch, moved, result, mixed)
        if adversarial:
            terms |= self._adversarial_terms(batch, result, mixed)
        loss = torch.stack(tuple(terms.values())).sum()
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.muon.step()
        if adversarial:
            terms["judge"] = self._teach_judge(batch, result.detach(), mixed)
        self.step += 1
        decay = min(recipe.average, self.step / (self.step + 20))
        with torch.no_grad():
            pairs = zip(self.averaged.parameters(), self.network.parameters(), strict=True)
            for mean, now in pairs:
                mean.lerp_(now, 1 - decay)
        return batch, result.detach(), moved, terms

    def _terms(
        self, batch: dict[str, Tensor], moved: Moved, result: Tensor,
        mixed: AbstractContextManager[Any],
    ) -> dict[str, Tensor]:  # fmt: skip
        recipe = self.recipe
        truth = batch["target"]
        weight = attention(batch["contours"], recipe.attention)
        terms = {
            "l1": recipe.l1 * multiscale(weighted_l1, result, truth, weight),
            "l2": recipe.l2 * multiscale(weighted_l2, result, truth, weight),
            "fidelity": recipe.fidelity * fidelity_of_parts(result, truth, batch["contours"]),
        }
        if self.perceptual is not None:
            # A part of the picture: the whole would take a third of a step on a CPU.
            close = attention(batch["contours"], recipe.attention, recipe.eyes_seen)
            seen, wanted, near_weight = (
                windows(x, batch["window"], WINDOW) for x in (result, truth, close)
            )
            with mixed:
                with torch.no_grad():
                    truth_features = self.perceptual(wanted)
                result_features = self.perceptual(seen)
            near = perceptual_loss(result_features, truth_features, near_weight)
            terms["perceptual"] = recipe.perceptual * near
        else:
            terms["edges"] = 0.5 * recipe.l1 * edge_loss(result, truth, weight)
        return terms | {
            "alpha": recipe.alpha * (moved.alpha - batch["target_matte"]).abs().mean(),
            "residual": recipe.small_residual * moved.residual.abs().mean(),
            "painted": recipe.painted * weighted_l1(moved.painted, truth, weight - 0.9),
            "mask": recipe.small_mask * moved.mask.mean(),
        }

    def _adversarial_terms(
        self, batch: dict[str, Tensor], result: Tensor, mixed: AbstractContextManager[Any]
    ) -> dict[str, Tensor]:
        self.judge.requires_grad_(False)
        with mixed:
            fake = self.judge(result, batch["contours"])
            with torch.no_grad():
                real = self.judge(batch["target"], batch["contours"])
        matching = feature_matching(real.features, fake.features)
        return {
            "adversarial": self.recipe.adversarial * hinge_generator(fake.scores),
            "matching": self.recipe.matching * matching,
        }

    def _teach_judge(
        self, batch: dict[str, Tensor], result: Tensor, mixed: AbstractContextManager[Any]
    ) -> Tensor:
        self.judge.requires_grad_(True)
        with mixed:
            real = self.judge(batch["target"], batch["contours"])
            fake = self.judge(result, batch["contours"])
        judged = hinge_discriminator(real.scores, fake.scores)
        self.judge_optimiser.zero_grad(set_to_none=True)
        judged.backward()  # type: ignore[no-untyped-call]
        if self.world > 1:  # the judge is small: averaging by hand keeps it out of DDP
            average_gradients(self.judge, self.world)
        self.judge_optimiser.step()
        return judged

    def start_from(self, weights: Path) -> None:
        """Begins with the weights of another run."""
        try:
            begun = load_trained(weights)
        except SpecMismatch as error:
            raise SystemExit(str(error)) from error
        if begun.tier != self.recipe.tier:
            raise SystemExit(
                f"{weights} is for the tier {begun.tier!r}, this run is for {self.recipe.tier!r}."
            )
        self.network.load_state_dict(begun.state_dict())
        self.averaged.load_state_dict(begun.state_dict())

    def restore(self, checkpoint: Path) -> None:
        """Goes on where `save` left off."""
        device = next(self.network.parameters()).device
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["draw_style"] != DRAW_STYLE:
            raise SystemExit(
                f"{checkpoint} was trained on the drawing {state['draw_style']!r}, this version "
                f"draws {DRAW_STYLE!r}: start a new run."
            )
        if missing := set(CHECKPOINT_PARTS) - set(state):
            raise SystemExit(
                f"{checkpoint} is another version's and has no {', '.join(sorted(missing))}: "
                "begin a new run with its weights (--start-from weights.safetensors)."
            )
        for name in CHECKPOINT_PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]
        changed = {k: v for k, v in asdict(self.recipe).items() if state["recipe"].get(k) != v}
        if changed:
            _log.warning("%s goes on with another recipe than it had: %s", checkpoint, changed)

    def save(self, out: Path) -> None:
        """Writes beside and renames: a kill or a full disk leaves the previous checkpoint whole."""
        state: dict[str, Any] = {
            name: getattr(self, name).state_dict() for name in CHECKPOINT_PARTS
        }
        state |= {"recipe": asdict(self.recipe), "draw_style": DRAW_STYLE, "step": self.step}
        torch.save(state, out / "checkpoint.part")
        os.replace(out / "checkpoint.part", out / "checkpoint.pt")
        save_trained(out / "weights.safetensors", self.averaged)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Base training of the generator.")
    parser.add_argument("--cache", type=Path, required=True, help="cached clips")
    parser.add_argument("--stills", type=Path, help="cached stills, for synthetic motion")
    parser.add_argument("--squeezenet", type=Path, help="SqueezeNet v1.0 .npz; edges without it")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--start-from", type=Path, help="weights to start a new run from")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after this time")
    parser.add_argument(
        "--anneal", action="store_true",
        help="bring the learning rate down with --minutes too: the run cannot be repeated exactly",
    )  # fmt: skip
    parser.add_argument("--max-steps", type=int, default=10**9, help="stop after so many more")
    parser.add_argument("--save-minutes", type=float, default=5)
    parser.add_argument("--log-every", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare samples")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of this process")
    parser.add_argument(
        "--bf16", action=argparse.BooleanOptionalAction, help="or float32; else the quicker here"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    for field in fields(Recipe):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=type(field.default), default=field.default)
    given = parser.parse_args(arguments)
    given.recipe = Recipe(**{f.name: getattr(given, f.name) for f in fields(Recipe)})
    return given


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
