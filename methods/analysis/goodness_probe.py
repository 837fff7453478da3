"""What one layer of Forward-Forward says alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.run import MethodError
from methods.base import Method, cell, knob
from methods.bpfree.goodness import goodness
from methods.bpfree.labelled import LabelledMlp

if TYPE_CHECKING:
    from benchmarks.run import Run


class OneLayer(nn.Module):
    """Answers with the goodness of a network's last layer alone: [batch, inputs] -> [batch, classes]."""

    def __init__(self, net: LabelledMlp) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Every class in turn, as the whole network would do."""
        labels = torch.eye(self.net.classes, dtype=x.dtype, device=x.device)
        tried = [self.net.activities(self.net.with_label(x, one.expand(len(x), -1)))[-1] for one in labels]
        return torch.stack([goodness(h, self.net.kind) for h in tried], 1)


@dataclass(frozen=True)
class GoodnessProbe(Method):
    """Cut a network that Forward-Forward trained after a layer, and let that layer's goodness choose the label.

    Paper: The Forward-Forward Algorithm (Hinton, 2022, arXiv 2212.13345), section 3.3: the label whose goodness is
        highest, summed over layers; here of one layer.
    Deviations: none. The first layer, which the paper leaves out of the sum, can be asked as well.
    """

    start: str = cell("forward_forward", help="the trained cell that is cut")
    layer: int = knob(1, low=1, high=64, serve=True, help="the hidden layer that answers, from 1")

    cpu_factor = 0.05

    def serve(self, model: nn.Module, run: Run) -> nn.Module:
        """The network up to the layer, which answers by its goodness."""
        if not isinstance(model, LabelledMlp):
            raise MethodError("only a network of Forward-Forward has goodness: start from forward_forward")
        if self.layer > len(model.layers):
            raise MethodError(f"layer {self.layer}: the network has {len(model.layers)} hidden layers")
        model.layers = model.layers[: self.layer]
        return OneLayer(model).eval()
