"""Attention sinks and a window: the first tokens and the last ones are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from methods.attention.blocks import BlockAttention
from methods.attention.swap import adopt, swapped
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Tokens of a block of the form that gathers.
BLOCK = 64


@dataclass(frozen=True)
class SinksWindow(Method):
    """A trained model keeps its first `sinks` tokens and the last `window`, and drops all between them.

    Paper: StreamingLLM (Xiao et al., 2024), section 3.2: keep the initial tokens, on which attention rests, and a
        rolling window. With sinks=0 a rolling window alone, the paper's window attention; started from a model
        that was trained with the window, its serving form.
    Deviations: positions are those in the text, not those in the cache; this differs beyond the trained length.
        Prompts are read with the same pattern, not densely.
    """

    sinks: int = knob(4, low=0, high=4096, help="first tokens that are kept")
    window: int = knob(60, low=1, high=65536, help="last tokens that are kept, the query's own among them")

    needs = ("attention",)
    cpu_factor = 0.02
    small = {"sinks": 2, "window": 6}

    def serve(self, model: nn.Module, run: Run) -> nn.Module:
        return swapped(
            model, lambda layer, old: adopt(SinksAndWindow, old, sinks=self.sinks, window=self.window)
        )


class SinksAndWindow(BlockAttention):
    """Position i sees j < sinks and i - window < j <= i."""

    def __init__(self, *args: Any, sinks: int, window: int, **more: Any) -> None:
        super().__init__(*args, block=BLOCK, **more)
        self.sinks, self.window = sinks, window

    def rows(self, of: Tensor, blocks: int) -> Tensor:
        # the first query of a block reaches so many blocks before it
        keys, back = torch.arange(blocks), -(-(self.window - 1) // BLOCK)
        of = of[:, None]
        return (keys <= of) & ((keys >= of - back) | (keys < -(-self.sinks // BLOCK)))

    def allowed(self, queries: Tensor, keys: Tensor) -> Tensor:
        return (keys <= queries) & ((keys > queries - self.window) | (keys < self.sinks))

    def _read(self, keys: int) -> Tensor:
        near = max(0, keys - self.window)
        return torch.cat((torch.arange(min(self.sinks, near)), torch.arange(near, keys)))

    def kept(self, length: int, positions: Tensor) -> Tensor:
        return (positions > length - self.window) | (positions < self.sinks)
