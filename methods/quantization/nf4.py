"""NF4: sixteen levels at the quantiles of a normal distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.base import Method, knob
from methods.quantization.layers import quantize
from methods.quantization.levels import LevelLinear

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class Nf4(Method):
    """Each weight becomes the nearest of sixteen quantiles of a normal distribution, times its group's largest.

    Paper: QLoRA (Dettmers et al., 2023), section 3: q_i = (Q(i / 17) + Q((i + 1) / 17)) / 2 with an exact zero,
        scaled to [-1, 1]; groups of 64.
    Deviations: the levels are those of the authors' code, an offset of 0.9677 at both ends; scales in half
        precision, without the second quantization of the scales. Embeddings and heads stay in full precision.
        There is no kernel here: time is null.
    """

    group: int = knob(64, low=1, help="weights that share a scale, at most")

    cpu_factor = 0.02

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        return quantize(model, run, lambda linear: LevelLinear.of(linear, self.group, "nf4"))
