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
import csv
import os
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset

from calibrate.data import PairDataset, open_cache
from calibrate.discriminator import PatchDiscriminator
from calibrate.losses import (
    SqueezeNetFeatures,
    attention,
    feature_matching,
    hinge_discriminator,
    hinge_generator,
    multiscale_l1,
    perceptual_loss,
    weighted_l1,
)
from engines.network import Moved, Network
from puppet.draw import DRAW_STYLE


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what is learned; stored in the checkpoint."""

    tier: str = "small"
    seed: int = 1
    batch: int = 8
    """Pairs per step over all processes together."""
    steps: int = 200_000
    """Length of the learning-rate schedule."""
    rate: float = 3e-4
    warmup: int = 300
    stills_share: float = 0.15
    l1: float = 10.0
    perceptual: float = 2.0
    alpha: float = 0.5
    small_residual: float = 0.5
    small_mask: float = 0.002
    painted: float = 3.0
    """L1 on what the synthesis would show at eyes and mouth, whatever its mask: without it the
    mask closes before there is anything worth showing."""
    adversarial_from: int = 1_000_000
    """Step from which the discriminator takes part."""
    adversarial: float = 0.05
    matching: float = 0.5
    average: float = 0.999
    """Decay of the weights' moving average, shorter at the start."""


def main() -> None:
    arguments = parse()
    # --- where this process stands among others, and on what device it works
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
    else:
        torch.set_num_threads(arguments.threads)
    recipe = arguments.recipe
    if recipe.batch % world:
        raise SystemExit(f"batch {recipe.batch} does not divide by {world} processes")
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)

    # --- the networks
    network = Network(recipe.tier).to(device, memory_format=torch.channels_last)
    judge = PatchDiscriminator().to(device, memory_format=torch.channels_last)
    perceptual = SqueezeNetFeatures(arguments.squeezenet).to(device)
    perceptual = perceptual.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.rate, (0.9, 0.99), weight_decay=0.01)
    judge_optimiser = torch.optim.Adam(judge.parameters(), 2e-4, (0.5, 0.99))
    step = 0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        judge.load_state_dict(state["judge"])
        optimiser.load_state_dict(state["optimiser"])
        judge_optimiser.load_state_dict(state["judge_optimiser"])
        step = state["step"]
    elif arguments.start_from is not None:
        weights = load_file(arguments.start_from)
        network.load_state_dict({k: v.float() for k, v in weights.items()})
        averaged.load_state_dict(network.state_dict())
    trained: nn.Module = network
    if world > 1:
        trained = nn.parallel.DistributedDataParallel(network, find_unused_parameters=False)

    # --- the data: sample i is the same whatever the number of processes, and after a restart
    stills = open_cache(arguments.stills) if arguments.stills else []
    last = min(recipe.steps, step + arguments.max_steps)
    pairs = PairDataset(
        open_cache(arguments.cache), stills, length=recipe.steps * recipe.batch,
        seed=recipe.seed, stills_share=recipe.stills_share,
    )  # fmt: skip
    share = recipe.batch // world
    indices = [s * recipe.batch + rank * share + i for s in range(step, last) for i in range(share)]
    loader = DataLoader(
        Subset(pairs, indices), batch_size=share, num_workers=arguments.workers,
        pin_memory=device.type == "cuda", prefetch_factor=4 if arguments.workers else None,
        persistent_workers=arguments.workers > 0,
        worker_init_fn=_one_thread,
    )  # fmt: skip

    mixed = torch.autocast(device.type, torch.bfloat16) if arguments.bf16 else nullcontext()
    log = CsvLog(out / "log.csv") if rank == 0 else None
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(), disable=rank != 0 or arguments.quiet, refresh_per_second=1,
    )  # fmt: skip
    deadline = time.monotonic() + 60 * arguments.minutes
    saved_at = time.monotonic()
    with bar:
        task = bar.add_task("training", total=last, completed=step)
        for raw in loader:
            batch = to_device(raw, device)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(recipe, step)
            adversarial = step >= recipe.adversarial_from

            with mixed:
                moved: Moved = trained(
                    batch["portrait"], batch["portrait_contours"], batch["contours"],
                    batch["motion"],
                )  # fmt: skip
            result = moved.rgb * moved.alpha + batch["background"] * (1 - moved.alpha)
            truth, weight = batch["target"], attention(batch["contours"])
            with mixed:
                with torch.no_grad():
                    truth_features = perceptual(truth)
                result_features = perceptual(result)
            terms = {
                "l1": recipe.l1 * multiscale_l1(result, truth, weight),
                "perceptual": recipe.perceptual
                * perceptual_loss(result_features, truth_features, weight),
                "alpha": recipe.alpha * (moved.alpha - batch["target_matte"]).abs().mean(),
                "residual": recipe.small_residual * moved.residual.abs().mean(),
                "painted": recipe.painted * weighted_l1(moved.painted, truth, weight - 0.9),
                "mask": recipe.small_mask * moved.mask.mean(),
            }
            if adversarial:
                judge.requires_grad_(False)
                with mixed:
                    fake = judge(result, batch["contours"])
                    with torch.no_grad():
                        real = judge(truth, batch["contours"])
                terms["adversarial"] = recipe.adversarial * hinge_generator(fake.scores)
                terms["matching"] = recipe.matching * feature_matching(real.features, fake.features)
            loss = torch.stack(tuple(terms.values())).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()

            if adversarial:
                judge.requires_grad_(True)
                with mixed:
                    real = judge(truth, batch["contours"])
                    fake = judge(result.detach(), batch["contours"])
                judged = hinge_discriminator(real.scores, fake.scores)
                judge_optimiser.zero_grad(set_to_none=True)
                judged.backward()
                if world > 1:  # the judge is small: averaging by hand keeps it out of DDP
                    average_gradients(judge, world)
                judge_optimiser.step()
                terms["judge"] = judged

            step += 1
            decay = min(recipe.average, step / (step + 20))
            with torch.no_grad():
                for a, b in zip(averaged.parameters(), network.parameters(), strict=True):
                    a.lerp_(b, 1 - decay)
            if log and step % arguments.log_every == 0:
                row = {k: v.item() for k, v in terms.items()}  # the only wait for the GPU
                log.write(step, row)
                bar.update(task, completed=step, description=f"loss {sum(row.values()):.3f}")
            out_of_time = agree(time.monotonic() > deadline, world, device)
            due = time.monotonic() - saved_at > 60 * arguments.save_minutes
            if rank == 0 and (due or out_of_time or step == last):
                save_preview(out / "preview.png", batch, result.detach(), moved)
                save(out, recipe, step, network, averaged, judge, optimiser, judge_optimiser)
                saved_at = time.monotonic()
            if out_of_time:
                break
    if world > 1:
        dist.destroy_process_group()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Base training of the generator.")
    parser.add_argument("--cache", type=Path, required=True, help="cached clips")
    parser.add_argument("--stills", type=Path, help="cached stills, for synthetic motion")
    parser.add_argument("--squeezenet", type=Path, required=True, help="SqueezeNet v1.0 .npz")
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--start-from", type=Path, help="weights to start a new run from")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after this time")
    parser.add_argument("--max-steps", type=int, default=10**9, help="stop after so many more")
    parser.add_argument("--save-minutes", type=float, default=5)
    parser.add_argument("--log-every", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare samples")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of this process")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    for field in fields(Recipe):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=type(field.default), default=field.default)
    arguments = parser.parse_args()
    arguments.recipe = Recipe(**{f.name: getattr(arguments, f.name) for f in fields(Recipe)})
    return arguments


def to_device(raw: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Bytes travel, floats are made on the device: pictures to (B, C, H, W) in [0, 1]."""

    def picture(name: str) -> Tensor:
        x = raw[name].to(device, non_blocking=True)
        x = x[..., None] if x.dim() == 3 else x
        return x.permute(0, 3, 1, 2).float() / 255

    return {
        "portrait": torch.cat((picture("portrait"), picture("matte")), 1),
        "background": picture("background"),
        "portrait_contours": picture("portrait_contours"),
        "contours": picture("contours"),
        "motion": raw["motion"].to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous(),
        "target": picture("target"),
        "target_matte": picture("target_matte"),
    }


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine down to a twentieth."""
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    done = min(1.0, (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup))
    return recipe.rate * (0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * done))))


def average_gradients(module: nn.Module, world: int) -> None:
    for parameter in module.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world


def agree(flag: bool, world: int, device: torch.device) -> bool:
    """True on every process as soon as it is true on one: none may stop alone."""
    if world == 1:
        return flag
    votes = torch.tensor(float(flag), device=device)
    dist.all_reduce(votes)
    return bool(votes.item() > 0)


def save(
    out: Path, recipe: Recipe, step: int, network: nn.Module, averaged: nn.Module,
    judge: nn.Module, optimiser: torch.optim.Optimizer, judge_optimiser: torch.optim.Optimizer,
) -> None:  # fmt: skip
    """Writes beside and renames: a kill or a full disk leaves the previous checkpoint whole."""
    state: dict[str, Any] = {
        "recipe": asdict(recipe), "draw_style": DRAW_STYLE, "step": step,
        "network": network.state_dict(), "averaged": averaged.state_dict(),
        "judge": judge.state_dict(), "optimiser": optimiser.state_dict(),
        "judge_optimiser": judge_optimiser.state_dict(),
    }  # fmt: skip
    torch.save(state, out / "checkpoint.part")
    weights = {k: v.half().contiguous() for k, v in averaged.state_dict().items()}
    metadata = {"tier": recipe.tier, "draw_style": DRAW_STYLE, "step": str(step)}
    save_file(weights, out / "weights.part", metadata)
    os.replace(out / "checkpoint.part", out / "checkpoint.pt")
    os.replace(out / "weights.part", out / "weights.safetensors")


def save_preview(path: Path, batch: dict[str, Tensor], result: Tensor, moved: Moved) -> None:
    """Rows of portrait, contours, result, truth, kept motion, mask, alpha."""

    def strip(x: Tensor) -> np.ndarray[Any, Any]:
        x = F.interpolate(x[:8].detach().float(), size=(128, 128), mode="area")
        x = x.expand(-1, 3, -1, -1)
        picture = (x.clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return np.concatenate(picture, 0)

    columns = (
        batch["portrait"][:, :3], batch["contours"], result, batch["target"], moved.keep / 2,
        moved.mask, moved.alpha,
    )  # fmt: skip
    sheet = np.concatenate([strip(x) for x in columns], 1)
    part = path.with_suffix(".part.png")
    cv2.imwrite(str(part), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    os.replace(part, path)


class CsvLog:
    """Appends rows `step, term, value`, readable while the run goes on."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", newline="")
        self._writer = csv.writer(self._file)

    def write(self, step: int, terms: dict[str, float]) -> None:
        for name, value in terms.items():
            self._writer.writerow((step, name, f"{value:.6f}"))
        self._file.flush()


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
