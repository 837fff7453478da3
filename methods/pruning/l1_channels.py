"""Filter pruning by the L1 norm: layers become really smaller."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.pruning.structured import hidden, kept_of, remove


@dataclass(frozen=True)
class L1Channels(Method):
    """Remove the filters (or neurons) with the smallest L1 norm from a trained model, then train what is left.

    Paper: Li, Kadav, Durdanovic, Samet and Graf (2017), "Pruning filters for efficient ConvNets", section 3.1: the sum
        of absolute kernel weights, filters ranked within a layer, all layers at once ("independent").
    Deviations: the same share in every layer, without the paper's sensitivity by layer; neurons of fully
        connected layers and of gated ones (gate and up together) count as filters.
    """

    sparsity: float = knob(
        0.5, low=0.0, high=0.99, help="share of the channels of each layer that is removed"
    )
    finetune: float = knob(0.0, low=0.0, high=1.0, help="share of the budget that is trained after pruning")

    cpu_factor = 0.5

    def adapt(self, model, run):
        kept = []
        for channels in hidden(model):
            rows = [model.get_submodule(path).weight.detach().flatten(1) for path in channels.producers]
            kept.append((channels, kept_of(sum(row.abs().sum(1) for row in rows), self.sparsity)))
        model = remove(model, kept)
        for step in run.steps(model, share=self.finetune) if self.finetune else ():
            step.update()
        return model
