"""Attention with a cache of bounded size from which tokens are dropped, head by head, by what was seen of them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.models.attention import Attention
from benchmarks.models.caches import KeptCache


class Evicting(Attention):
    """A policy says how much a token is worth; the last `recent` and the worthiest others stay.

    A prompt, several tokens into an empty cache, is read densely and then cut to the budget. A step reads what is
    kept and its own token, and then drops one. `forward` without a cache is every token as a step: the mask of it
    is `pairs`.

    Args:
        budget: tokens that stay in each key head.
        recent: how many of them are the last ones.
    """

    #: Whether what a token is worth is kept with it, to be added to.
    remembers = True

    def __init__(self, *args: Any, budget: int, recent: int, **more: Any) -> None:
        super().__init__(*args, **more)
        self.budget, self.recent = budget, min(recent, budget)

    def worth(self, weights: Tensor, start: int) -> Tensor:
        """What queries add to the worth of the keys that they read.

        Args:
            weights: [batch, kv_heads, group, queries, keys], those of each query over keys.
            start: the position of the first query, whose key is the first of the last `queries`.

        Returns:
            [batch, kv_heads, keys].
        """
        raise NotImplementedError

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As in Attention, over what each step would have kept."""
        mask = self.pairs(q, k).repeat_interleave(self.heads // self.kv_heads, 1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=self.kv_heads < self.heads)

    @torch.no_grad()
    def pairs(self, q: Tensor, k: Tensor) -> Tensor:
        """What each step reads, bool [batch, kv_heads, positions, positions], found token by token."""
        length, logits = k.shape[2], self._logits(q, k)
        alive = torch.zeros(*k.shape[:3], dtype=torch.bool, device=k.device)
        worth = torch.zeros(k.shape[:3], dtype=k.dtype, device=k.device)
        rows = []
        for now in range(length):
            alive[..., now] = True
            rows.append(alive.clone())
            weights = logits[..., now, :].masked_fill(~alive[:, :, None], float("-inf")).softmax(-1)
            worth[..., : now + 1] += self.worth(weights[..., None, : now + 1], now)
            if now >= self.budget:
                rest = worth.masked_fill(~alive, float("inf"))
                rest[..., now + 1 - self.recent :] = float("inf")
                alive.scatter_(2, rest.argmin(2, keepdim=True), False)
        return torch.stack(rows, 2)

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """As in Attention; a cache is cut to the budget behind each call."""
        if cache is None:
            return super().forward(x)
        start, new = cache.length, x.shape[1]
        q, k, v = self.project(x, start)
        keys, values = cache.joined("keys", k), cache.joined("values", v)
        weights = self.weights(q, keys)
        mixed = (weights @ values[:, :, None]).flatten(1, 2)
        worth = cache.joined("worth", k.new_zeros(k.shape[:3])) + self.worth(weights, start)
        stay = self.staying(worth)
        if stay is not None:
            keys, values = (
                x.gather(2, stay[..., None].expand(-1, -1, -1, x.shape[3])) for x in (keys, values)
            )
            worth = worth.gather(2, stay)
        kept = {"worth": worth} if self.remembers else {}
        cache.replace(start + new, keys=keys, values=values, **kept)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def staying(self, worth: Tensor) -> Tensor | None:
        """Which of the kept stay, places [batch, kv_heads, budget] in their order; None where all do."""
        count = worth.shape[2]
        if count <= self.budget:
            return None
        old = worth[..., : count - self.recent].topk(self.budget - self.recent, 2).indices
        last = torch.arange(count - self.recent, count, device=worth.device).expand(*worth.shape[:2], -1)
        return torch.cat((old.sort(2).values, last), 2)

    def weights(self, q: Tensor, keys: Tensor) -> Tensor:
        """Softmax over the keys up to each query's own, [batch, kv_heads, group, queries, keys]."""
        logits = self._logits(q, keys)
        if q.shape[2] == 1:
            return logits.softmax(-1)
        later = ~Attention.mask(self, q.shape[2], keys.shape[2]).to(q.device)
        return logits.masked_fill(later, float("-inf")).softmax(-1)

    def _logits(self, q: Tensor, keys: Tensor) -> Tensor:
        grouped = q.unflatten(1, (self.kv_heads, -1))
        return grouped @ keys[:, :, None].transpose(3, 4) / self.head_width**0.5

    def new_cache(self) -> KeptCache:  # type: ignore[override]
        return KeptCache()
