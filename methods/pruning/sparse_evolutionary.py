"""SET: sparse training in which weights die by magnitude and are born at random."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from methods.base import Method, knob
from methods.pruning.growth import Moves, train_sparse


@dataclass(frozen=True)
class SparseEvolutionary(Method):
    """Keep a network sparse from the start; now and then the smallest weights move to random places.

    Paper: SET (Mocanu et al., 2018), algorithm 1, under the schedule in which RigL compares it.
    Deviations: the share that moves decays by a cosine to zero at `end` (constant in the paper), and updates come
        at shares of training rather than at epochs; both as for `rigl`, so that only the place of growth differs.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are zero, all the time")
    distribution: str = knob(
        "erk", choices=("erk", "uniform"), help="density by layer: Erdos-Renyi-kernel, or alike"
    )
    every: float = knob(0.02, low=0.001, high=1.0, help="share of training between two updates of the masks")
    end: float = knob(0.75, low=0.0, high=1.0, help="share of training after which the masks stay")
    fraction: float = knob(0.3, low=0.0, high=1.0, help="share of the weights that the first updates move")

    cpu_factor = 1.3

    def fit(self, model, run):
        def growth(layer):
            return torch.from_numpy(run.rng.random(tuple(layer.weight.shape))).to(layer.weight)

        moves = Moves(self.every, self.end, self.fraction)
        return train_sparse(model, run, self.sparsity, self.distribution, moves, growth)
