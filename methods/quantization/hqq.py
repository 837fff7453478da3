"""HQQ: zero points that leave few large errors, found without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from methods.base import Method, knob
from methods.quantization.layers import CodeLinear, quantize
from methods.quantization.rounding import Rounded, group_size, round_to_nearest

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Of the authors' code: exponent of the norm, first penalty and its growth, rounds.
NORM, PENALTY, GROWTH, ROUNDS = 0.7, 10.0, 1.01, 20


@dataclass(frozen=True)
class Hqq(Method):
    """Zero points z that minimise |W - s (q - z)|_p^p with p = 0.7: most errors small, a few left large.

    Paper: HQQ (Badri and Shaji, 2023): half-quadratic splitting, with e standing for the error,
        e <- shrink_p(W - s (q - z), beta); z <- mean over the group of q - (W - e) / s; beta <- 1.01 beta
        where shrink_p(x, beta) = sign(x) max(|x| - |x|^(p-1) / beta, 0).
    Deviations: scales and zero points are stored in half precision, one of each a group along a row; a group's
        rounds end when its error grows, as in the authors' code for all groups together.
    """

    bits: int = knob(4, low=1, high=8, help="bits of a weight, without scales and zero points")
    group: int = knob(128, low=0, help="weights that share a scale, at most; 0: a row")

    cpu_factor = 0.03

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        def codes(linear: nn.Linear) -> CodeLinear:
            blocks = linear.weight.reshape(-1, group_size(linear.in_features, self.group))
            return CodeLinear.from_codes(
                linear, half_quadratic(blocks, self.bits), self.bits, symmetric=False
            )

        return quantize(model, run, codes)


def shrink(x: Tensor, beta: float, p: float = NORM) -> Tensor:
    """The proximal step of |x|_p^p: sign(x) max(|x| - |x|^(p-1) / beta, 0)."""
    return x.sign() * (x.abs() - x.abs().clamp(min=1e-12) ** (p - 1.0) / beta).clamp(min=0.0)


@torch.no_grad()
def half_quadratic(blocks: Tensor, bits: int) -> Rounded:
    """Codes, scales and zero points (half precision) of blocks [blocks, size]."""
    start = round_to_nearest(blocks, bits)
    scale = start.scale.float()[:, None]
    top, beta = 2**bits - 1, PENALTY
    zero = -blocks.amin(1, keepdim=True).clamp(max=0.0) / scale  # between two codes, as the authors start

    def rounded(zero: Tensor) -> Tensor:
        return (blocks / scale + zero).round().clamp(0, top)

    best, least = zero, torch.full_like(zero, torch.inf)
    for _ in range(ROUNDS):
        q = rounded(zero)
        left = blocks - scale * (q - zero)
        error = left.abs().mean(1, keepdim=True)
        better = error < least
        best, least = torch.where(better, zero, best), torch.where(better, error, least)
        if not better.any():
            break
        zero = (q - (blocks - shrink(left, beta)) / scale).mean(1, keepdim=True)
        beta *= GROWTH
    best = best.half().float()
    return Rounded(rounded(best).to(torch.uint8), start.scale, best.half().flatten())
