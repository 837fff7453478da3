"""torch.nn.utils.prune on the same layers: the peer of one-shot magnitude pruning."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn.utils import prune

from methods.base import Method, knob
from methods.pruning.masks import prunable


@dataclass(frozen=True)
class TorchPrune(Method):
    """Let torch's own pruning remove the smallest weights of a trained model, then train what is left.

    Paper: none; torch.nn.utils.prune.l1_unstructured and global_unstructured (torch, 2019).
    Deviations: none.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are zero")
    scope: str = knob("layer", choices=("layer", "global"), help="the lowest of each layer, or of all layers")
    finetune: float = knob(0.0, low=0.0, high=1.0, help="share of the budget that is trained after pruning")

    cpu_factor = 0.6

    def adapt(self, model, run):
        layers = [(module, "weight") for _, module in prunable(model)]
        if self.scope == "global":
            prune.global_unstructured(layers, prune.L1Unstructured, amount=self.sparsity)
        else:
            for module, name in layers:
                prune.l1_unstructured(module, name, amount=self.sparsity)
        for step in run.steps(model, share=self.finetune) if self.finetune else ():
            step.update()
        for module, name in layers:
            prune.remove(module, name)
        return model
