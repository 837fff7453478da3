"""Wanda: remove the weights that matter least to the layer's output, by weight and activation."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.pruning.reconstruction import lowest_in_rows, prune_in_turn, usable_group


@dataclass(frozen=True)
class Wanda(Method):
    """Score |W_ij| times the norm of input j over calibration data; remove the lowest of each output row.

    Paper: Wanda (Sun, Liu, Bair and Kolter, 2023), equation 1: S_ij = |W_ij| * ||X_j||_2, ranked within each row
        (N:M: within each group of M inputs); no weight is updated.
    Deviations: convolutions are pruned as matrices over patches; rows that groups do not divide are ranked whole.
    """

    sparsity: float = knob(0.5, low=0.0, high=0.999, help="share of each row that is removed")
    group: int = knob(
        0, low=0, high=64, help="consecutive inputs that are ranked together (4 for 2:4); 0: a row"
    )
    batches: int = knob(16, low=1, help="training batches for calibration")

    cpu_factor = 0.1

    def adapt(self, model, run):
        def prune(weight, moments):
            group = usable_group(weight.shape[1], self.group)
            return weight * wanda_mask(weight, moments.norms, self.sparsity, group)

        return prune_in_turn(model, run, self.batches, False, prune)


def wanda_mask(weight, norms, sparsity, group=0):
    """The mask for W [outputs, inputs] and norms [inputs], like W."""
    return lowest_in_rows(weight.abs().double() * norms, sparsity, group).to(weight)
