"""The authors' HQQ: the peer of our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from methods.base import Method, knob
from methods.quantization.layers import CodeLinear, quantize
from methods.quantization.rounding import Rounded, group_size

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class HqqQuantizer(Method):
    """Let the authors' quantizer find scales, zero points and codes; they are stored in our packed form.

    Paper: HQQ (Badri and Shaji, 2023), package hqq, `Quantizer.quantize`.
    Deviations: scales and zero points are kept in half precision here, as for our own.
    """

    bits: int = knob(4, low=2, high=8, help="bits of a weight, without scales and zero points")
    group: int = knob(32, low=1, help="weights that share a scale, at most")

    requires = ("hqq",)
    cpu_factor = 0.1

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        from hqq.core.quantize import Quantizer

        def codes(linear: nn.Linear) -> CodeLinear:
            size = group_size(linear.in_features, self.group)
            weight = linear.weight.detach().clone()
            packed, meta = Quantizer.quantize(
                weight, nbits=self.bits, group_size=size, axis=1, device="cpu", compute_dtype=torch.float32,
                bitpack=False,
            )  # fmt: skip
            found = packed.reshape(-1, size).round().to(torch.uint8)
            scale, zero = (meta[name].float().flatten().half() for name in ("scale", "zero"))
            return CodeLinear.from_codes(linear, Rounded(found, scale, zero), self.bits, symmetric=False)

        return quantize(model, run, codes)
