"""Planes of signs: the binary rival of planes of trits."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.quantization.layers import PlaneLinear, quantize
from methods.quantization.planes import sign_planes
from methods.quantization.rounding import group_size


@dataclass(frozen=True)
class BinaryPlanes(Method):
    """Each group of a row becomes a_1 b_1 + a_2 b_2 with b in {-1, 1}; each plane fits what is left.

    Paper: residual binarization as in Huang et al. (2024), "BiLLM": b = sign(r), a = mean|r|.
    Deviations: BiLLM has a second plane for salient weights only and compensates errors with calibration
        data; here all weights have all planes and no data is used. Scales in half precision, a group each.
        Embeddings and heads stay in full precision. There is no kernel for signs here: time is null.
    """

    planes: int = knob(2, low=1, high=8, help="planes of signs")
    group: int = knob(128, low=0, help="weights that share a plane's scale, at most; 0: a row")

    cpu_factor = 0.02

    def adapt(self, model, run):
        def signs(linear):
            blocks = linear.weight.reshape(-1, group_size(linear.in_features, self.group))
            return PlaneLinear.of(linear, *sign_planes(blocks, self.planes), levels=2)

        return quantize(model, run, signs)
