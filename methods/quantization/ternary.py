"""One plane of trits: what PTQTP has to beat with its second one."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.quantization.layers import PlaneLinear, quantize
from methods.quantization.planes import trit_planes
from methods.quantization.rounding import group_size


@dataclass(frozen=True)
class Ternary(Method):
    """Each group of a row becomes a t with t in {-1, 0, 1}, by alternating least squares.

    Paper: the least-squares problem of Li and Liu (2016), "Ternary weight networks": min |w - a t|^2.
    Deviations: minimised by alternation instead of with their threshold of 0.7 mean|w|; a scale a group in
        half precision instead of one a layer; after training, not in it. Embeddings and heads stay in full
        precision. There is no kernel for trits here: time is null.
    """

    group: int = knob(128, low=0, help="weights that share a scale, at most; 0: a row")

    cpu_factor = 0.03

    def adapt(self, model, run):
        def plane(linear):
            blocks = linear.weight.reshape(-1, group_size(linear.in_features, self.group))
            trits, scale, _ = trit_planes(blocks, 1)
            return PlaneLinear.of(linear, trits, scale, levels=3)

        return quantize(model, run, plane)
