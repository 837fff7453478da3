"""Attention in fixed patterns of blocks: its mask, a form that gathers key blocks, and a cache without dead keys."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.models.attention import Attention
from benchmarks.models.caches import PatternCache

#: Query blocks that are computed together; each group is as wide as its widest row.
GROUP = 16


class BlockAttention(Attention):
    """Causal attention in which a block of queries reads some blocks of keys.

    A pattern is `rows`, and `allowed` where it is finer than blocks. The last queries of `attend` belong to the
    last keys, as in Attention.

    Args:
        block: tokens of a block.
    """

    def __init__(self, *args: Any, block: int, **more: Any) -> None:
        super().__init__(*args, **more)
        self.block = block
        self._row: tuple[int, Tensor] = (-1, torch.zeros(0, dtype=torch.long))

    def rows(self, of: Tensor, blocks: int) -> Tensor:
        """Which of `blocks` key blocks the query blocks `of` [n] read, bool [n, blocks]; none after their own."""
        raise NotImplementedError

    def allowed(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Which pairs of positions attend, bool; arguments broadcast."""
        first, last = int(queries.min()) // self.block, int(queries.max()) // self.block
        rows = self.rows(torch.arange(first, last + 1), last + 1).to(keys.device)
        of_keys = (keys // self.block).clamp(max=last)  # later ones are in no query's past
        return (keys <= queries) & rows[queries // self.block - first, of_keys]

    def kept(self, length: int, positions: Tensor) -> Tensor:
        """Which positions a query from `length` on may read, bool [n]: all, where the pattern knows no better."""
        return torch.ones_like(positions, dtype=torch.bool)

    def mask(self, queries: int, keys: int) -> Tensor:
        at = torch.arange(keys)
        return self.allowed(at[keys - queries :, None], at[None])

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As in Attention: one query gathers its keys, many gather blocks; few tokens are masked.

        A pattern that is finer than blocks reads the keys of one query by itself.
        """
        queries, keys = q.shape[2], k.shape[2]
        gqa = self.kv_heads < self.heads
        if queries == 1:
            at = self._read(keys).to(q.device)
            return F.scaled_dot_product_attention(q, k[:, :, at], v[:, :, at], enable_gqa=gqa)
        if queries < keys or keys <= 4 * self.block:
            mask = self.mask(queries, keys).to(q.device)
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=gqa)
        return self._gathered(q, k, v)

    def _read(self, keys: int) -> Tensor:
        """Positions that the last of `keys` queries reads; the blocks before its own are found once a block."""
        own = (keys - 1) // self.block
        if self._row[0] != own:
            row = self.rows(torch.tensor([own]), own + 1)[0, :own]
            self._row = own, (row.nonzero() * self.block + torch.arange(self.block)).flatten()
        return torch.cat((self._row[1], torch.arange(own * self.block, keys)))

    def _gathered(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        batch, keys, size = q.shape[0], k.shape[2], self.block
        blocks = -(-keys // size)
        q, k, v = (F.pad(x, (0, 0, 0, blocks * size - keys)).unflatten(2, (blocks, size)) for x in (q, k, v))
        layout, parts = self.rows(torch.arange(blocks), blocks).to(q.device), []
        inside = torch.arange(size, device=q.device)
        for first in range(0, blocks, GROUP):
            rows = layout[first : first + GROUP]
            widest = int(rows.sum(1).max())
            filled, chosen = rows.to(torch.uint8).sort(dim=1, descending=True, stable=True)
            filled, chosen = filled[:, :widest].bool(), chosen[:, :widest]
            at = (chosen[..., None] * size + inside).flatten(1)  # [group, widest x size]
            of = (torch.arange(first, first + len(rows), device=q.device)[:, None] * size + inside)[..., None]
            mask = self.allowed(of, at[:, None]) & filled.repeat_interleave(size, 1)[:, None]
            mine = q[:, :, first : first + GROUP].transpose(1, 2).flatten(0, 1)
            near_k, near_v = (x[:, :, chosen].flatten(3, 4).transpose(1, 2).flatten(0, 1) for x in (k, v))
            mask = mask.repeat(batch, 1, 1)[:, None]
            mixed = F.scaled_dot_product_attention(
                mine, near_k, near_v, attn_mask=mask, enable_gqa=self.kv_heads < self.heads
            )
            parts.append(mixed.unflatten(0, (batch, -1)))
        return torch.cat(parts, 1).transpose(1, 2).flatten(2, 3)[:, :, :keys]

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """As in Attention; behind a cache, over what it has kept."""
        if cache is None:
            return super().forward(x)
        start, new = cache.length, x.shape[1]
        q, k, v = self.project(x, start)
        keys, values = cache.append(k, v)
        if start == 0:
            mixed = self.attend(q, k, v)
        else:
            of = torch.arange(start, start + new, device=x.device)
            mask = self.allowed(of[:, None], cache.at[None])
            mixed = F.scaled_dot_product_attention(
                q, keys, values, attn_mask=mask, enable_gqa=self.kv_heads < self.heads
            )
        return self.out(mixed.transpose(1, 2).flatten(2))

    def new_cache(self) -> PatternCache:  # type: ignore[override]
        return PatternCache(self.kept)
