"""LSQ: the step of the grid is learnt with the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.models.layers import set_module
from methods.base import Method, knob
from methods.quantization.layers import CodeLinear, quantizable
from methods.quantization.rounding import Rounded

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Lsq(Method):
    """Train on with weights w_hat = round(clip(w / s, -2^(b-1), 2^(b-1) - 1)) s, and s by its own gradient.

    Paper: LSQ (Esser et al., 2020), equations 1 to 3: identity through the rounding, so that
        d w_hat / d s = round(w / s) - w / s inside and the clip's bound outside; s starts at
        2 mean|w| / sqrt(Q_P), its gradient is scaled by 1 / sqrt(n Q_P).
    Deviations: weights only, activations stay in full precision; a step a row of the matrix instead of one a
        layer; no decay of the steps; embeddings and heads stay in full precision. There is no kernel here.
    """

    bits: int = knob(4, low=2, high=8, help="bits of a weight, without scales")
    finetune: float = knob(0.25, low=0.0, high=1.0, help="share of the budget that is trained with the grid")

    cpu_factor = 0.35

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        for _, linear in quantizable(model):
            parametrize.register_parametrization(linear, "weight", LearnedStep(linear.weight, self.bits))
        for step in run.steps(model, share=self.finetune) if self.finetune else ():
            step.update()
        for path, linear in learned(model):
            grid: LearnedStep = linear.parametrizations.weight[0]
            plain = nn.Linear(linear.in_features, linear.out_features, linear.bias is not None)
            plain.weight.data = linear.parametrizations.weight.original.data
            plain.bias = linear.bias
            set_module(model, path, codes_of(plain, grid))
        return model


def learned(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The linear layers whose steps are learnt."""
    return [
        (path, module)
        for path, module in list(model.named_modules())
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight")
    ]


class LearnedStep(nn.Module):
    """w -> round(clip(w / s)) s with a step s a row, in half precision when it is stored."""

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.bits, self.low, self.high = bits, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        start = 2.0 * weight.detach().abs().mean(1) / self.high**0.5
        self.step = nn.Parameter(start.clamp(min=1e-8))
        self.rate = 1.0 / (weight.shape[1] * self.high) ** 0.5

    def forward(self, weight: Tensor) -> Tensor:
        """[outputs, inputs] -> the same, on the grid."""
        step = scaled_gradient(self.step, self.rate)[:, None]
        inside = (weight / step).clamp(self.low, self.high)
        return (inside + (inside.round() - inside).detach()) * step


def scaled_gradient(x: Tensor, factor: float) -> Tensor:
    """x, with a gradient times `factor`."""
    return x.detach() + factor * (x - x.detach())


@torch.no_grad()
def codes_of(linear: nn.Linear, grid: LearnedStep) -> CodeLinear:
    """The stored form of a layer; a step that training made negative or nothing stays the smallest half."""
    scale = grid.step.half().clamp(min=2.0**-24)
    codes = (linear.weight / scale.float()[:, None]).round().clamp(grid.low, grid.high) - grid.low
    zero = torch.full(scale.shape, -grid.low, dtype=torch.uint8)
    return CodeLinear.from_codes(linear, Rounded(codes.to(torch.uint8), scale, zero), grid.bits, False)
