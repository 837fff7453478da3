"""Multi-head latent attention: one narrow vector a token is kept, from which all heads make keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models.attention import KeyValueCache, rotary, rotate
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class LatentAttention(Method):
    """A cache of `latent` + `rotary` numbers a token and layer, whatever the number of heads.

    Paper: DeepSeek-V2 (2024), section 2.1: c = W_DKV h is kept; keys W_UK c and values W_UV c; beside them a
        rotary key k_R = RoPE(W_KR h) that all heads share and rotary queries; scores over sqrt(d + d_R). A step
        absorbs W_UK into the query and W_UV into the output and so attends in the latent space.
    Deviations: queries are not compressed, as in the paper's Lite model.
    """

    latent: int = knob(16, low=1, high=4096, help="width of what is kept of a token")
    rotary: int = knob(8, low=2, high=256, help="width of the key that carries the position, an even number")

    needs = ("text", "attention")
    cpu_factor = 1.1
    small = {"latent": 6, "rotary": 4}

    def build(self, run: Run) -> nn.Module:
        heads = run.task.heads  # type: ignore[attr-defined]

        def mixer(layer: int, width: int) -> nn.Module:
            return Latent(width, heads, self.latent, self.rotary)

        return run.task.model(run, width=self.width, mixer=mixer)


class Latent(nn.Module):
    """The plain form for a text from its start, the absorbed one behind a cache.

    Args:
        width, heads: as in Attention; a head has width / heads beside its rotary part.
        latent: width of c.
        turned: width of the rotary part of queries and of the shared key.
    """

    def __init__(self, width: int, heads: int, latent: int, turned: int) -> None:
        super().__init__()
        if turned % 2:
            raise ValueError(f"latent attention: rotary is {turned}, and only pairs can be turned")
        self.heads, self.size, self.rotary = heads, width // heads, turned
        self.q = nn.Linear(width, heads * (self.size + turned), bias=False)
        self.down = nn.Linear(width, latent, bias=False)
        self.norm = nn.RMSNorm(latent, eps=1e-6)
        self.key = nn.Linear(width, turned, bias=False)
        self.up_k = nn.Linear(latent, heads * self.size, bias=False)
        self.up_v = nn.Linear(latent, heads * self.size, bias=False)
        self.out = nn.Linear(heads * self.size, width, bias=False)
        self._angles: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """[batch, length, width] -> the same; with a cache, x follows what the cache holds."""
        start = cache.length if cache is not None else 0
        cos, sin = self._table(start, start + x.shape[1], x)
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        q, q_turned = q[..., : self.size], rotate(q[..., self.size :], cos, sin)
        c, k_turned = self.norm(self.down(x))[:, None], rotate(self.key(x)[:, None], cos, sin)
        if cache is not None:
            c, k_turned = cache.append(c, k_turned)
        form = self.absorbed if start else self.plain
        return self.out(form(q, q_turned, c, k_turned).transpose(1, 2).flatten(2))

    def plain(self, q: Tensor, q_turned: Tensor, c: Tensor, k_turned: Tensor) -> Tensor:
        """With keys and values of every head: q [batch, heads, n, size], c [batch, 1, n, latent] -> like q."""
        k, v = (up(c[:, 0]).unflatten(-1, (self.heads, -1)).transpose(1, 2) for up in (self.up_k, self.up_v))
        k = F.pad(k, (0, self.rotary))
        k[..., self.size :] = k_turned
        q = F.pad(q, (0, self.rotary))
        q[..., self.size :] = q_turned
        # values as wide as keys: torch has a fused kernel for these only
        mixed = F.scaled_dot_product_attention(q, k, F.pad(v, (0, self.rotary)), is_causal=True)
        return mixed[..., : self.size]

    def absorbed(self, q: Tensor, q_turned: Tensor, c: Tensor, k_turned: Tensor) -> Tensor:
        """The same without keys and values: scores (q W_UK) c + q_R k_R, then (weights c) W_UV."""
        queries, keys = q.shape[2], c.shape[2]
        up_k, up_v = (up.weight.unflatten(0, (self.heads, self.size)) for up in (self.up_k, self.up_v))
        scores = q @ up_k @ c.transpose(2, 3) + q_turned @ k_turned.transpose(2, 3)
        scores = scores / (self.size + self.rotary) ** 0.5
        if queries > 1:
            later = ~q.new_ones(queries, keys).bool().tril(keys - queries)
            scores = scores.masked_fill(later, float("-inf"))
        return scores.softmax(-1) @ c @ up_v.transpose(1, 2)

    def _table(self, start: int, stop: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of positions, from a table that doubles when it is too short."""
        if self._angles is None or len(self._angles[0]) < stop or self._angles[0].dtype != like.dtype:
            with torch.inference_mode(False):  # else a model that was scored could not be trained on
                cos, sin = rotary(1 << (stop - 1).bit_length(), self.rotary)
                self._angles = cos.to(like.device, like.dtype), sin.to(like.device, like.dtype)
        cos, sin = self._angles
        return cos[start:stop], sin[start:stop]

    def new_cache(self) -> KeyValueCache:
        """An empty cache of latents and rotary keys."""
        return KeyValueCache()
