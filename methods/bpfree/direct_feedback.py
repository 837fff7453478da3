"""Direct feedback alignment: the error reaches every hidden layer through a fixed random matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from methods.base import Method
from methods.bpfree.feedback import feedback_loss, random_feedback
from methods.bpfree.local import split
from methods.bpfree.networks import blocks_of, inputs, widths_of

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class DirectFeedback(Method):
    """Give each hidden layer the error of the logits through a fixed random matrix instead of the layers above.

    Paper: Direct Feedback Alignment (Nokland, 2016, arXiv 1609.01596):
        delta_i = (e B_i) * relu'(z_i), e = softmax - onehot;  dW_i = delta_i^T a_(i-1);  the last layer's own
    Deviations: Gaussian rows of length one for B (the paper: uniform; AdamW does not see their scale); the
        task's AdamW and ReLU, where the paper has RMSprop and tanh.
    """

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """All layers in every step."""
        head, blocks = split(model)[1], blocks_of(model)
        widths = widths_of(blocks, inputs(run, run.train["x"][:2]))
        feedback = [random_feedback(head.out_features, width).to(head.weight) for width in widths]
        for step in run.steps(model, loss=feedback_loss(run, blocks, head, feedback)):
            step.update()
        return model
