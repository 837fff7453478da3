"""Deep supervision: Mono-Forward's losses with backpropagation through all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.base import Method, knob
from methods.bpfree.local import joint_loss, stages, train_together, with_readouts

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class DeepSupervision(Method):
    """Minimise the sum of every layer's own loss by backpropagation: Mono-Forward without the detaching.

    Paper: mono-forward, whose later ablation has it; the idea: Deeply-Supervised Nets (Lee et al., 2015).
        loss = sum_i CE(softmax(a_i M_i^T), y), with a_i = relu(W_i a_(i-1) + b_i) and nothing detached
    It differs from `mono_forward(order=together)` in that alone, so the two isolate what detaching does.
    Deviations: all losses weigh the same through the whole training, where Lee et al. let the early ones
        fade; linear readouts with cross-entropy, as Mono-Forward's, in place of their squared hinge losses.
    """

    prediction: str = knob(
        "last", choices=("last", "sum"), help="what answers: the last layer, or the sum of all layers"
    )

    cpu_factor = 1.05

    def build(self, run: Run) -> nn.Module:
        """The task's network with M_L as its last layer."""
        return with_readouts(run.task.model(run, width=self.width), self.prediction)

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """All losses, all layers, every step."""
        parts = stages(model)
        train_together(run, parts, joint_loss(run, parts))
        return model
