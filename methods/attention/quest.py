"""Quest: a query reads the pages of the cache that may hold its highest scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models.attention import Attention
from benchmarks.models.caches import PagedCache, bounds, noise
from methods.attention.swap import adopt, swapped
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class Quest(Method):
    """Nothing is dropped; a step reads `budget` tokens: its own page, and the pages with the highest bound.

    Paper: Quest (Tang et al., 2024), section 3.4 and algorithm 1: a page's score is sum_d max(q_d m_d, q_d M_d) with
        the least m and the largest M of its keys, a bound of all q k in the page; the top k pages are read.
    Deviations: all layers choose, where the paper reads the first two densely (of two, none would be left). A
        prompt is read densely, as in the paper. by=random draws the pages instead: the control.
    """

    budget: int = knob(64, low=2, high=65536, help="tokens that a step reads, whole pages")
    page: int = knob(16, low=1, high=1024, help="tokens of a page; the budget must hold two")
    by: str = knob("bound", choices=("bound", "random"), help="how pages are chosen; random is the control")

    needs = ("attention",)
    cpu_factor = 0.03
    small = {"budget": 8, "page": 4}

    def serve(self, model: nn.Module, run: Run) -> nn.Module:
        if self.budget < 2 * self.page:
            raise ValueError(f"quest: a budget of {self.budget} does not hold two pages of {self.page}")

        def make(layer: int, old: Any) -> nn.Module:
            seed = 1000 * run.seed + layer if self.by == "random" else None
            return adopt(PageAttention, old, page=self.page, pages=self.budget // self.page, seed=seed)

        return swapped(model, make)


class PageAttention(Attention):
    """A query reads its own page and the `pages` - 1 best of the whole pages before, each query head its own.

    Args:
        page: tokens of a page.
        pages: how many a query reads.
        seed: of a random choice; None: by the bound.
    """

    def __init__(self, *args: Any, page: int, pages: int, seed: int | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        self.page, self.pages, self.seed = page, pages, seed
        self._seen: tuple[Any, ...] = (None,)
        self._pairs: Tensor | None = None

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As in Attention, by the rule of a step for every query."""
        if q.shape[2] > 1:
            self._pairs = self.pairs(q, k)
            return F.scaled_dot_product_attention(
                q, k, v, attn_mask=self._pairs, enable_gqa=self.kv_heads < self.heads
            )
        if self._seen[0] is not k:  # plain keys, as an operator gets them: a cache would have their bounds
            whole = k.shape[2] // self.page * self.page
            self._seen = (k, *bounds(k[:, :, :whole], self.page))
        return self.step(q, k, v, *self._seen[1:])

    def mask(self, queries: int, keys: int) -> Tensor:
        """Of the last call of `attend` and its first row, bool [heads, queries, keys]."""
        if self._pairs is None or self._pairs.shape[2:] != (queries, keys):
            return super().mask(queries, keys)
        return self._pairs[0]

    def step(self, q: Tensor, k: Tensor, v: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """One query [batch, heads, 1, size] over the pages that it chooses."""
        length = k.shape[2]
        own = (length - 1) // self.page  # its own page, full or not, is read by all
        best = (
            self.scores(q, low[:, :, :own], high[:, :, :own], length - 1)
            .topk(min(self.pages - 1, own))
            .indices
        )
        share = self.heads // self.kv_heads
        at = (best[..., None] * self.page + torch.arange(self.page, device=q.device)).flatten(3)
        at = at.unflatten(1, (-1, share)).flatten(2)[..., None].expand(-1, -1, -1, k.shape[3])

        def read(x: Tensor) -> Tensor:
            mine = x[:, :, own * self.page :].repeat_interleave(share, 1)
            chosen = x.gather(2, at).unflatten(2, (share, -1)).flatten(1, 2)
            return torch.cat((chosen, mine), 2)

        return F.scaled_dot_product_attention(q, read(k), read(v))

    def scores(self, q: Tensor, low: Tensor, high: Tensor, first: int) -> Tensor:
        """Bounds of q k over pages, [batch, heads, queries, pages]; `first` is the first query's position."""
        if self.seed is not None:
            at = torch.arange(first, first + q.shape[2], device=q.device)[:, None]
            drawn = noise(self.seed, at, torch.arange(low.shape[2], device=q.device))
            return drawn.to(q.dtype).expand(*q.shape[:2], -1, -1)
        low, high = (x.repeat_interleave(self.heads // self.kv_heads, 1).transpose(2, 3) for x in (low, high))
        return q.relu() @ high - (-q).relu() @ low  # max(q m, q M) is q M where q > 0, and q m elsewhere

    @torch.no_grad()
    def pairs(self, q: Tensor, k: Tensor) -> Tensor:
        """What each query reads, bool [batch, heads, queries, keys]; the queries are the last of the keys."""
        queries, keys = q.shape[2], k.shape[2]
        whole, at = keys // self.page, torch.arange(keys, device=q.device)
        own = at[keys - queries :, None] // self.page
        low, high = bounds(k[:, :, : whole * self.page], self.page)
        scores = self.scores(q, low, high, keys - queries)
        past = at[:whole] < own
        best = scores.masked_fill(~past, float("-inf")).topk(min(self.pages - 1, whole), 3).indices
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter_(3, best, True) & past
        chosen = F.pad(chosen, (0, 1)) | (torch.arange(whole + 1, device=q.device) == own)
        return chosen.repeat_interleave(self.page, 3)[..., :keys] & (at <= at[keys - queries :, None])

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """As in Attention; several tokens behind a cache are a prompt and read densely."""
        if cache is None:
            return super().forward(x)
        q, k, v = self.project(x, cache.length)
        keys, values = cache.append(k, v)
        if x.shape[1] > 1 or cache.low is None or cache.high is None:
            mixed = Attention.attend(self, q, keys, values)
        else:
            mixed = self.step(q, keys, values, cache.low, cache.high)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def new_cache(self) -> PagedCache:
        return PagedCache(self.page)
