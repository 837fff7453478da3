"""A small decoder with rotary positions, RMS norm and a squared-ReLU MLP, and its cache."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rotary(length: int, size: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine, each `[length, size / 2]`."""
    angle = torch.arange(length)[:, None] / base ** (torch.arange(0, size, 2) / size)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the halves of the last axis of `x [..., t, size]`."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)


class Cache:
    """Keys and values of all layers: `[layers, 2, rows, heads, room, size]`; `length` positions are filled."""

    def __init__(self, layers: int, rows: int, heads: int, room: int, size: int) -> None:
        self.store = torch.zeros(layers, 2, rows, heads, room, size)
        self.length = 0

    def keep(self, rows: Tensor) -> None:
        """Keep some rows, in the order given."""
        self.store = self.store[:, :, rows]

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write at the end, return all."""
        end = self.length + keys.shape[2]
        self.store[layer, 0, :, :, self.length : end] = keys
        self.store[layer, 1, :, :, self.length : end] = values
        return self.store[layer, 0, :, :, :end], self.store[layer, 1, :, :, :end]


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        self.norm1 = nn.RMSNorm(width, eps=1e-6)
        self.norm2 = nn.RMSNorm(width, eps=1e-6)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache | None, layer: int) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3 * self.heads, -1).transpose(1, 2).chunk(3, 1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.relu(self.up(self.norm2(x))).square())


class Decoder(nn.Module):
    def __init__(self, vocabulary: int, width: int = 64, depth: int = 2, heads: int = 4, context: int = 128,
                 base: float = 500.0) -> None:
        super().__init__()
        self.context, self.heads, self.width = context, heads, width
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.embed.weight, std=0.5)
        nn.init.zeros_(self.head.weight)
        cos, sin = rotary(context, width // heads, base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def features(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        start = 0 if cache is None else cache.length
        end = start + tokens.shape[1]
        x = self.embed(tokens)
        for layer, block in enumerate(self.blocks):
            x = block(x, self.cos[start:end], self.sin[start:end], cache, layer)
        if cache is not None:
            cache.length = end
        return self.norm(x)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.features(tokens))

    def new_cache(self, rows: int, room: int) -> Cache:
        return Cache(len(self.blocks), rows, self.heads, room, self.width // self.heads)
