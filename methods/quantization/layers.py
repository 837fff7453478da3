"""Linear layers whose weights are stored in few bits, and the walk over a model that puts them in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models.divided import Divided
from benchmarks.models.layers import Layer, set_module
from methods.quantization.rounding import (
    Rounded,
    group_size,
    pack_bits,
    pack_trits,
    round_to_nearest,
    unpack_bits,
    unpack_trits,
)

if TYPE_CHECKING:
    from benchmarks.run import Run

#: What models call the layer that turns features into the logits of a vocabulary. Papers leave it as it is.
HEAD = "head"


class PackedLinear(Layer):
    """y = W x + b with a W that is unpacked at each call: the reference of every kernel on such weights."""

    #: Bits of the activations that enter, 0 for those that stay as they are; set by the method, kept in `args`.
    activations: int = 0

    def __init__(self, inputs: int, outputs: int, bias: bool, group: int) -> None:
        super().__init__()
        if inputs % group:
            raise ValueError(f"packed linear: groups of {group} do not divide rows of {inputs}")
        self.inputs, self.outputs, self.group = inputs, outputs, group
        self.register_buffer("bias", torch.zeros(outputs) if bias else None)

    @property
    def blocks(self) -> int:
        """How many groups of weights there are."""
        return self.inputs * self.outputs // self.group

    def args(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "bias": self.bias is not None,
            "group": self.group,
        }

    def values(self) -> Tensor:
        """The weights, float32 [blocks, group]."""
        raise NotImplementedError

    def weight(self) -> Tensor:
        """The matrix that the packed tensors stand for, float32 [outputs, inputs]."""
        return self.values().view(self.outputs, self.inputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        x = round_per_row(x, self.activations) if self.activations else x
        return nn.functional.linear(x, self.weight(), self.bias)

    def stored_params(self) -> int:
        return self.inputs * self.outputs + (0 if self.bias is None else self.outputs)

    def nonzero(self) -> int:
        return self.stored_params() - int((self.values() == 0).sum())


class CodeLinear(PackedLinear):
    """Uniform codes with a scale a group and, on an asymmetric grid, a zero point: as wide as a code, or a half."""

    name = "code_linear"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool,
        group: int,
        bits: int,
        symmetric: bool,
        half_zero: bool = False,
    ) -> None:
        super().__init__(inputs, outputs, bias, group)
        self.bits, self.symmetric, self.half_zero = bits, symmetric, half_zero
        self.register_buffer("codes", pack_bits(torch.zeros(inputs * outputs), bits))
        self.register_buffer("scale", torch.ones(self.blocks, dtype=torch.half))
        self.register_buffer("zero", None if symmetric else self._stored(torch.zeros(self.blocks)))

    @classmethod
    @torch.no_grad()
    def of(cls, linear: nn.Linear, bits: int, group: int, symmetric: bool) -> CodeLinear:
        """A linear layer rounded to nearest in groups of at most `group` (0: rows)."""
        size = group_size(linear.in_features, group)
        found = round_to_nearest(linear.weight.reshape(-1, size), bits, symmetric)
        return cls.from_codes(linear, found, bits, symmetric)

    @classmethod
    @torch.no_grad()
    def from_codes(cls, linear: nn.Linear, found: Rounded, bits: int, symmetric: bool) -> CodeLinear:
        """A linear layer whose weights somebody has rounded, group by group along its rows."""
        size, half = found.codes.shape[1], found.zero.dtype == torch.half
        shape = (linear.in_features, linear.out_features, linear.bias is not None, size)
        layer = cls(*shape, bits, symmetric, half_zero=half and not symmetric)
        layer.codes, layer.scale = pack_bits(found.codes, bits), found.scale
        layer.zero = None if symmetric else layer._stored(found.zero)
        layer.bias = None if linear.bias is None else linear.bias.detach().clone()
        return layer

    def args(self) -> dict[str, Any]:
        args = {**super().args(), "bits": self.bits, "symmetric": self.symmetric}
        return {**args, "half_zero": True} if self.half_zero else args

    def _stored(self, zero: Tensor) -> Tensor:
        return zero.half() if self.half_zero else pack_bits(zero, self.bits)

    def values(self) -> Tensor:
        codes = unpack_bits(self.codes, self.bits, self.inputs * self.outputs).view(self.blocks, self.group)
        if self.zero is None:
            zero = torch.full_like(self.scale, 2 ** (self.bits - 1) - 1)
        else:
            zero = self.zero if self.half_zero else unpack_bits(self.zero, self.bits, self.blocks)
        return (codes.float() - zero.float()[:, None]) * self.scale.float()[:, None]


class PlaneLinear(PackedLinear):
    """W = sum_k a_k T_k: planes of trits (levels 3, five a byte) or signs (levels 2), scales a group each."""

    name = "plane_linear"

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bias: bool,
        group: int,
        planes: int,
        levels: int,
        activations: int = 0,
    ) -> None:
        super().__init__(inputs, outputs, bias, group)
        self.levels, self.activations = levels, activations
        self.register_buffer("planes", torch.stack([self._pack(torch.ones(inputs * outputs))] * planes))
        self.register_buffer("scale", torch.ones(planes, self.blocks, dtype=torch.half))

    @classmethod
    @torch.no_grad()
    def of(cls, linear: nn.Linear, planes: Tensor, scale: Tensor, levels: int) -> PlaneLinear:
        """From planes [planes, blocks, group] of -1, 0, 1 and scales [planes, blocks] in half precision."""
        bias = linear.bias is not None
        layer = cls(linear.in_features, linear.out_features, bias, planes.shape[-1], len(planes), levels)
        layer.planes = torch.stack([layer._pack(plane) for plane in planes])
        layer.scale = scale.half().contiguous()
        layer.bias = linear.bias.detach().clone() if bias else None
        return layer

    def args(self) -> dict[str, Any]:
        args = {**super().args(), "planes": len(self.planes), "levels": self.levels}
        return {**args, "activations": self.activations} if self.activations else args

    def _pack(self, plane: Tensor) -> Tensor:
        return pack_trits(plane) if self.levels == 3 else pack_bits(plane > 0, 1)

    def _unpack(self, packed: Tensor) -> Tensor:
        count = self.inputs * self.outputs
        trits = (
            unpack_trits(packed, count) if self.levels == 3 else unpack_bits(packed, 1, count).float() * 2 - 1
        )
        return trits.view(self.blocks, self.group)

    def values(self) -> Tensor:
        scaled = [
            self._unpack(plane) * scale.float()[:, None]
            for plane, scale in zip(self.planes, self.scale, strict=True)
        ]
        return torch.stack(scaled).sum(0)


@torch.no_grad()
def multiplied(linear: nn.Linear, s: Tensor) -> nn.Linear:
    """The layer with W diag(s), s [inputs]: on inputs x / s it gives the same outputs."""
    scaled = copy.deepcopy(linear)
    scaled.weight.mul_(s)
    return scaled


def round_per_row(x: Tensor, bits: int) -> Tensor:
    """Activations [..., inputs] on a symmetric grid of `bits` with a scale a row: max|x| / (2^(bits-1) - 1)."""
    top = 2 ** (bits - 1) - 1
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-8) / top
    return (x / scale).round().clamp(-top, top) * scale


def quantizable(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    """The linear layers that weight-only methods change, by path.

    Embeddings are no linear layers, and a layer called `head` reads logits of a vocabulary out of features:
    both stay in full precision, as in the papers. Their bytes are counted with the rest.
    """
    return [
        (path, module)
        for path, module in model.named_modules()
        if type(module) is nn.Linear and path.rpartition(".")[2] != HEAD
    ]


def quantize(model: nn.Module, run: Run, make: Callable[[nn.Linear], PackedLinear | Divided]) -> nn.Module:
    """Put `make(linear)` in place of every quantizable layer; note bits a weight and relative squared error.

    Both notes are over the replaced matrices together: bits of all that is stored of them (scales too, biases
    not), and sum (W - W_q)^2 / sum W^2.
    """
    bits = weights = error = power = 0.0
    for path, linear in quantizable(model):
        layer = make(linear)
        bits += 8 * sum(part.stored_bytes() for part in layer.modules() if isinstance(part, Layer))
        bits -= 0 if linear.bias is None else 32 * linear.out_features
        weights += linear.weight.numel()
        exact = linear.weight.detach().double()
        error += float((layer.weight().double() - exact).square().sum())
        power += float(exact.square().sum())
        set_module(model, path, layer)
    if weights:
        run.log.note(bits_per_weight=bits / weights, relative_mse=error / max(power, 1e-300))
    return model
