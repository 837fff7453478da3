"""RigL: sparse training in which weights die by magnitude and are born where the gradient is largest."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.pruning.growth import Moves, train_sparse


@dataclass(frozen=True)
class Rigl(Method):
    """Keep a network sparse from the start; now and then the smallest weights move where the loss asks for some.

    Paper: RigL (Evci et al., 2020), algorithm 1: every dT steps until T_end the share
        f(t) = alpha / 2 (1 + cos(pi t / T_end)) of a layer's active weights with the smallest |w| is dropped, and as
        many inactive ones with the largest |gradient| grow, from zero, with cleared moments.
    Deviations: dT is a share of training, since budgets here are short; the step in which masks move also trains the
        weights that stay. The note `training_flops_share` is (3 f_s dT + 2 f_s + f_d) / (dT + 1) over 3 f_d of
        the appendix, for masked layers; here absent weights are multiplied by zero and save nothing.
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
        moves = Moves(self.every, self.end, self.fraction)
        model = train_sparse(
            model, run, self.sparsity, self.distribution, moves, lambda layer: layer.mask.dense_gradient.abs()
        )
        sparse = run.log.notes.get("forward_flops_share")
        if sparse is not None:
            between = max(1, round(self.every * run.recipe.steps))
            run.log.note(training_flops_share=(3 * sparse * between + 2 * sparse + 1) / (between + 1) / 3)
        return model
