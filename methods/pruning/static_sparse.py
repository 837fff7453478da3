"""A random sparse network from the start that never moves: what sparse training has to beat."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.pruning.growth import train_sparse


@dataclass(frozen=True)
class StaticSparse(Method):
    """Train a network under a random mask that is drawn before training and stays.

    Paper: none; the rival called "static" in RigL (Evci et al., 2020).
    Deviations: none.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are zero")
    distribution: str = knob(
        "erk", choices=("erk", "uniform"), help="density by layer: Erdos-Renyi-kernel, or alike"
    )

    cpu_factor = 1.25

    def fit(self, model, run):
        return train_sparse(model, run, self.sparsity, self.distribution, None, None)
