"""SnapKV: the end of a prompt says which of its tokens stay in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models.attention import Attention
from methods.attention.evict import Evicting
from methods.attention.swap import adopt, swapped
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class SnapKv(Method):
    """After a prompt each head keeps its last `window` tokens, and before them those that these attend to most.

    Paper: SnapKV (Li et al., 2024), section 4 and listing 1: attention of the window's queries over the prefix,
        summed, pooled over `pool` neighbours, the highest budget - window of it stay. What is generated is kept.
    Deviations: heads that share a key head vote together. Here the window ends before the first question, as in a
        conversation of several turns; the paper's window holds the question.
    """

    budget: int = knob(64, low=2, high=65536, help="tokens of a prompt that stay in each key head")
    window: int = knob(16, low=1, high=4096, help="last tokens of the prompt, which vote and stay")
    pool: int = knob(5, low=1, high=63, help="neighbours that stay together, an odd number")

    needs = ("prompt", "attention")
    cpu_factor = 0.02
    small = {"budget": 8, "window": 4, "pool": 3}

    def serve(self, model: nn.Module, run: Run) -> nn.Module:
        more = {"budget": self.budget, "recent": self.window, "pool": self.pool}
        return swapped(model, lambda layer, old: adopt(Voted, old, **more))


class Voted(Evicting):
    """What the last `recent` queries of a prompt attend to; nothing is dropped later."""

    remembers = False

    def __init__(self, *args: Any, pool: int, **more: Any) -> None:
        super().__init__(*args, **more)
        self.pool = pool

    def worth(self, weights: Tensor, start: int) -> Tensor:
        votes = weights[..., -self.recent :, : -self.recent].sum((2, 3))
        if votes.shape[-1] == 0:
            return weights.new_zeros(*votes.shape[:2], weights.shape[-1])
        pooled = F.avg_pool1d(votes, self.pool, 1, self.pool // 2)[..., : votes.shape[-1]]
        return F.pad(pooled, (0, self.recent))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """A prompt is read densely."""
        return Attention.attend(self, q, k, v)

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """As in Evicting, for a prompt; later tokens are only added."""
        if cache is None or cache.length == 0:
            return super().forward(x, cache)
        q, k, v = self.project(x, cache.length)
        keys, values = cache.joined("keys", k), cache.joined("values", v)
        cache.replace(cache.length + x.shape[1], keys=keys, values=values)
        return self.out(Attention.attend(self, q, keys, values).transpose(1, 2).flatten(2))
