"""Noise on finished weights: how flat is the minimum?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class WeightNoise(Method):
    """Add Gaussian noise to every row of every weight, as long as a share of the row.

    Paper: Visualizing the loss landscape of neural nets (Li et al., 2018, arXiv 1712.09913), section 4: a
        random direction d whose filters have the norm of the network's, d_i <- d_i |w_i| / |d_i|; w + scale d.
        Networks that differ in the scale of their layers alone thus look the same.
    Deviations: one direction a seed; biases and norms stay as they are.
    """

    scale: float = knob(0.1, low=0.0, high=10.0, help="norm of the noise over the norm of the row")

    cpu_factor = 0.02

    @torch.no_grad()
    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        """The same network, shaken."""
        random = torch.Generator().manual_seed(int(run.rng.integers(2**31)))
        for weight in model.parameters():
            if weight.dim() > 1:
                noise = torch.randn(weight.shape, generator=random).to(weight)
                rows = weight.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)
                weight += self.scale * noise * rows.view(-1, *[1] * (weight.dim() - 1))
        return model
