"""Mono-Forward: every layer learns from a linear readout of its own activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.base import Method, knob
from methods.bpfree.local import local_loss, stages, train_in_turn, train_together, with_readouts

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class MonoForward(Method):
    """Train each layer by the cross-entropy of its own readout; no gradient passes between layers.

    Paper: mono-forward (arXiv 2509.19063, a comparison; the algorithm: arXiv 2501.09238):
        a_i = relu(W_i a_(i-1) + b_i), a_(i-1) detached;  G_i = a_i M_i^T;  loss_i = CE(softmax(G_i), y)
    As in the authors' code the layers are trained one after another, each with a fresh Adam, while the
    earlier ones are frozen and run again at every step; G_L of the last layer answers.
    Deviations: a budget of steps in place of early stopping: L layers share the task's steps, so that data
        passes are matched to backpropagation's, and `budget: L` gives each layer as many as backpropagation
        has. The task's AdamW, decay and schedule (once over each layer's share) in place of plain Adam at a
        constant rate, and torch's default biases in place of zeros: all as the baseline has them. `together`
        has one schedule for all layers and updates all of them with each batch. There is no readout of the
        raw input (M_0 in the code; the published runs leave it out).
    """

    prediction: str = knob(
        "last", choices=("last", "sum"), help="what answers: the last layer, or the sum of all layers"
    )
    order: str = knob(
        "sequential", choices=("sequential", "together"), help="layers one by one, or all in each step"
    )

    cpu_factor = 0.7

    def build(self, run: Run) -> nn.Module:
        """The task's network with M_L as its last layer."""
        return with_readouts(run.task.model(run, width=self.width), self.prediction)

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """Local losses only."""
        parts = stages(model)
        if self.order == "together":
            train_together(run, parts, local_loss(run, parts))
        else:
            train_in_turn(run, parts)
        return model
