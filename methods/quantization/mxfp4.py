"""MXFP4: four-bit floating point with a power of two for every 32 weights."""

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
class Mxfp4(Method):
    """Each weight becomes a number of E2M1 (0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives) times 2^e of its group.

    Paper: OCP Microscaling Formats, version 1.0 (2023): e = floor(log2 max|w|) - 2 in a byte (E8M0), groups of
        32, round to nearest even, saturating.
    Deviations: weights only, activations stay in full precision; groups are the largest divisor of a row up to
        `group`. Embeddings and heads stay in full precision. There is no kernel here: time is null.
    """

    group: int = knob(32, low=1, help="weights that share an exponent, at most")

    cpu_factor = 0.02

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        return quantize(model, run, lambda linear: LevelLinear.of(linear, self.group, "e2m1"))
