"""One-shot magnitude pruning with the same sparsity in every output row: the rival of Wanda and SparseGPT."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.pruning.reconstruction import lowest_in_rows, prune_in_turn, usable_group


@dataclass(frozen=True)
class MagnitudePerRow(Method):
    """Remove the smallest weights of each output row of a trained model, without calibration or training.

    Paper: none; the ablation "magnitude, per output" of Wanda (Sun et al., 2023), in its table of metrics and
        comparison groups.
    Deviations: none.
    """

    sparsity: float = knob(0.5, low=0.0, high=0.999, help="share of each row that is removed")
    group: int = knob(
        0, low=0, high=64, help="consecutive inputs that are ranked together (4 for 2:4); 0: a row"
    )

    cpu_factor = 0.02

    def adapt(self, model, run):
        def prune(weight, moments):
            group = usable_group(weight.shape[1], self.group)
            return weight * lowest_in_rows(weight.abs(), self.sparsity, group)

        return prune_in_turn(model, run, 0, False, prune)
