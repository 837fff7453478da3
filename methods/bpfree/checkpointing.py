"""Activation checkpointing: backpropagation that holds fewer activations and computes them twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from methods.base import Method, knob
from methods.bpfree.local import Loss, split

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Checkpointing(Method):
    """Backpropagation that keeps the activations at a few places and computes those between them again.

    Paper: Training Deep Nets with Sublinear Memory Cost (Chen et al., 2016, arXiv 1604.06174): about sqrt(L)
        segments of L layers, each run again in the backward pass; weights after training are backpropagation's,
        bit for bit.
    Deviations: none; torch's own `checkpoint`. It is the rival where a method without backpropagation is said to
        need less memory. Gradients and the optimiser's moments of all layers stay: it spares activations alone.
    """

    segments: int | None = knob(
        None, low=1, high=64, help="of the hidden layers; empty: the root of their number"
    )

    cpu_factor = 1.35

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """The task's own training with another backward pass."""
        for step in run.steps(model, loss=self.loss(model, run)):
            step.update()
        return model

    def loss(self, model: nn.Module, run: Run) -> Loss:
        """The task's loss through segments that keep their input alone."""
        hidden, last = split(model)
        pieces = cut(hidden, self.segments or round(math.sqrt(len(hidden))))

        def network(x: Tensor) -> Tensor:
            for piece in pieces:
                x = checkpoint(piece, x, use_reentrant=False, preserve_rng_state=False)
            return last(x)

        def loss(_: nn.Module, batch: Any) -> Tensor:
            return run.task.loss(network, batch)

        return loss


def cut(layers: Sequence[nn.Module], pieces: int) -> list[nn.Sequential]:
    """Layers with ReLU after each, in `pieces` segments of nearly equal length."""
    pieces = min(pieces, len(layers))
    edges = [len(layers) * at // pieces for at in range(pieces + 1)]
    return [
        nn.Sequential(*(part for layer in layers[a:b] for part in (layer, nn.ReLU())))
        for a, b in zip(edges, edges[1:], strict=False)
    ]
