"""Weight-only int8: a scale a row, products in bfloat16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models.layers import Layer, set_module
from methods.base import Method
from methods.quantization.layers import quantizable

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Int8WeightOnly(Method):
    """Weights to int8 with a scale a row; activations in bfloat16, which torch's kernel multiplies with them.

    Paper: none; the weight-only form of torchao and of torch's `_weight_int8pack_mm`.
    Deviations: embeddings and heads stay in full precision.
    """

    cpu_factor = 0.02

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        for path, linear in quantizable(model):
            set_module(model, path, Int8WeightLinear.of(linear))
        return model


class Int8WeightLinear(Layer):
    """y = bf16(x W_q^T s) + b with x and s in bfloat16: what torch's kernel computes."""

    name = "int8_weight_linear"

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.register_buffer("weight_q", torch.zeros(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs, dtype=torch.bfloat16))
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @classmethod
    @torch.no_grad()
    def of(cls, linear: nn.Linear) -> Int8WeightLinear:
        """Scale = max|row| / 127, codes for the scale as stored."""
        layer = cls(linear.in_features, linear.out_features, linear.bias is not None)
        layer.scale.copy_(linear.weight.abs().amax(1).clamp(min=1e-12) / 127.0)
        layer.weight_q.copy_((linear.weight / layer.scale.float()[:, None]).round().clamp(-127, 127))
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
        """[..., inputs] -> [..., outputs]."""
        product = nn.functional.linear(x.to(torch.bfloat16).float(), self.weight_q.float())
        y = (product * self.scale.float()).to(torch.bfloat16).float()
        return y if self.bias is None else y + self.bias

    def kernels(self) -> dict[str, nn.Module]:
        return {"int8_weight": Int8WeightKernel(self)} if self.weight_q.device.type == "cpu" else {}


class Int8WeightKernel(nn.Module):
    """torch's product of bfloat16 activations and int8 weights."""

    def __init__(self, layer: Int8WeightLinear) -> None:
        super().__init__()
        self.weight_q, self.scale, self.bias = layer.weight_q, layer.scale, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)
        y = torch.ops.aten._weight_int8pack_mm(rows, self.weight_q, self.scale).float()
        y = y if self.bias is None else y + self.bias
        return y.reshape(*x.shape[:-1], -1)
