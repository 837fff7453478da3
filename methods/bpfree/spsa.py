"""SPSA: the gradient from two values of the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from methods.base import Method, knob
from methods.bpfree.local import Loss

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Spsa(Method):
    """Estimate the gradient of all weights from the loss at two points on a random line; nothing goes backwards.

    Paper: simultaneous perturbation (Spall, 1992), as in MeZO (Malladi et al., 2023, arXiv 2305.17333):
        g = (loss(w + eps v) - loss(w - eps v)) / (2 eps) v,  v ~ N(0, I), the mean over `samples` directions
    Its error grows with the number of weights, so that a network trained from scratch needs far more steps than
    by backpropagation; MeZO adapts trained ones.
    Deviations: the task's AdamW on the estimate in place of SGD; v is held, not drawn again from its seed.
    """

    samples: int = knob(1, low=1, high=1000, help="directions a step")
    eps: float = knob(1e-3, low=1e-8, high=1.0, help="how far the weights are moved along v")

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """The task's loop with the estimate in place of the gradient."""
        for step in run.steps(model, loss=self.loss(model, run)):
            step.update()
        return model

    def loss(self, model: nn.Module, run: Run) -> Loss:
        """The mean loss of the two points; the weights have their estimates when it returns."""
        weights = list(model.parameters())

        @torch.no_grad()
        def loss(_: nn.Module, batch: Any) -> Tensor:
            values: list[Tensor] = []
            for _sample in range(self.samples):
                directions = [torch.randn_like(weight) for weight in weights]
                above, below = (
                    moved(weights, directions, far, lambda: run.task.loss(model, batch))
                    for far in (self.eps, -self.eps)
                )
                slope = (above - below) / (2 * self.eps * self.samples)
                for weight, direction in zip(weights, directions, strict=True):
                    add_gradient(weight, direction * slope)
                values += [above, below]
            # the loop calls `backward`: this is a leaf, from which it goes nowhere
            return torch.stack(values).mean().requires_grad_()

        return loss


def add_gradient(weight: Any, part: Tensor) -> None:
    """Add to a weight's gradient, which may not be there yet."""
    weight.grad = part if weight.grad is None else weight.grad + part


def moved(
    weights: Sequence[Any], directions: Sequence[Tensor], far: float, value: Callable[[], Tensor]
) -> Tensor:
    """A value with the weights moved, which are then put back as they were, to the last bit."""
    before = [weight.clone() for weight in weights]
    for weight, direction in zip(weights, directions, strict=True):
        weight.add_(direction, alpha=far)
    found = value()
    for weight, old in zip(weights, before, strict=True):
        weight.copy_(old)
    return found
