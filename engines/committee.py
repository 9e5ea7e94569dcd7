"""Networks that were trained apart and decide together.

Every member has an encoder, a motion branch and a synthesis branch of its own and sees its own
features only; what they say of a pixel is averaged before it becomes motion and colour, so that the
portrait is warped and blended once. Trained apart, they make different mistakes, and part of these
cancels out (Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017, section 2.4). A committee can
also be trained on as one network.

Each class here takes and gives what the branch that it is made of does. What only members have,
features above all, lies one member after the other along the channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engines.branches import Encoder, MotionBranch, Portrait, SynthesisBranch


class EncoderCommittee(nn.Module):
    """Several `Encoder`s."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(Encoder() for _ in range(members))

    def forward(self, portrait: Tensor, contours: Tensor) -> Portrait:
        seen: list[Portrait] = [member(portrait, contours) for member in self.members]
        features, detail, code = (
            torch.cat(parts, 1) for parts in zip(*(each[2:] for each in seen), strict=True)
        )
        return Portrait(seen[0].portrait, seen[0].half, features, detail, code)


class MotionCommittee(nn.Module):
    """Several `MotionBranch`es."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(MotionBranch() for _ in range(members))

    def forward(
        self, contours: Tensor, motion: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        shares = features.chunk(len(self.members), 1)
        said = [
            member(contours, motion, own) for member, own in zip(self.members, shares, strict=True)
        ]
        decided, hidden, fine = zip(*said, strict=True)
        return mean(decided), torch.cat(hidden, 1), torch.cat(fine, 1)


class SynthesisCommittee(nn.Module):
    """Several `SynthesisBranch`es."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(SynthesisBranch() for _ in range(members))

    def forward(
        self, hidden: Tensor, detail: Tensor, contours: Tensor, moved: Tensor, code: Tensor
    ) -> Tensor:
        shares = (x.chunk(len(self.members), 1) for x in (hidden, detail, contours, code))
        said = [
            member(own_hidden, own_detail, own_contours, moved, own_code)
            for member, own_hidden, own_detail, own_contours, own_code in zip(
                self.members, *shares, strict=True
            )
        ]
        return mean(said)


def mean(said: Sequence[Tensor]) -> Tensor:
    """Of tensors of one shape."""
    total = said[0]
    for each in said[1:]:
        total = total + each
    return total / len(said)
