"""H2O: tokens that have received much attention stay in the cache, beside the last ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from methods.attention.evict import Evicting
from methods.attention.swap import adopt, swapped
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class H2o(Method):
    """Each head keeps `budget` tokens: half of them the last ones, half those with the most attention so far.

    Paper: H2O (Zhang et al., 2023), algorithm 1: S_i = S_{i-1} + {i} - {argmin of the accumulated attention}, with
        half of the budget for recent tokens as in section 5.
    Deviations: none in the rule. A prompt is read densely and cut once, as in the authors' code; what is scored
        without a prompt is cut from its first token on. The accumulated scores are kept too and count as bytes.
    """

    budget: int = knob(64, low=2, high=65536, help="tokens that stay in each key head")

    needs = ("text", "attention")
    cpu_factor = 0.03
    small = {"budget": 6}

    def serve(self, model: nn.Module, run: Run) -> nn.Module:
        return swapped(
            model, lambda layer, old: adopt(HeavyHitters, old, budget=self.budget, recent=self.budget // 2)
        )


class HeavyHitters(Evicting):
    """A token is worth the attention that it has received, summed over queries and the heads that share it."""

    def worth(self, weights: Tensor, start: int) -> Tensor:
        return weights.sum((2, 3))
