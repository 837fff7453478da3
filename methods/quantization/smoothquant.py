"""SmoothQuant: part of the activations' range moves into the weights, then both go to int8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmarks.models.divided import Divided
from benchmarks.models.layers import set_module
from methods.base import Method, knob
from methods.quantization.calibration import calibration, inputs_of_all
from methods.quantization.int8 import Int8Linear
from methods.quantization.layers import multiplied, quantizable

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class SmoothQuant(Method):
    """Inputs divided by s, weights multiplied by it, so that outliers of activations cost less in int8.

    Paper: SmoothQuant (Xiao et al., 2023), equation 4: s_j = max|X_j|^alpha / max|W_j|^(1 - alpha), alpha 0.5.
    Deviations: s is stored beside each layer in half precision (in the paper the norm before it takes it in);
        products as `int8_dynamic` makes them: weights with a scale a row, activations with a range a call
        (the paper's O2 has one a tensor for both). Embeddings and heads stay in full precision.
    """

    alpha: float = knob(
        0.5, low=0.0, high=1.0, help="share of the range that moves from activations to weights"
    )
    batches: int = knob(16, low=1, help="training batches for calibration")

    cpu_factor = 0.1

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        layers = dict(quantizable(model))
        found = inputs_of_all(model, dict(layers), calibration(run, self.batches), run)
        for path, linear in layers.items():
            s = smoothing(found[path].abs().amax(0), linear.weight, self.alpha)
            set_module(model, path, Divided.of(Int8Linear.of(multiplied(linear, s)), s))
        return model


@torch.no_grad()
def smoothing(most: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """s_j = most_j^alpha / max_i |W_ij|^(1 - alpha) [inputs], as half precision keeps it."""
    s = most.clamp(min=1e-5) ** alpha / weight.abs().amax(0).clamp(min=1e-5) ** (1.0 - alpha)
    return s.clamp(min=1e-4, max=1e4).half().float()
