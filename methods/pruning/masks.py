"""Masks in the forward pass: what the unstructured pruning methods share.

A masked weight keeps its value (it is held) and gets no gradient, so it can return when others shrink below it.
The harness bakes the masks into the weights when training is over: the zeros are then exact.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

#: weight -> score of the same shape; the lowest scores are removed.
Score = Callable[[Tensor], Tensor]


class Mask(nn.Module):
    """Multiplies a weight by a mask of its shape."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer sees."""
        return weight * self.mask


def magnitude(weight: Tensor) -> Tensor:
    """The oldest score: small weights go first."""
    return weight.abs()


def lowest(score: Tensor, sparsity: float) -> Tensor:
    """A mask that removes exactly round(sparsity * n) entries, the lowest first; ties by position."""
    drop = round(sparsity * score.numel())
    mask = torch.ones(score.numel(), dtype=score.dtype, device=score.device)
    mask[torch.argsort(score.flatten(), stable=True)[:drop]] = 0.0
    return mask.view_as(score)


def prunable(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers whose weights may be removed: every linear and convolution layer; biases and norms stay."""
    return [
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)
    ]


class Masks:
    """The masks of a model, set layer by layer (each has the same sparsity) or over all layers at once."""

    def __init__(self, model: nn.Module, score: Score = magnitude, scope: str = "layer") -> None:
        self.score, self.scope = score, scope
        self.masks: list[tuple[Mask, Tensor]] = []
        for _, module in prunable(model):
            mask = Mask(module.weight)
            parametrize.register_parametrization(module, "weight", mask)
            self.masks.append((mask, module.parametrizations.weight.original))

    @torch.no_grad()
    def set_sparsity(self, sparsity: float) -> None:
        """Score the held weights and remove the lowest share."""
        scores = [self.score(weight.detach()) for _, weight in self.masks]
        if self.scope == "global":
            whole = lowest(torch.cat([score.flatten() for score in scores]), sparsity)
            parts = whole.split([score.numel() for score in scores])
            masks = [part.view_as(score) for part, score in zip(parts, scores, strict=True)]
        else:
            masks = [lowest(score, sparsity) for score in scores]
        for (holder, _), mask in zip(self.masks, masks, strict=True):
            holder.mask.copy_(mask)
