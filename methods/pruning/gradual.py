"""Gradual magnitude pruning with a cubic schedule."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.pruning.masks import Masks, magnitude
from methods.pruning.schedules import train_sparser


@dataclass(frozen=True)
class GradualPruning(Method):
    """Remove the smallest weights of each layer while the network trains.

    Paper: gradual-pruning (Zhu and Gupta, 2017), equation 1:
        s(t) = s_f + (s_i - s_f) * (1 - (t - t_0) / (n * dt)) ** 3
    Deviations: steps are shares of the training budget, since the budgets here are short; every linear layer is
        pruned, the last one too; with Adam a held weight still moves a little by old momentum, as in the authors' code.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are zero at the end")
    begin: float = knob(0.1, low=0.0, high=1.0, help="share of training after which pruning starts")
    end: float = knob(0.7, low=0.0, high=1.0, help="share of training after which the mask stays")
    every: int = knob(20, low=1, help="training steps between two mask updates")

    cpu_factor = 1.35

    def fit(self, model, run):
        masks = Masks(model, score=magnitude, scope="layer")
        return train_sparser(model, run, masks, self.sparsity, self.begin, self.end, self.every)
