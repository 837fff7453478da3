"""Sliding-window attention: a position sees the last few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models.attention import Attention
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class SlidingWindow(Method):
    """Position i attends to i - window + 1 ... i; with a window of 1 no position sees another.

    Paper: Beltagy et al. (2020), section 3.1, in its causal form.
    Deviations: the cache keeps all keys and a step reads the last `window` of them.
    """

    window: int = knob(128, low=1, help="positions that a position sees, itself among them")

    needs = ("attention",)
    small = {"window": 8}

    def build(self, run: Run) -> nn.Module:
        heads = run.task.heads  # type: ignore[attr-defined]
        window = lambda layer, width: Window(width, heads, self.window)  # noqa: E731
        return run.task.model(run, width=self.width, mixer=window)


class Window(Attention):
    """Causal attention in blocks of `window` queries: each reads its own keys and the block before."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__(width, heads)
        self.window = window

    def mask(self, queries: int, keys: int) -> Tensor:
        """The pairs that attend, bool [queries, keys]."""
        return super().mask(queries, keys).triu(keys - queries - self.window + 1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As in Attention; 2 x window keys a query are computed, half of them masked."""
        queries, keys, window = q.shape[2], k.shape[2], self.window
        if queries == 1:
            return F.scaled_dot_product_attention(q, k[:, :, -window:], v[:, :, -window:])
        if queries < keys or keys <= 2 * window:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask(queries, keys).to(q.device))
        blocks = -(-keys // window)
        rest = blocks * window - keys
        q = F.pad(q, (0, 0, 0, rest)).unflatten(2, (blocks, window))
        k, v = (self._with_previous(F.pad(x, (0, 0, window, rest)), blocks) for x in (k, v))
        q, k, v, mask = (*(x.transpose(1, 2).flatten(0, 1) for x in (q, k, v)), self._blocks(q))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return mixed.unflatten(0, (-1, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :keys]

    def _with_previous(self, x: Tensor, blocks: int) -> Tensor:
        """[batch, heads, (blocks + 1) window, size] -> [batch, heads, blocks, 2 window, size]."""
        parts = x.unflatten(2, (blocks + 1, self.window))
        return torch.cat((parts[:, :, :-1], parts[:, :, 1:]), 3)

    def _blocks(self, q: Tensor) -> Tensor:
        """The mask of all blocks, [batch x blocks, 1, window, 2 window]; the first has no block before it."""
        inside = torch.ones(self.window, 2 * self.window, dtype=torch.bool, device=q.device)
        inside = inside.tril(self.window).triu(1)
        first = inside.clone()
        first[:, : self.window] = False
        every = torch.cat((first[None], inside.expand(q.shape[2] - 1, -1, -1)))
        return every.repeat(q.shape[0], 1, 1)[:, None]
