"""Layers under masks whose masks are set from outside: what pruning at the start and sparse training share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from methods.pruning.masks import Mask, prunable

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Masked:
    """One layer under a mask.

    Attributes:
        name: its path in the model.
        module: the layer; its `weight` is the masked one.
        mask: what multiplies the weight.
        weight: the parameter behind the mask, which the optimiser moves.
    """

    name: str
    module: nn.Module
    mask: Mask
    weight: nn.Parameter

    @property
    def density(self) -> float:
        """Share of the weights that the mask keeps."""
        return float(self.mask.mask.double().mean())


def attach(model: nn.Module, make: Callable[[Tensor], Mask] = Mask) -> list[Masked]:
    """Put a mask of ones on every prunable layer."""
    found = []
    for name, module in prunable(model):
        mask = make(module.weight)
        parametrize.register_parametrization(module, "weight", mask)
        found.append(Masked(name, module, mask, module.parametrizations.weight.original))
    return found


def without_lowest(score: Tensor, sparsity: float) -> Tensor:
    """A mask that removes exactly round(sparsity * n) entries with the lowest scores.

    A selection, ten times faster than the sort of `masks.lowest`: for masks that are made at every step. Ties are
    broken in torch's way, the same each time.
    """
    mask = torch.ones(score.numel(), dtype=score.dtype, device=score.device)
    drop = round(sparsity * score.numel())
    mask[torch.topk(score.flatten(), drop, largest=False, sorted=False).indices] = 0.0
    return mask.view_as(score)


@torch.no_grad()
def remove_lowest(layers: Sequence[Masked], scores: Sequence[Tensor], sparsity: float) -> None:
    """Remove exactly the share `sparsity` of all weights together, those with the lowest scores."""
    whole = without_lowest(torch.cat([score.flatten() for score in scores]), sparsity)
    for layer, part in zip(layers, whole.split([score.numel() for score in scores]), strict=True):
        layer.mask.mask.copy_(part.view_as(layer.weight))


def share_of(run: Run, batches: int) -> float:
    """The share of the training budget that a few batches of scoring take."""
    return min(1.0, batches / max(1, run.recipe.steps))


def train_on(model: nn.Module, run: Run, share: float) -> nn.Module:
    """Train for `share` of the budget; the masks stay."""
    for step in run.steps(model, share=share):
        step.update()
    return model


@contextmanager
def counted_macs(layers: Sequence[Masked]) -> Iterator[dict[str, float]]:
    """Fills a dict, layer -> multiply-adds of the layer in dense form, from the last forward pass inside."""
    macs: dict[str, float] = {}

    def hook(layer: Masked) -> Callable[..., None]:
        def count(module: nn.Module, args: object, out: Tensor) -> None:
            macs[layer.name] = layer.weight.numel() * out.numel() / layer.weight.shape[0]

        return count

    handles = [layer.module.register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield macs
    finally:
        for handle in handles:
            handle.remove()


def sparse_share(layers: Sequence[Masked], macs: dict[str, float]) -> float:
    """Multiply-adds of a forward pass that skips zeros, over those of the dense one (masked layers only)."""
    return sum(layer.density * macs[layer.name] for layer in layers) / sum(macs.values())
