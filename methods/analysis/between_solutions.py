"""A point on the line between two finished networks: is there a barrier of loss between them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.run import MethodError
from methods.base import Method, cell, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class BetweenSolutions(Method):
    """Move the weights of one finished network along the straight line to those of another.

    Paper: Linear mode connectivity and the lottery ticket hypothesis (Frankle et al., 2020, arXiv 1912.05671),
        after Goodfellow et al. (2014, arXiv 1412.6544): W = (1 - s) W_a + s W_b.
    Deviations: none; units are not matched, since both networks of a seed begin with the same hidden weights. A
        bias that only one of the two has counts as zero in the other.
    """

    other: str = cell("baseline", help="the finished network at the end of the line")
    share: float = knob(0.5, low=0.0, high=1.0, help="of the way to the other")

    cpu_factor = 0.02

    @torch.no_grad()
    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        """The network of `start`, on its way."""
        ends = dict(run.load(self.other).named_parameters())
        own = dict(model.named_parameters())
        alien = [name for name in ends if name not in own]
        bad = [name for name, w in own.items() if name in ends and ends[name].shape != w.shape]
        if alien or bad:
            raise MethodError(
                f"no line leads to {self.other}: {(alien + bad)[0]} has no match in the start cell"
            )
        for name, weight in own.items():
            weight.lerp_(ends[name].to(weight) if name in ends else torch.zeros_like(weight), self.share)
        return model
