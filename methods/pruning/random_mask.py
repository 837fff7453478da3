"""Random pruning: the negative control of every score."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from methods.base import Method, knob
from methods.pruning.masks import Masks
from methods.pruning.schedules import train_sparser


@dataclass(frozen=True)
class RandomPruning(Method):
    """Remove weights at random, under the schedule of gradual pruning: only the score differs.

    Paper: none; the negative control.
    Deviations: the order is drawn once a layer, so that what is gone stays gone.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are zero at the end")
    begin: float = knob(0.1, low=0.0, high=1.0, help="share of training after which pruning starts")
    end: float = knob(0.7, low=0.0, high=1.0, help="share of training after which the mask stays")
    every: int = knob(20, low=1, help="training steps between two mask updates")

    cpu_factor = 1.35

    def fit(self, model, run):
        order: dict[int, torch.Tensor] = {}

        def score(weight):
            layer = weight.data_ptr()  # layers of one shape have orders of their own
            if layer not in order:
                order[layer] = torch.from_numpy(run.rng.random(tuple(weight.shape))).to(weight)
            return order[layer]

        masks = Masks(model, score=score)
        return train_sparser(model, run, masks, self.sparsity, self.begin, self.end, self.every)
