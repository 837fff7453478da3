"""Dynamic int8: weights rounded once, activations at each call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models.layers import Layer, set_module
from methods.base import Method

#: Torch's products know no smaller step of activations (SMALL_SCALE_THRESHOLD of fbgemm): below 0.016 they are coarse.
SMALLEST_STEP = 6.1e-5


@dataclass(frozen=True)
class Int8Dynamic(Method):
    """Weights to int8 with a scale a row, activations to 8 bits with a range a call, integer products.

    Paper: Jacob et al. (2018), section 2, in the dynamic form that torch and ONNX Runtime offer.
    Deviations: weights are symmetric with a scale a row; the reference computes in float32 what the kernel
        accumulates in int32, so both agree to rounding of the last bit.
    """

    cpu_factor = 0.05

    def adapt(self, model, run):
        for path, module in list(model.named_modules()):
            if type(module) is nn.Linear:
                set_module(model, path, Int8Linear.of(module))
        return model


class Int8Linear(Layer):
    """y = (W_q s_w) x_q + b, with x_q = dequantise(quantise(x)): the reference of torch's dynamic int8 product."""

    name = "int8_linear"

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.register_buffer("weight_q", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @classmethod
    @torch.no_grad()
    def of(cls, linear: nn.Linear) -> Int8Linear:
        """The int8 form of a linear layer: scale = max|row| / 127."""
        layer = cls(linear.in_features, linear.out_features, linear.bias is not None)
        scale = linear.weight.abs().amax(1).clamp(min=1e-12) / 127.0
        layer.weight_q.copy_((linear.weight / scale[:, None]).round().clamp(-127, 127))
        layer.scale.copy_(scale)
        if linear.bias is not None:
            layer.bias.copy_(linear.bias)
        return layer

    def args(self) -> dict[str, Any]:
        return {
            "inputs": self.weight_q.shape[1],
            "outputs": self.weight_q.shape[0],
            "bias": self.bias is not None,
        }

    def stored_params(self) -> int:
        return self.weight_q.numel() + (0 if self.bias is None else self.bias.numel())

    def nonzero(self) -> int:
        return self.stored_params() - int((self.weight_q == 0).sum())

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        low, high = x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)
        step = ((high - low) / 255.0).clamp(min=1e-12)
        zero = (-low / step).round()
        step = step.clamp(min=SMALLEST_STEP)
        x = (((x / step).round() + zero).clamp(0, 255) - zero) * step
        return nn.functional.linear(x, self.weight_q.float() * self.scale[:, None], self.bias)

    def kernels(self) -> dict[str, nn.Module]:
        if self.weight_q.device.type != "cpu" or "x86" not in torch.backends.quantized.supported_engines:
            return {}
        return {"int8": Int8Kernel(self)}


class Int8Kernel(nn.Module):
    """torch's own dynamic int8 product on packed weights."""

    def __init__(self, layer: Int8Linear) -> None:
        super().__init__()
        zeros = torch.zeros(len(layer.scale), dtype=torch.int64)
        weight = torch._make_per_channel_quantized_tensor(layer.weight_q, layer.scale.double(), zeros, 0)
        self.packed = torch.ops.quantized.linear_prepack(weight, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return torch.ops.quantized.linear_dynamic(x, self.packed)
