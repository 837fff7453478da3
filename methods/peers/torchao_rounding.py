"""torchao's weight-only integers: the peer of round to nearest."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from methods.base import Method, knob
from methods.quantization.layers import CodeLinear, quantize
from methods.quantization.rounding import Rounded, group_size

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class TorchaoRounding(Method):
    """Let torchao round the weights of linear layers; its codes are stored in our packed form.

    Paper: none; `IntxWeightOnlyConfig` of torchao with symmetric groups.
    Deviations: its scales are kept in half precision here, as all others are.
    """

    bits: int = knob(4, low=2, high=8, help="bits of a weight, without scales")
    group: int = knob(32, low=1, help="weights that share a scale, at most")

    requires = ("torchao",)
    cpu_factor = 0.1

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        from torchao.quantization import IntxWeightOnlyConfig, quantize_
        from torchao.quantization.granularity import PerGroup

        def codes(linear: nn.Linear) -> CodeLinear:
            size = group_size(linear.in_features, self.group)
            kind: Any = getattr(torch, f"int{self.bits}")
            theirs = nn.Sequential(copy.deepcopy(linear))
            quantize_(theirs, IntxWeightOnlyConfig(weight_dtype=kind, granularity=PerGroup(size)))
            weight: Any = theirs[0].weight
            half = 2 ** (self.bits - 1)
            found = (weight.qdata.to(torch.int16) + half).to(torch.uint8).reshape(-1, size)
            zero = (weight.zero_point.to(torch.int16) + half).to(torch.uint8).flatten()
            rounded = Rounded(found, weight.scale.half().flatten(), zero)
            return CodeLinear.from_codes(linear, rounded, self.bits, symmetric=False)

        return quantize(model, run, codes)
