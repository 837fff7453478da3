"""Random features: the control that every way to train hidden layers must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from methods.base import Method
from methods.bpfree.local import Readout, split

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class FrozenRandom(Method):
    """Leave the hidden layers as they were drawn and train the last layer on their activations.

    Paper: none; the control of mono-forward's catalogue entry and of every claim that hidden layers learn.
    Deviations: none; the last layer has the whole budget.
    """

    cpu_factor = 0.45

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """Only the last layer learns."""
        hidden, last = split(model)
        for step in run.steps(Readout(hidden, last), phase="readout"):
            step.update()
        return model
