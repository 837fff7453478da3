"""Weights as indices into a table of sixteen numbers, with a scale a group: four-bit floating point and NormalFloat."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from methods.quantization.layers import PackedLinear
from methods.quantization.rounding import group_size, pack_bits, unpack_bits

#: Probability at which the outermost levels of NormalFloat lie (Dettmers et al., 2023; bitsandbytes' offset).
OFFSET = 0.9677083
#: Largest exponent of E2M1: 6 = 1.5 * 2^2 (OCP Microscaling Formats, version 1.0, section 5.3.3).
E2M1_EMAX = 2
#: E8M0 is stored with this bias (the same document, section 5.4.1).
E8M0_BIAS = 127


@cache
def normal_float() -> Tensor:
    """NF4: quantiles of a standard normal, 8 below zero, zero, 7 above, scaled to [-1, 1], ascending [16]."""
    below = torch.special.ndtri(torch.linspace(1 - OFFSET, 0.5, 8, dtype=torch.float64)[:-1])
    above = torch.special.ndtri(torch.linspace(0.5, OFFSET, 9, dtype=torch.float64)[1:])
    levels = torch.cat([below, torch.zeros(1, dtype=torch.float64), above])
    return (levels / levels.abs().max()).float()


@cache
def e2m1() -> Tensor:
    """FP4 with two bits of exponent and one of mantissa, ascending [15]; -0 is no level of its own."""
    positive = torch.tensor([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    return torch.cat([-positive.flip(0), torch.zeros(1), positive])


TABLES = {"nf4": normal_float, "e2m1": e2m1}


class LevelLinear(PackedLinear):
    """W = scale * table[code]: codes of four bits; scales in half precision, or powers of two in a byte (E8M0)."""

    name = "level_linear"

    def __init__(self, inputs: int, outputs: int, bias: bool, group: int, table: str) -> None:
        super().__init__(inputs, outputs, bias, group)
        self.table = table
        self.register_buffer("codes", pack_bits(torch.zeros(inputs * outputs), 4))
        kind = torch.uint8 if table == "e2m1" else torch.half
        self.register_buffer("scale", torch.ones(self.blocks, dtype=kind))

    @classmethod
    @torch.no_grad()
    def of(cls, linear: nn.Linear, group: int, table: str) -> LevelLinear:
        """A linear layer rounded to the nearest level in groups of at most `group`."""
        size = group_size(linear.in_features, group)
        layer = cls(linear.in_features, linear.out_features, linear.bias is not None, size, table)
        blocks = linear.weight.reshape(-1, size)
        most = blocks.abs().amax(1)
        if table == "e2m1":
            exponent = most.clamp(min=2.0**-120).log2().floor() - E2M1_EMAX
            layer.scale = (exponent + E8M0_BIAS).to(torch.uint8)
        else:
            layer.scale = most.half().clamp(min=2.0**-24)
        layer.codes = pack_bits(nearest_level(blocks / layer.factors(), TABLES[table]()), 4)
        layer.bias = None if linear.bias is None else linear.bias.detach().clone()
        return layer

    def args(self) -> dict[str, Any]:
        return {**super().args(), "table": self.table}

    def factors(self) -> Tensor:
        """What a group's levels are multiplied by, float32 [blocks, 1]."""
        if self.table == "e2m1":
            return torch.exp2(self.scale.float() - E8M0_BIAS)[:, None]
        return self.scale.float()[:, None]

    def values(self) -> Tensor:
        codes = unpack_bits(self.codes, 4, self.inputs * self.outputs).view(self.blocks, self.group)
        return TABLES[self.table]().to(codes.device)[codes.long()] * self.factors()


def nearest_level(x: Tensor, levels: Tensor) -> Tensor:
    """Index of the nearest of ascending `levels` for each x, uint8; a tie goes to the odd index.

    In `e2m1` the odd ones are 0, 1, 2, 4: those with an even mantissa, as IEEE rounding wants it. Beyond the
    ends the last level stands (saturation).
    """
    between = (levels[1:] + levels[:-1]) / 2
    low = torch.bucketize(x.contiguous(), between)  # the first middle that is >= x
    high = torch.bucketize(x.contiguous(), between, right=True)
    return torch.where(low % 2 == 1, low, high).to(torch.uint8)
