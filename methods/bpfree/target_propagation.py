"""Difference target propagation: layers are given targets, which learned inverses carry downwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from methods.base import Method, knob
from methods.bpfree.local import Loss, split

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class TargetPropagation(Method):
    """Give each hidden layer a target and let learned inverses carry targets from layer to layer.

    Paper: Difference Target Propagation (Lee et al., 2015, arXiv 1412.7525), f_i a layer, g_i its inverse:
        t_L = h_L - eta dloss/dh_L;  t_(i-1) = h_(i-1) + g_i(t_i) - g_i(h_i)
        layer i:    ||f_i(h_(i-1)) - t_i||^2 / (2 eta), t_i and h_(i-1) given
        inverse i:  ||g_i(f_i(h_(i-1) + noise)) - (h_(i-1) + noise)||^2, f_i given
    The last layer, which has no target, learns from the loss. With g_i = transposed weights it is backpropagation
    through linear layers.
    Deviations: ReLU layers with linear inverses (the paper: tanh both ways), the task's AdamW and schedule for
        layers and inverses alike (the paper: RMSprop or momentum with rates of their own); noise relative to the
        activities' root mean square; inverses learn in every step, beside the layers, and are not kept.
    """

    step: float = knob(
        1.0, low=0.0, high=1e4, help="eta: how far the last hidden layer's target lies down its gradient"
    )
    noise: float = knob(
        0.1, low=0.0, high=10.0, help="of the inverses' training, over the activities' root mean square"
    )

    cpu_factor = 2.2

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """Layers and inverses in every step."""
        hidden, last = split(model)
        inverses = [nn.Linear(layer.out_features, layer.in_features) for layer in hidden[1:]]
        learning = nn.ModuleList([model, *inverses]).to(last.weight)
        for step in run.steps(learning, loss=self.loss(run, hidden, last, inverses)):
            step.update()
        return model

    def loss(
        self, run: Run, hidden: Sequence[nn.Linear], last: nn.Linear, inverses: Sequence[nn.Module]
    ) -> Loss:
        """The last layer's loss; hidden layers and inverses have had their gradients when it returns."""

        def loss(_: nn.Module, batch: Any) -> Tensor:
            activities: list[Tensor] = []
            top: list[Tensor] = []

            def network(x: Tensor) -> Tensor:
                for layer in hidden:
                    activities.append(layer(activities[-1].detach() if activities else x).relu())
                top.append(activities[-1].detach().requires_grad_())
                return last(top[0])

            value = run.task.loss(network, batch)
            (slope,) = torch.autograd.grad(value, top[0], retain_graph=True)
            self._give_targets(activities, slope, inverses)
            self._teach_inverses(activities, hidden, inverses)
            return value

        return loss

    def _give_targets(
        self, activities: Sequence[Tensor], slope: Tensor, inverses: Sequence[nn.Module]
    ) -> None:
        """Gradients of every hidden layer; `slope` is that of the mean loss, an item's is n times as large."""
        items, eta = len(slope), self.step
        target = activities[-1].detach() - eta * items * slope
        for at in reversed(range(len(activities))):
            here = activities[at]
            if at:  # the inverse leads from this layer to the one below
                with torch.no_grad():
                    back = inverses[at - 1]
                    below = activities[at - 1].detach() + back(target) - back(here)
            ((here - target).square().sum() / (2 * eta * items)).backward()
            if at:
                target = below

    def _teach_inverses(
        self, activities: Sequence[Tensor], hidden: Sequence[nn.Module], inverses: Sequence[nn.Module]
    ) -> None:
        for below, layer, inverse in zip(activities[:-1], hidden[1:], inverses, strict=True):
            with torch.no_grad():
                scale = below.square().mean().sqrt()
                wanted = below + self.noise * scale * torch.randn_like(below)
                seen = layer(wanted).relu()
            (inverse(seen) - wanted).square().sum(1).mean().backward()
