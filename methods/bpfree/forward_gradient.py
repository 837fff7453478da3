"""Forward gradient with perturbed activities: each item's loss along one random direction of all hidden units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from methods.base import Method, knob
from methods.bpfree.local import Loss, split
from methods.bpfree.spsa import add_gradient

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class ForwardGradient(Method):
    """Estimate every layer's error from how each item's loss changes along a random direction of its activities.

    Paper: Scaling Forward Gradient with Local Losses (Ren et al., 2023, arXiv 2210.03310), perturbed activities:
        dloss_n/dz_i ~ d_n v_i,  d_n the derivative of item n's loss along v = (v_1 .. v_L), v_i ~ N(0, I) of z_i
        dW_i = sum_n d_n v_i a_(i-1)^T, the mean over `samples` directions; the last layer has its own gradient
    d_n is exact: tangents run forwards beside the activities. The error grows with the number of units, not of
    weights as in `spsa`.
    Deviations: the activities' estimate alone, without the paper's local losses and mixer network.
    """

    samples: int = knob(1, low=1, high=1000, help="directions a step")

    cpu_factor = 1.3

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """The task's loop with estimates in place of the hidden layers' gradients."""
        for step in run.steps(model, loss=self.loss(model, run)):
            step.update()
        return model

    def loss(self, model: nn.Module, run: Run) -> Loss:
        """The task's loss at the last layer; hidden layers have their estimates when it returns."""
        hidden, last = split(model)

        def loss(_: nn.Module, batch: Any) -> Tensor:
            inputs: list[Tensor] = []
            gates: list[Tensor] = []
            logits: list[Tensor] = []

            def network(x: Tensor) -> Tensor:
                with torch.no_grad():
                    for layer in hidden:
                        inputs.append(x)
                        z = layer(x)
                        gates.append(z > 0)
                        x = z.relu()
                logits.append(last(x))
                return logits[0]

            value = run.task.loss(network, batch)
            (error,) = torch.autograd.grad(value, logits[0], retain_graph=True)
            for _sample in range(self.samples):
                self._add_sample(hidden, last, inputs, gates, error / self.samples)
            return value

        return loss

    @staticmethod
    @torch.no_grad()
    def _add_sample(
        hidden: Sequence[nn.Linear],
        last: nn.Linear,
        inputs: Sequence[Tensor],
        gates: Sequence[Tensor],
        error: Tensor,
    ) -> None:
        """One direction's part of every hidden layer's gradient."""
        directions: list[Tensor] = []
        tangent: Tensor | None = None
        for layer, gate in zip(hidden, gates, strict=True):
            v = torch.randn(gate.shape, dtype=error.dtype, device=error.device)
            directions.append(v)
            tangent = (v if tangent is None else v + tangent @ layer.weight.T) * gate
        assert tangent is not None
        slope = ((tangent @ last.weight.T) * error).sum(1, keepdim=True)  # [batch, 1], over the batch's size
        for layer, below, v in zip(hidden, inputs, directions, strict=True):
            add_gradient(layer.weight, (slope * v).T @ below)
            add_gradient(layer.bias, (slope * v).sum(0))
