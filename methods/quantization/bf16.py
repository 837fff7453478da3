"""bfloat16: the cheapest rounding, and the first rival of every other one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models.layers import Layer, set_module
from methods.base import Method

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Bf16(Method):
    """Linear layers with weights and activations in bfloat16: 8 bits of mantissa, the range of float32.

    Paper: none; Kalamkar et al. (2019) for the format.
    Deviations: embeddings, norms and attention stay in float32, as under autocast.
    """

    cpu_factor = 0.02

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        for path, module in list(model.named_modules()):
            if type(module) is nn.Linear:
                set_module(model, path, Bf16Linear.of(module))
        return model


class Bf16Linear(Layer):
    """y = float(bf16(W) bf16(x) + bf16(b)): reference and kernel are one, since torch has the product."""

    name = "bf16_linear"

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(outputs, inputs, dtype=torch.bfloat16))
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.bfloat16) if bias else None)

    @classmethod
    @torch.no_grad()
    def of(cls, linear: nn.Linear) -> Bf16Linear:
        """A linear layer, rounded."""
        layer = cls(linear.in_features, linear.out_features, linear.bias is not None)
        layer.weight.copy_(linear.weight)
        if linear.bias is not None:
            layer.bias.copy_(linear.bias)
        return layer

    def args(self) -> dict[str, Any]:
        return {
            "inputs": self.weight.shape[1],
            "outputs": self.weight.shape[0],
            "bias": self.bias is not None,
        }

    def stored_params(self) -> int:
        return self.weight.numel() + (0 if self.bias is None else self.bias.numel())

    def nonzero(self) -> int:
        return self.stored_params() - int((self.weight == 0).sum())

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        return nn.functional.linear(x.to(torch.bfloat16), self.weight, self.bias).float()

    def kernels(self) -> dict[str, nn.Module]:
        return {"bf16": Bf16Kernel(self)}


class Bf16Kernel(nn.Module):
    """The layer itself, told to be no emulation."""

    def __init__(self, layer: Bf16Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        return nn.functional.linear(x.to(torch.bfloat16), self.weight, self.bias).float()
