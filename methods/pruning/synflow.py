"""SynFlow: prune before training without data, step by step, so that no layer is cut through."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from methods.base import Method, knob
from methods.pruning.attached import Masked, attach, remove_lowest, train_on


@dataclass(frozen=True)
class Synflow(Method):
    """Prune at initialisation by synaptic flow in many rounds, then train what is left.

    Paper: SynFlow (Tanaka, Kunin, Yamins and Ganguli, 2020), algorithm 1: with R = sum of the outputs for an
        input of ones when every parameter is replaced by its absolute value, s = |w| * dR/d|w|; in round k of n
        the density is rho ** (k / n) over all layers.
    Deviations: none; in float64, since R leaves the range of float32 in deep networks.
    """

    sparsity: float = knob(0.9, low=0.0, high=0.999, help="share of weights that are removed")
    rounds: int = knob(100, low=1, help="rounds of scoring and removing")

    needs = ("images",)
    cpu_factor = 1.25

    def fit(self, model, run):
        layers = attach(model)
        ones = torch.ones_like(run.task.inputs(run.train["x"][:1]), dtype=torch.float64)
        for number in range(1, self.rounds + 1):
            sparsity = 1.0 - (1.0 - self.sparsity) ** (number / self.rounds)
            remove_lowest(layers, synaptic_flow(model, layers, ones), sparsity)
        return train_on(model, run, 1.0)


def synaptic_flow(model: nn.Module, layers: list[Masked], ones: Tensor) -> list[Tensor]:
    """|w| * dR/d|w| of every layer's weight, float64, zero where a weight is masked."""
    state = {name: value.detach().double() for name, value in model.named_buffers()}
    own = {id(value): name for name, value in model.named_parameters()}
    state |= {name: value.detach().abs().double() for name, value in model.named_parameters()}
    names = [own[id(layer.weight)] for layer in layers]
    for name in names:
        state[name].requires_grad_()
    was = model.training
    model.eval()  # norms as they are at the start: no statistics of an input of ones
    flows = torch.autograd.grad(functional_call(model, state, (ones,)).sum(), [state[name] for name in names])
    model.train(was)
    return [state[name].detach() * flow for name, flow in zip(names, flows, strict=True)]
