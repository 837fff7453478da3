"""Static int8: ranges of activations are found once, on training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models.layers import set_module
from methods.base import Method, knob
from methods.quantization.calibration import calibration, inputs_of_all
from methods.quantization.int8 import Int8Linear

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Int8Static(Method):
    """Weights to int8 with a scale a row, activations to 8 bits with one range a layer, integer products.

    Paper: Jacob et al. (2018), section 2, after training.
    Deviations: ranges are the extremes seen in calibration; outputs leave the layer in float32; heads are
        rounded too, as by `int8_dynamic`.
    """

    batches: int = knob(16, low=1, help="training batches for calibration")

    cpu_factor = 0.07

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        layers = {path: module for path, module in model.named_modules() if type(module) is nn.Linear}
        found = inputs_of_all(model, dict(layers), calibration(run, self.batches), run)
        for path, linear in layers.items():
            set_module(model, path, Int8StaticLinear.calibrated(linear, found[path]))
        return model


class Int8StaticLinear(Int8Linear):
    """y = (W_q s_w) x_q + b with x_q on a grid that was fixed in calibration."""

    name = "int8_static_linear"

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__(inputs, outputs, bias)
        self.register_buffer("step", torch.ones(()))
        self.register_buffer("zero", torch.zeros((), dtype=torch.uint8))

    @classmethod
    @torch.no_grad()
    def calibrated(cls, linear: nn.Linear, x: Tensor) -> Int8StaticLinear:
        """The layer with the range of x [rows, inputs]."""
        layer: Any = cls.of(linear)
        low, high = x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)
        layer.step.copy_(((high - low) / 255.0).clamp(min=1e-12))
        layer.zero.copy_((-low / layer.step).round())
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        zero = self.zero.float()
        x = (((x / self.step).round() + zero).clamp(0, 255) - zero) * self.step
        return nn.functional.linear(x, self.weight_q.float() * self.scale[:, None], self.bias)

    def kernels(self) -> dict[str, nn.Module]:
        if self.weight_q.device.type != "cpu" or "x86" not in torch.backends.quantized.supported_engines:
            return {}
        return {"int8": Int8StaticKernel(self)}


class Int8StaticKernel(nn.Module):
    """torch's static int8 product, with float32 out of it."""

    def __init__(self, layer: Int8StaticLinear) -> None:
        super().__init__()
        zeros = torch.zeros(len(layer.scale), dtype=torch.int64)
        weight = torch._make_per_channel_quantized_tensor(layer.weight_q, layer.scale.double(), zeros, 0)
        self.packed = torch.ops.quantized.linear_prepack(weight, layer.bias)
        self.step, self.zero = float(layer.step), int(layer.zero)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        return product(x, self.step, self.zero, self.packed)
