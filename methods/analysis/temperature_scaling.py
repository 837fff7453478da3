"""One temperature for all logits: how much of the loss is overconfidence?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from methods.base import Method
from methods.bpfree.local import split
from methods.bpfree.networks import inputs

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Bounds of the temperature: beyond them a network knows nothing or is never wrong.
LOWEST, HIGHEST = 0.05, 20.0


@dataclass(frozen=True)
class TemperatureScaling(Method):
    """Divide the logits by the temperature that makes the validation loss least; answers stay as they are.

    Paper: On calibration of modern neural networks (Guo et al., 2017, arXiv 1706.04599), equation 9:
        softmax(z / T), T = argmin of the negative log-likelihood on validation data.
    Deviations: none; T goes into the last layer, so that nothing is added to the network.
    """

    cpu_factor = 0.02

    @torch.no_grad()
    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        """The network with a cooler or warmer last layer."""
        last = split(model)[1]
        logits = model(inputs(run, run.valid["x"])).double()
        scale = 1.0 / best_temperature(logits, run.valid["y"])
        last.weight.mul_(scale)
        if last.bias is not None:
            last.bias.mul_(scale)
        return model


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature of least loss; the loss is convex in 1 / T, so its slope has one zero, found by halving.

    Args:
        logits: float64 [items, classes].
        labels: int64 [items].
    """
    target = logits.gather(1, labels[:, None]).mean()

    def slope(beta: float) -> float:  # of the mean loss in beta = 1 / T
        return float(((beta * logits).softmax(1) * logits).sum(1).mean() - target)

    low, high = 1.0 / HIGHEST, 1.0 / LOWEST
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 2.0 / (low + high)
