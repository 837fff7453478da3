"""GPTQ: rounding that makes the weights which are still exact answer for the error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from methods.base import Method, knob
from methods.quantization.calibration import calibration, hessian, inputs_of, inverse_factor
from methods.quantization.layers import CodeLinear, quantize
from methods.quantization.rounding import Rounded, group_size, round_to_nearest

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Gptq(Method):
    """Round the columns of W one after the other; each error is passed on to the columns that follow.

    Paper: GPTQ (Frantar et al., 2023), algorithm 1: with U^T U = H^-1, H = 2 X X^T damped by a hundredth of
        its mean diagonal, for every column i in order
        q_i = Q(w_i); e_i = (w_i - q_i) / U_ii; w_k <- w_k - e_i U_ik for k >= i
        A group's scale is made when its first column is reached, from the weights as they are by then.
    Deviations: one column at a time without the paper's lazy batches (the result is the same); layer by layer
        rather than block by block, each on the inputs that the layers rounded before it leave; columns in
        their given order. Scales are in half precision as for `round_to_nearest`.
    """

    bits: int = knob(4, low=2, high=8, help="bits of a weight, without scales and zero points")
    group: int = knob(128, low=0, help="weights that share a scale, at most; 0: a row")
    symmetric: bool = knob(False, help="a grid around zero without a zero point")
    batches: int = knob(16, low=1, help="training batches for calibration")

    cpu_factor = 0.1

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        batches = calibration(run, self.batches)

        def codes(linear: nn.Linear) -> CodeLinear:
            h = hessian(inputs_of(model, linear, batches, run))
            size = group_size(linear.in_features, self.group)
            found = round_with_errors(linear.weight, h, self.bits, size, self.symmetric)
            return CodeLinear.from_codes(linear, found, self.bits, self.symmetric)

        return quantize(model, run, codes)


@torch.no_grad()
def round_with_errors(weight: Tensor, h: Tensor, bits: int, group: int, symmetric: bool) -> Rounded:
    """GPTQ's recursion on W [outputs, inputs] with H [inputs, inputs]; codes are [outputs * inputs / group, group].

    Inputs that are never seen (H_jj = 0) get weights of zero.
    """
    rows, columns = weight.shape
    w = weight.detach().double().clone()
    w[:, h.diagonal() == 0] = 0.0
    upper = inverse_factor(h)
    codes = torch.zeros(rows, columns, dtype=torch.uint8, device=weight.device)
    scales, zeros = [], []
    for i in range(columns):
        if i % group == 0:
            grid = round_to_nearest(w[:, i : i + group].float(), bits, symmetric)
            scale, zero = grid.scale.double(), grid.zero.double()
            scales.append(grid.scale)
            zeros.append(grid.zero)
        codes[:, i] = ((w[:, i] / scale).round() + zero).clamp(0, 2**bits - 1).to(torch.uint8)
        error = (w[:, i] - (codes[:, i].double() - zero) * scale) / upper[i, i]
        w[:, i:] -= error[:, None] * upper[i, i:]
    return Rounded(codes.view(-1, group), torch.stack(scales, 1).flatten(), torch.stack(zeros, 1).flatten())
