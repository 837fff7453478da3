"""SNIP: remove, before training, the connections that the loss feels least."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.pruning.attached import attach, remove_lowest, share_of, train_on


@dataclass(frozen=True)
class Snip(Method):
    """Prune once at initialisation by connection sensitivity, then train what is left.

    Paper: SNIP (Lee, Ajanthan and Torr, 2019), equations 4 to 6: with connections c = 1 on weights w,
        s_j = |dL/dc_j| / sum |dL/dc| = |g_j w_j| / sum, on one batch; the highest over all layers stay.
    Deviations: torch's own initialisation in place of variance scaling; the batches of the score are taken
        from the training budget.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are removed")
    batches: int = knob(1, low=1, help="training batches of the score")

    cpu_factor = 1.2

    def fit(self, model, run):
        layers, share = attach(model), share_of(run, self.batches)
        for batch in run.batches(phase="scores", share=share):
            loss = run.task.loss(model, batch)
            run.report(loss, phase="scores")
            loss.backward()
        scores = [(layer.weight * layer.weight.grad).abs() for layer in layers]
        model.zero_grad(set_to_none=True)
        remove_lowest(layers, scores, self.sparsity)
        return train_on(model, run, 1.0 - share)
