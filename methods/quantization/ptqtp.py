"""PTQTP: a weight matrix as two planes of trits."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, knob
from methods.quantization.layers import PlaneLinear, quantize
from methods.quantization.planes import trit_planes
from methods.quantization.rounding import group_size


@dataclass(frozen=True)
class Ptqtp(Method):
    """Each group of a row becomes a_1 t_1 + a_2 t_2 with t in {-1, 0, 1}, without any data.

    Paper: ptqtp (Xiao et al., 2025): alternate a = (S^T S + r I)^-1 S^T w, S = [t_1 t_2], and for each weight
        the best of the nine pairs of trits, from t_1 = t_2 = sign(w).
    Deviations: the authors' code is not out, and their constants were not to be had: the ridge's schedule,
        its condition limit and the tolerance are those of a public re-implementation, the tolerance taken
        relative to the scales; ties go to the sparser pair. Groups are the largest divisor of a row up to
        `group`. Scales end in half precision, and trits are chosen once more for them. Embeddings and heads
        stay in full precision. There is no kernel for trits here: time is null.
    """

    group: int = knob(128, low=0, help="weights that share two scales, at most; 0: a row")
    rounds: int = knob(50, low=1, help="rounds at most")

    cpu_factor = 0.05

    def adapt(self, model, run):
        def planes(linear):
            blocks = linear.weight.reshape(-1, group_size(linear.in_features, self.group))
            trits, scale, _ = trit_planes(blocks, 2, self.rounds)
            return PlaneLinear.of(linear, trits, scale, levels=3)

        return quantize(model, run, planes)
