"""BigBird: a window, some global blocks, some random ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models.caches import noise
from methods.attention.blocks import BlockAttention
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class BigBird(Method):
    """A block of queries reads the blocks around it, the first ones, and some that were drawn at random.

    Paper: BigBird (Zaheer et al., 2020), section 2 and appendix D: random, window and global attention in blocks.
        With windows=1 and globals=0 only random blocks are left, the control.
    Deviations: causal, so the window looks back only and global tokens are read by all but do not read all. The
        random blocks of a layer are the same in all heads. Any block may be drawn later, so all keys are kept.
    """

    block: int = knob(16, low=1, high=1024, help="tokens of a block")
    windows: int = knob(2, low=1, high=64, help="blocks of the window, the query's own among them")
    globals: int = knob(1, low=0, high=64, help="first blocks, which all queries read")
    randoms: int = knob(1, low=0, high=64, help="random blocks a query block")

    needs = ("attention",)
    cpu_factor = 1.1
    small = {"block": 4}

    def build(self, run: Run) -> nn.Module:
        heads = run.task.heads  # type: ignore[attr-defined]

        def mixer(layer: int, width: int) -> nn.Module:
            seed = 1000 * run.seed + layer
            parts = (self.windows, self.globals, self.randoms)
            return WindowGlobalRandom(width, heads, block=self.block, parts=parts, seed=seed)

        return run.task.model(run, width=self.width, mixer=mixer)


class WindowGlobalRandom(BlockAttention):
    """Blocks by (window, global, random) parts; the draw of a query block does not depend on the length."""

    def __init__(self, *args: Any, parts: tuple[int, int, int], seed: int, **more: Any) -> None:
        super().__init__(*args, **more)
        self.parts, self.seed = parts, seed

    def rows(self, of: Tensor, blocks: int) -> Tensor:
        windows, first, randoms = self.parts
        keys, of = torch.arange(blocks), of[:, None]
        fixed = (keys > of - windows) | (keys < first)
        draws = noise(self.seed, of, keys).masked_fill(fixed | (keys > of), -1.0)
        best = draws.topk(min(randoms, blocks), 1)
        drawn = torch.zeros_like(draws).scatter_(1, best.indices, (best.values >= 0).double()) > 0
        return (fixed | drawn) & (keys <= of)
