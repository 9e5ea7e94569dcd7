"""Training by several processes, one to a core or GPU, as torchrun starts them: meeting, agreeing
and parting."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True, slots=True)
class Place:
    """Where this process stands among others, and on what device it works."""

    world: int
    rank: int
    device: torch.device


def join_processes(threads: int) -> Place:
    """Meets the other processes that torchrun has started, if any."""
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
    else:
        device = torch.device("cpu")
        torch.set_num_threads(threads)
    if world > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Place(world, rank, device)


def leave_processes() -> None:
    """Parts from them; whatever averages gradients has to be let go of before.

    The group's threads hold the last tensors that they were given: one of Python's that dies with
    the interpreter aborts the process, one time in six in a bare trial. So a barrier, whose
    tensor is the group's own, comes last, and nothing is left to be collected.
    """
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def average_gradients(module: nn.Module, world: int) -> None:
    for parameter in module.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world


def agree(value: float, place: Place) -> float:
    """The largest value of all processes, on every one: none may stop, or learn, by its own."""
    if place.world == 1:
        return value
    largest = torch.tensor(value, device=place.device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return float(largest.item())
