"""Training with few weights from the first step on, whose places move: drop the smallest, grow others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from methods.pruning.attached import Masked, attach, counted_macs, sparse_share
from methods.pruning.distributions import DISTRIBUTIONS
from methods.pruning.masks import Mask, lowest

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from benchmarks.run import Run

#: layer -> score of its weights' shape; the highest of the inactive weights grow.
Growth = Callable[[Masked], Tensor]


class WatchedMask(Mask):
    """A mask that, when asked, remembers the gradient of the masked weight: that of absent weights, too."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(weight)
        self.watching = False
        self.dense_gradient: Tensor | None = None

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer sees."""
        seen = super().forward(weight)
        if self.watching and seen.requires_grad:
            seen.register_hook(self._add)
        return seen

    def _add(self, gradient: Tensor) -> None:
        known = self.dense_gradient
        self.dense_gradient = gradient.detach().clone() if known is None else known + gradient.detach()

    def watch(self, on: bool) -> None:
        """Begin or end to remember."""
        self.watching, self.dense_gradient = on, None


@dataclass(frozen=True)
class Moves:
    """When and how much the masks move.

    Attributes:
        every: share of training between two updates.
        end: share of training after which the masks stay.
        fraction: share of the active weights that an early update moves.
    """

    every: float
    end: float
    fraction: float

    def moved(self, progress: float) -> float:
        """Share of the active weights to move: f(t) = fraction / 2 (1 + cos(pi t / end)), 0 from `end` on."""
        if progress >= self.end:
            return 0.0
        return self.fraction / 2.0 * (1.0 + math.cos(math.pi * progress / self.end))


@torch.no_grad()
def draw_masks(layers: list[Masked], sparsity: float, distribution: str, run: Run) -> None:
    """Random masks with the density that the distribution gives each layer."""
    densities = DISTRIBUTIONS[distribution]([layer.weight.shape for layer in layers], sparsity)
    for layer, density in zip(layers, densities, strict=True):
        score = torch.from_numpy(run.rng.random(tuple(layer.weight.shape))).to(layer.weight)
        layer.mask.mask.copy_(lowest(score, 1.0 - density))


@torch.no_grad()
def move(layer: Masked, fraction: float, growth: Growth, optimizer: Optimizer) -> Tensor:
    """Drop the smallest active weights of a layer and grow as many; returns where weights are new.

    A weight that is dropped here may grow back at once, and then stays as it was (as in RigL's own code). What is new
    starts at zero, with moments of zero; what is dropped gets no gradient any more.
    """
    mask, weight = layer.mask.mask, layer.weight
    before = mask.bool()
    count = round(fraction * int(before.sum()))
    kept = before & ~_highest((-weight.abs()).masked_fill(~before, -math.inf), count)
    after = kept | _highest(growth(layer).masked_fill(kept, -math.inf), count)
    fresh = after & ~before
    weight[fresh] = 0.0
    for state in optimizer.state.get(weight, {}).values():
        if isinstance(state, Tensor) and state.shape == weight.shape:
            state[fresh] = 0.0
    mask.copy_(after)
    if weight.grad is not None:
        weight.grad.mul_(mask)
    return fresh


def _highest(score: Tensor, count: int) -> Tensor:
    """Where the `count` highest scores are."""
    chosen = torch.zeros(score.numel(), dtype=torch.bool, device=score.device)
    chosen[torch.topk(score.flatten(), count, sorted=False).indices] = True
    return chosen.view_as(score)


def train_sparse(
    model: nn.Module, run: Run, sparsity: float, distribution: str, moves: Moves | None, growth: Growth | None
) -> nn.Module:
    """Train under masks that are drawn at the start and moved by `growth`; notes what a sparse kernel would save."""
    layers = attach(model, WatchedMask)
    draw_masks(layers, sparsity, distribution, run)
    optimizer = run.task.optimizer(model, run.recipe)
    updates, watching = 0, False
    with counted_macs(layers) as macs:
        for step in run.steps(model, optimizer=optimizer):
            if watching and moves and growth:
                for layer in layers:
                    move(layer, moves.moved(step.progress), growth, optimizer)
                updates += 1
            # the step after a boundary moves: its backward pass is watched
            watching = bool(moves) and not watching and _due(moves, step.progress, updates)
            for layer in layers:
                layer.mask.watch(watching)  # type: ignore[operator]
            step.update()
    if macs:
        share = sparse_share(layers, macs)
        run.log.note(mask_updates=updates, forward_flops_share=share, training_flops_share=share)
    return model


def _due(moves: Moves | None, progress: float, updates: int) -> bool:
    """True where training has passed the next boundary of `every`, and masks still move."""
    return moves is not None and progress < moves.end and progress >= (updates + 1) * moves.every
