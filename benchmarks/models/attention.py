"""Grouped-query attention with rotary positions, and the cache of one layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rotary(length: int, size: int, base: float = 1e4) -> tuple[Tensor, Tensor]:
    """Cosine and sine of position times frequency, each [length, size / 2], in float64.

    Frequencies base ** (-2 i / size) as in Su et al. (2021), equation 15.
    """
    frequency = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [..., length, size] by its position; coordinate i is paired with i + size / 2 (as in Llama)."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class KeyValueCache:
    """Keys and values of one layer, [batch, kv_heads, length, head_width]; its room doubles when full."""

    def __init__(self) -> None:
        self.length = 0
        self._room: tuple[Tensor, Tensor] | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write behind what is there; returns views of all keys and all values."""
        end = self.length + keys.shape[2]
        if self._room is None or self._room[0].shape[2] < end:
            self._room = self._grown(keys, end), self._grown(values, end, 1)
        for room, new in zip(self._room, (keys, values), strict=True):
            room[:, :, self.length : end] = new
        self.length = end
        return self._room[0][:, :, :end], self._room[1][:, :, :end]

    def _grown(self, new: Tensor, end: int, which: int = 0) -> Tensor:
        # the first filling gets an eighth more, so that the first steps after a long prompt copy nothing
        size = end + max(16, end // 8) if self._room is None else max(end, 2 * self._room[0].shape[2])
        batch, heads, _, width = new.shape
        room = new.new_zeros(batch, heads, size, width)
        if self._room is not None:
            room[:, :, : self.length] = self._room[which][:, :, : self.length]
        return room

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` positions."""
        self.length = min(self.length, length)

    def bytes(self) -> int:
        """Bytes of the positions that are filled (room that waits is not counted)."""
        if self._room is None:
            return 0
        return sum(room[:, :, : self.length].numel() * room.element_size() for room in self._room)


class Attention(nn.Module):
    """Softmax attention in which groups of query heads share a key and value head (Ainslie et al., 2023).

    Full multi-head attention has kv_heads == heads, multi-query attention kv_heads == 1, sparse query
    attention heads * head_width < width. No biases.

    Args:
        width: of the residual stream.
        heads: query heads.
        kv_heads: key and value heads, a divisor of `heads`; None: as many.
        head_width: None: width / heads.
        base: of the rotary frequencies.
        causal: position i sees positions up to i; else all see all.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int | None = None,
        head_width: int | None = None,
        base: float = 1e4,
        causal: bool = True,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        head_width = width // heads if head_width is None else head_width
        if heads < 1 or kv_heads < 1 or heads % kv_heads:
            raise ValueError(f"attention: {kv_heads} key heads do not divide {heads} query heads")
        if head_width < 2 or head_width % 2:
            raise ValueError(
                f"attention: a head of width {head_width} cannot be rotated; it must be even, 2 or more"
            )
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, head_width
        self.base, self.causal = base, causal
        self.q = nn.Linear(width, heads * head_width, bias=False)
        self.k = nn.Linear(width, kv_heads * head_width, bias=False)
        self.v = nn.Linear(width, kv_heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width, bias=False)
        # tables of the positions met so far; a loaded model makes them again, so they are not stored
        self.register_buffer("cos", torch.zeros(0, head_width // 2), persistent=False)
        self.register_buffer("sin", torch.zeros(0, head_width // 2), persistent=False)

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """[batch, length, width] -> the same; with a cache, x follows what the cache holds."""
        start = cache.length if cache is not None else 0
        q, k, v = self.project(x, start)
        if cache is not None:
            k, v = cache.append(k, v)
        mixed = self.attend(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def project(self, x: Tensor, start: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys (rotated for positions from `start` on) and values, [batch, heads, length, size]."""
        q, k, v = (
            layer(x).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        cos, sin = self._table(start, start + x.shape[1], x)
        return rotate(q, cos, sin), rotate(k, cos, sin), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The operator: q [batch, heads, queries, size], k and v [batch, kv_heads, keys, size] -> like q.

        The queries are the last of the positions that the keys have.
        """
        queries, keys = q.shape[2], k.shape[2]
        mask = None
        if self.causal and 1 < queries < keys:
            mask = self.mask(queries, keys).to(q.device)
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=self.causal and queries == keys > 1,
            enable_gqa=self.kv_heads < self.heads,
        )

    def mask(self, queries: int, keys: int) -> Tensor:
        """The pairs that attend, bool [queries, keys]: what `attend` is held against."""
        pairs = torch.ones(queries, keys, dtype=torch.bool)
        return pairs.tril(keys - queries) if self.causal else pairs

    def new_cache(self) -> KeyValueCache:
        """An empty cache for one run of `forward` calls."""
        return KeyValueCache()

    def _table(self, start: int, stop: int, like: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.cos) < stop or self.cos.dtype != like.dtype:
            # a power of two: lengths that creep up by one token do not make the table anew each time
            with torch.inference_mode(False):  # else a model that was scored could not be trained on
                tables = rotary(1 << (stop - 1).bit_length(), self.head_width, self.base)
                self.cos, self.sin = (table.to(like.device, like.dtype) for table in tables)
        return self.cos[start:stop], self.sin[start:stop]
