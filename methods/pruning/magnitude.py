"""One-shot magnitude pruning of a trained network, with or without training on."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.pruning.masks import Masks, magnitude


@dataclass(frozen=True)
class MagnitudePruning(Method):
    """Remove the smallest weights of a trained model at once, then train what is left.

    Paper: Han et al. (2015), "Learning both weights and connections", one round.
    Deviations: `finetune` is a share of the task's training budget; the schedule of the rate begins anew.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are zero")
    scope: str = knob("layer", choices=("layer", "global"), help="the lowest of each layer, or of all layers")
    finetune: float = knob(0.0, low=0.0, high=1.0, help="share of the budget that is trained after pruning")

    cpu_factor = 0.6

    def adapt(self, model, run):
        masks = Masks(model, score=magnitude, scope=self.scope)
        masks.set_sparsity(self.sparsity)
        for step in run.steps(model, share=self.finetune) if self.finetune else ():
            step.update()
        return model
