"""A layer whose inputs are divided, channel by channel, before it: its weights are multiplied in turn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models.layers import Layer, layer_entry, layer_from


class Divided(Layer):
    """y = inner(x / s) with s [inputs] in half precision, stored beside the layer.

    A model whose previous operation can take 1 / s in (a norm's gain) would store nothing; here s is counted.
    """

    name = "divided"

    def __init__(self, inner: dict[str, Any], inputs: int) -> None:
        super().__init__()
        self.inner: Any = layer_from(inner)
        self.register_buffer("divisor", torch.ones(inputs, dtype=torch.half))

    @classmethod
    def of(cls, inner: Layer, divisor: Tensor) -> Divided:
        """Put `divisor` [inputs] before a layer."""
        layer = cls(layer_entry(inner), len(divisor))
        layer.inner, layer.divisor = inner, divisor.half()
        return layer

    def args(self) -> dict[str, Any]:
        """The inner layer's entry and the number of inputs."""
        return {"inner": layer_entry(self.inner), "inputs": len(self.divisor)}

    def stored_params(self) -> int:
        """The divisors; the inner layer counts its own."""
        return len(self.divisor)

    def weight(self) -> Tensor:
        """The matrix that acts on undivided inputs, float32 [outputs, inputs]."""
        return self.inner.weight() / self.divisor.float()

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        return self.inner(x / self.divisor.float())

    def kernels(self) -> dict[str, nn.Module]:
        """The inner layer's, with the division before them."""
        found = self.inner.kernels().items()
        return {name: DividedForm(kernel, self.divisor.float()) for name, kernel in found}


class DividedForm(nn.Module):
    """The same around a kernel; its `inner` lies where the layer's did."""

    def __init__(self, inner: nn.Module, divisor: Tensor) -> None:
        super().__init__()
        self.inner, self.divisor = inner, divisor

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        return self.inner(x / self.divisor)
