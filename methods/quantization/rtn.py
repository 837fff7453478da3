"""Round to nearest: the simplest weight-only quantization, and the rival of all others."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.quantization.layers import CodeLinear, quantize


@dataclass(frozen=True)
class RoundToNearest(Method):
    """Weights of linear layers rounded to 2^bits evenly spaced numbers between the extremes of their group.

    Paper: none of the catalogue; uniform affine quantization as in Nagel et al. (2021), "A white paper on
        neural network quantization", section 2:
        w_q = s (clip(round(w / s) + z, 0, 2^b - 1) - z), s = (max - min) / (2^b - 1), z = round(-min / s)
    Deviations: scales are kept in half precision, rounded up so that no weight is clipped; zero points take
        `bits` bits; groups are the largest divisor of a row up to `group`; embeddings and heads stay in full
        precision, activations too. There is no kernel here: time is null.
    """

    bits: int = knob(4, low=2, high=8, help="bits of a weight, without scales and zero points")
    group: int = knob(128, low=0, help="weights that share a scale, at most; 0: a row")
    symmetric: bool = knob(False, help="a grid around zero without a zero point")

    cpu_factor = 0.02

    def adapt(self, model, run):
        def codes(linear):
            return CodeLinear.of(linear, self.bits, self.group, self.symmetric)

        return quantize(model, run, codes)
