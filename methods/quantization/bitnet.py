"""BitNet b1.58: trained from the start with weights of -1, 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks.models.layers import set_module
from methods.base import Method, knob
from methods.quantization.layers import PlaneLinear, quantizable, round_per_row

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Bitnet(Method):
    """Linear layers with ternary weights and 8-bit activations, identity gradients through both roundings.

    Paper: BitNet b1.58 (Ma et al., 2024): W_t = clip(round(W / gamma), -1, 1) gamma, gamma = mean|W|;
        activations with a symmetric scale a token, max|x| / 127.
    Deviations: no norm of its own inside a layer (the decoder has one before each block's products); gamma is
        stored once a row; trained with the task's own rate and decay. There is no kernel here: time is null.
    """

    activations: int = knob(8, low=0, high=16, help="bits of activations; 0: full precision")

    cpu_factor = 1.4

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        layers = quantizable(model)
        hooks = [linear.register_forward_pre_hook(self._rounded) for _, linear in layers]
        for _, linear in layers:
            parametrize.register_parametrization(linear, "weight", Ternary())
        for step in run.steps(model):
            step.update()
        for hook in hooks:
            hook.remove()
        for path, linear in layers:
            set_module(model, path, self._stored(linear))
        return model

    def _rounded(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.activations:
            return args
        return (args[0] + (round_per_row(args[0], self.activations) - args[0]).detach(),)

    @torch.no_grad()
    def _stored(self, linear: nn.Linear) -> PlaneLinear:
        held: Any = linear.parametrizations
        gamma, trits = ternary(held.weight.original)
        scale = gamma.expand(1, len(trits))
        layer = PlaneLinear.of(linear, trits[None], scale, levels=3)
        layer.activations = self.activations
        return layer


def ternary(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gamma = mean|W| and the trits clip(round(W / gamma), -1, 1)."""
    gamma = weight.abs().mean().clamp(min=1e-8)
    return gamma, (weight / gamma).round().clamp(-1, 1)


class Ternary(nn.Module):
    """W -> its trits times gamma, with the gradient of the identity."""

    def forward(self, weight: Tensor) -> Tensor:
        """[outputs, inputs] -> the same."""
        gamma, trits = ternary(weight)
        return weight + (trits * gamma - weight).detach()
