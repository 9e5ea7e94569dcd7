"""Momentum whose steps are orthogonal matrices: every direction of a layer learns alike fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter

BY_ADAM = ("at_128", "contours_128", "paint", "decide", "film", "to_code")
"""Layers next to the network's inputs and outputs, whose directions are not alike."""
_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients that lift small singular values fast and leave all of them near 1."""
_ITERATIONS = 5
_LIKE_ADAM = 0.2
"""Root mean square of an Adam step, so that both learn at the same rate."""


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) with Nesterov momentum and decoupled weight decay, for the
    weights of hidden convolutions, taken as matrices of outputs times everything that feeds one.
    Steps are scaled as Liu et al. 2025 ("Muon is scalable for LLM training", section 2.2) do it,
    which lets it share the rate of AdamW. torch's own takes two-dimensional weights only.
    """

    def __init__(
        self, parameters: Iterable[Parameter], rate: float, momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:  # fmt: skip
        defaults = {"lr": rate, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "this optimiser takes one gradient a step"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Parameter, group: dict[str, Any]) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
        way = orthogonal(gradient.lerp(momentum, group["momentum"]).flatten(1))
        length = _LIKE_ADAM * math.sqrt(max(way.shape))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(way.view(parameter.shape), alpha=-group["lr"] * length)


def orthogonal(matrix: Tensor) -> Tensor:
    """A float32 matrix with the singular vectors of `matrix` (m, n) and singular values between
    0.7 and 1.2, by Newton-Schulz iteration."""
    a, b, c = _QUINTIC
    x = matrix.float()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.T if tall else x
    return result


def hidden_weights(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights of convolutions between features, and all other parameters."""
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        between = parameter.dim() == 4 and not set(name.split(".")) & set(BY_ADAM)
        (hidden if between else rest).append(parameter)
    return hidden, rest
