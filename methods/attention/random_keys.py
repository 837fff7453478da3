"""Random keys stay in the cache: the control of methods that choose what to keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models.caches import noise
from methods.attention.evict import Evicting
from methods.attention.swap import adopt, swapped
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class RandomKeys(Method):
    """Each head keeps the last tokens and others that were drawn at random: as many as H2O, chosen by nothing.

    Paper: none.
    Deviations: none.
    """

    budget: int = knob(64, low=2, high=65536, help="tokens that stay in each key head")

    needs = ("text", "attention")
    cpu_factor = 0.03
    small = {"budget": 6}

    def serve(self, model: nn.Module, run: Run) -> nn.Module:
        def make(layer: int, old: Any) -> nn.Module:
            seed = 1000 * run.seed + layer
            return adopt(Drawn, old, budget=self.budget, recent=self.budget // 2, seed=seed)

        return swapped(model, make)


class Drawn(Evicting):
    """A token is worth what was drawn for its position and head."""

    def __init__(self, *args: Any, seed: int, **more: Any) -> None:
        super().__init__(*args, **more)
        self.seed = seed

    def worth(self, weights: Tensor, start: int) -> Tensor:
        batch, heads, _, new, keys = weights.shape
        at = torch.arange(start, start + new, device=weights.device)
        head = torch.arange(heads, device=weights.device)[:, None]
        drawn = weights.new_zeros(batch, heads, keys)
        drawn[..., keys - new :] = noise(self.seed, head, at)
        return drawn
