"""AWQ: weights of channels that carry large activations are rounded finer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.models.divided import Divided
from methods.base import Method, knob
from methods.quantization.calibration import calibration, hessian, inputs_of, output_error
from methods.quantization.layers import CodeLinear, multiplied, quantize

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Exponents that are tried: 20 from 0 on (Lin et al., 2024, section 5.1).
GRID = 20


@dataclass(frozen=True)
class Awq(Method):
    """Weights W diag(s) rounded to nearest, inputs divided by s: a channel with large inputs gets a finer grid.

    Paper: AWQ (Lin et al., 2024), equation 5: s_j = (mean |x_j|)^alpha, alpha of 20 values in [0, 1) by the
        least error |Q(W diag(s)) diag(s)^-1 X - W X|^2, s normalised by sqrt(max s min s).
    Deviations: each layer has an s of its own, stored beside it in half precision (in the paper the operation
        before takes it in, so layers with common inputs share one); no clipping of weights; layer by layer on
        the inputs of the model before rounding.
    """

    bits: int = knob(4, low=2, high=8, help="bits of a weight, without scales and zero points")
    group: int = knob(128, low=0, help="weights that share a scale, at most; 0: a row")
    batches: int = knob(16, low=1, help="training batches for calibration")

    cpu_factor = 0.1

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        exact, batches = copy.deepcopy(model), calibration(run, self.batches)
        twins = {id(linear): path for path, linear in model.named_modules() if isinstance(linear, nn.Linear)}

        def scaled(linear: nn.Linear) -> CodeLinear | Divided:
            x = inputs_of(exact, exact.get_submodule(twins[id(linear)]), batches, run)
            return best_scaled(linear, x, self.bits, self.group)

        return quantize(model, run, scaled)


@torch.no_grad()
def best_scaled(
    linear: nn.Linear, x: Tensor, bits: int, group: int, grid: int = GRID
) -> CodeLinear | Divided:
    """The layer with the exponent of the least output error on x [rows, inputs]; plain rounding for alpha 0."""
    h, mean = hessian(x), x.abs().mean(0).clamp(min=1e-4)
    best: CodeLinear | Divided = CodeLinear.of(linear, bits, group, symmetric=False)
    least = output_error(best.weight() - linear.weight, h)
    for step in range(1, grid):
        s = mean ** (step / grid)
        s = (s / (s.max() * s.min()).sqrt()).half().float()
        found = Divided.of(CodeLinear.of(multiplied(linear, s), bits, group, symmetric=False), s)
        error = output_error(found.weight() - linear.weight, h)
        if error < least:
            best, least = found, error
    return best
