"""N:M sparsity: of every M consecutive inputs of a weight, N stay."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def grouped(weight: Tensor, group: int) -> Tensor:
    """A weight [outputs, inputs, ...] as rows of `group` consecutive inputs at one place, a copy [rows, group]."""
    return weight.movedim(1, -1).reshape(-1, group)


def ungrouped(rows: Tensor, like: Tensor) -> Tensor:
    """What `grouped` took apart, in the shape of the weight `like`."""
    return rows.reshape(like.movedim(1, -1).shape).movedim(-1, 1)


def highest_in_groups(score: Tensor, keep: int, group: int) -> Tensor:
    """A mask that keeps exactly `keep` of every `group` consecutive inputs, the highest; ties by position."""
    rows = grouped(score, group)
    above = torch.zeros(rows.shape, dtype=torch.int16, device=score.device)  # how many stand before each
    for place in range(group):
        other = rows[:, place : place + 1]
        above += other > rows
        above[:, place + 1 :] += other == rows[:, place + 1 :]
    return ungrouped((above < keep).to(score), score)


def divisible(module: nn.Module, group: int) -> bool:
    """True where the layer's inputs can be cut into groups."""
    return bool(module.weight.shape[1] % group == 0)  # type: ignore[union-attr, index]


class StraightThrough(torch.autograd.Function):
    """W -> M * W with gradient g + decay * (1 - M) * W (SR-STE, Zhou et al., 2021); decay 0 is plain STE."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, decay: float) -> Tensor:
        """The weight that the layer sees."""
        ctx.save_for_backward(weight, mask)
        ctx.decay = decay
        return weight * mask

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """All weights get the gradient; those that the mask removes are pulled to zero besides."""
        weight, mask = ctx.saved_tensors
        return gradient + ctx.decay * (1.0 - mask) * weight, None, None


class NmMask(nn.Module):
    """A parametrisation that keeps the N largest of every M inputs, chosen anew at each call."""

    def __init__(self, keep: int, group: int, decay: float) -> None:
        super().__init__()
        self.keep, self.group, self.decay = keep, group, decay

    def mask(self, weight: Tensor) -> Tensor:
        """Ones and zeros of the weight's shape."""
        return highest_in_groups(weight.detach().abs(), self.keep, self.group)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer sees."""
        return StraightThrough.apply(weight, self.mask(weight), self.decay)
