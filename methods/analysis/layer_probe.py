"""A readout of one layer: what a network knows after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from benchmarks.run import MethodError
from methods.base import Method, knob
from methods.bpfree.local import Readout, split

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class LayerProbe(Method):
    """Cut a finished network after a hidden layer and train a linear readout of that layer.

    Paper: Understanding intermediate layers using linear classifier probes (Alain and Bengio, 2016,
        arXiv 1610.01644): softmax(W h_k + b), trained with h_k fixed.
    Deviations: the task's AdamW and schedule. Layers above become identities, which ReLU passes on unchanged, so
        the cut network is a shorter one, and is counted as that.
    """

    layer: int = knob(1, low=1, high=64, help="the hidden layer that is read, from 1")

    cpu_factor = 0.3

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        """The network up to the layer, and its readout."""
        hidden, last = split(model)
        if self.layer > len(hidden):
            raise MethodError(f"layer {self.layer}: the network has {len(hidden)} hidden layers")
        kept = hidden[: self.layer]
        fresh = nn.Linear(kept[-1].out_features, last.out_features).to(last.weight.device)
        for at in range(self.layer, len(hidden)):
            model.layers[at] = nn.Identity()
        model.layers[-1] = fresh
        for step in run.steps(Readout(kept, fresh), phase="readout"):
            step.update()
        return model
