"""The layer of native sparse attention: a coarse, a chosen and a near branch with gates, and its cache."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models.attention import Attention, KeyValueCache, rotate
from benchmarks.models.caches import KeptCache
from methods.attention.outermost import keys_outermost, pairs_of
from methods.attention.sliding_window import Window

#: Up to so many keys a mask is cheaper than a loop over blocks.
FEW = 512


class ThreeBranches(Attention):
    """Compressed blocks, chosen blocks and a window, each with keys and values of its own.

    Args:
        block: tokens that are compressed into one, and of a block that is chosen.
        chosen: blocks that a query reads, the first and its own among them.
        window: last positions of the third branch.
    """

    def __init__(self, width: int, heads: int, block: int, chosen: int, window: int) -> None:
        super().__init__(width, heads)
        self.block, self.chosen = block, chosen
        size = self.head_width
        self.near = Window(width, heads, window)  # its projections are those of the third branch
        del self.near.q, self.near.out
        self.k_raw, self.v_raw = (nn.Linear(width, heads * size, bias=False) for _ in range(2))
        self.place = nn.Parameter(torch.zeros(block, size))
        self.squeeze_k, self.squeeze_v = (
            nn.Sequential(nn.Linear(block * size, size), nn.SiLU(), nn.Linear(size, size)) for _ in range(2)
        )
        self.gate = nn.Linear(width, 3 * heads)
        self._seen: tuple[Any, ...] = (None,)

    def squeezed(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Whole blocks of keys and values [batch, heads, m block, size] -> one of each, [batch, heads, m, size]."""
        k, v = ((x.unflatten(2, (-1, self.block)) + self.place).flatten(3) for x in (k, v))
        return self.squeeze_k(k), self.squeeze_v(v)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As in Attention, of plain operands: the mean of three branches that read the same keys and values."""
        whole = k.shape[2] // self.block * self.block
        if q.shape[2] > 1 or self._seen[0] is not k:  # a cache would have the compressed ones
            self._seen = k, self.squeezed(k[:, :, :whole], v[:, :, :whole])
        return self.mixed(q, self._seen[1], (k, v), (k, v), q.new_full((3,), 1 / 3))

    def mixed(self, q: Tensor, coarse: Any, fine: Any, near: Any, gates: Tensor) -> Tensor:
        """Output of the three branches, each a pair of keys and values; gates [..., 3]."""
        keys = fine[0].shape[2]
        rough, weights = self.rough(q, coarse[0], coarse[1], keys)
        exact = self.exact(q, fine[0], fine[1], self.choice(weights.detach(), keys))
        parts = torch.stack((rough, exact, self.near.attend(q, near[0], near[1])), -1)
        return (parts * gates[..., None, :]).sum(-1)

    def rough(self, q: Tensor, k: Tensor, v: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        """Attention to blocks that are over, and its weights; nothing, where none is."""
        at = torch.arange(keys - q.shape[2], keys, device=q.device)[:, None]
        over = torch.arange(k.shape[2], device=q.device) < (at + 1) // self.block
        scores = (q @ k.transpose(2, 3) / self.head_width**0.5).masked_fill(~over, -1e9)
        weights = scores.softmax(-1) * over
        return weights @ v, weights

    def choice(self, weights: Tensor, keys: int) -> Tensor:
        """Blocks of each query: the first, its own and those with most weight, [batch, heads, queries, chosen]."""
        queries, blocks = weights.shape[2:]
        own = torch.arange(keys - queries, keys, device=weights.device) // self.block
        at = torch.arange(blocks, device=weights.device)
        between = (at > 0) & (at < own[:, None])
        best = weights.masked_fill(~between, -1.0).topk(min(self.chosen - 2, blocks), 3)
        best_at = torch.where(best.values < 0, -1, best.indices)
        first = torch.where(own > 0, 0, -1)
        fixed = torch.stack((first, own), -1).expand(*weights.shape[:2], -1, -1)
        return torch.cat((fixed, best_at), 3)

    def exact(self, q: Tensor, k: Tensor, v: Tensor, chosen: Tensor) -> Tensor:
        """Attention to the chosen blocks, token by token."""
        queries, keys = q.shape[2], k.shape[2]
        if queries == keys > FEW:
            return keys_outermost(q, k, v, chosen, self.block)
        if queries > 1 or keys <= FEW:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=pairs_of(chosen, self.block, keys))
        at = (chosen[:, :, 0, :, None] * self.block + torch.arange(self.block, device=q.device)).flatten(2)
        seen = (at >= 0) & (at < keys)  # no block of -1, nothing behind the query
        at = at.clamp(0, keys - 1)[..., None].expand(-1, -1, -1, k.shape[3])
        return F.scaled_dot_product_attention(q, k.gather(2, at), v.gather(2, at), attn_mask=seen[:, :, None])

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """As in Attention."""
        start = cache.length if cache is not None else 0
        q, k, v = self.project(x, start)
        near_k, near_v, raw_k, raw_v = (
            layer(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for layer in (self.near.k, self.near.v, self.k_raw, self.v_raw)
        )
        near_k = rotate(near_k, *self._table(start, start + x.shape[1], x))
        if cache is None:
            coarse = self.placed(raw_k, raw_v, 0)
            fine, near = (k, v), (near_k, near_v)
        else:
            coarse, fine, near = cache.add(self, (raw_k, raw_v), (k, v), (near_k, near_v))
        gates = self.gate(x).sigmoid().unflatten(-1, (self.heads, 3)).transpose(1, 2)
        return self.out(self.mixed(q, coarse, fine, near, gates).transpose(1, 2).flatten(2))

    def placed(self, k: Tensor, v: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Whole blocks of raw keys and values, compressed; a key is turned as its first token, of block `first` on."""
        whole = k.shape[2] // self.block
        k, v = self.squeezed(*(x[:, :, : whole * self.block] for x in (k, v)))
        if whole:
            cos, sin = self._table(0, (first + whole) * self.block, k)
            k = rotate(k, *(x[first * self.block :: self.block] for x in (cos, sin)))
        return k, v

    def new_cache(self) -> ThreeCaches:  # type: ignore[override]
        return ThreeCaches(self)


class ThreeCaches:
    """Compressed blocks and the raw tokens of the one that is not over, all keys and values, and a window of them."""

    def __init__(self, layer: ThreeBranches) -> None:
        self.coarse, self.fine = KeyValueCache(), KeyValueCache()
        self.raw, self.near = KeptCache(), KeptCache()
        self.block, self.window, self._layer = layer.block, layer.near.window, layer

    @property
    def length(self) -> int:
        """Tokens that were read."""
        return self.fine.length

    def add(self, layer: ThreeBranches, raw: Any, fine: Any, near: Any) -> tuple[Any, Any, Any]:
        """Keys and values of new tokens for each branch -> all that each branch can read."""
        new = fine[0].shape[2]
        raw_k, raw_v = (self.raw.joined(name, x) for name, x in zip("kv", raw, strict=True))
        over = raw_k.shape[2] // self.block * self.block
        coarse = self.coarse.append(*layer.placed(raw_k, raw_v, self.coarse.length))
        self.raw.replace(self.length + new, k=raw_k[:, :, over:], v=raw_v[:, :, over:])
        near_k, near_v = (self.near.joined(name, x) for name, x in zip("kv", near, strict=True))
        last = max(0, near_k.shape[2] - self.window + 1)
        self.near.replace(self.length + new, k=near_k[:, :, last:], v=near_v[:, :, last:])
        return coarse, self.fine.append(*fine), (near_k, near_v)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Plain keys and values for all branches, as an operator has them."""
        pair = keys, values
        return self.add(self._layer, pair, pair, pair)[1]

    def bytes(self) -> int:
        """Bytes of what all branches keep."""
        return sum(part.bytes() for part in (self.coarse, self.fine, self.raw, self.near))

    def rewind(self, length: int) -> None:
        """Take back the last call."""
        for part in (self.fine, self.raw, self.near):
            part.rewind(length)
        self.coarse.rewind(length // self.block)
