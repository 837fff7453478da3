"""Strided block-sparse attention: near blocks, and every s-th block of the whole past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from methods.attention.blocks import BlockAttention
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class StridedBlocks(Method):
    """A block of queries reads the blocks near to it, and of all before them every `stride`-th.

    Paper: sparse transformers (Child et al., 2019), section 4.3, the fixed pattern: columns j with
        floor(j / c) = -1 mod stride are read by all later queries, here with c = block; near ones in a sliding window.
    Deviations: both patterns in one head, as in the paper's merged form; all heads have the same columns, so that
        keys that nobody will read are dropped. The near part slides, where the paper's is cut into segments.
    """

    block: int = knob(16, low=1, high=1024, help="tokens of a block")
    near: int = knob(2, low=1, high=1024, help="last blocks, the query's own among them")
    stride: int = knob(4, low=1, high=1024, help="of older blocks one in so many is read")

    needs = ("attention",)
    cpu_factor = 1.1
    small = {"block": 4, "near": 1, "stride": 2}

    def build(self, run: Run) -> nn.Module:
        heads = run.task.heads  # type: ignore[attr-defined]

        def mixer(layer: int, width: int) -> nn.Module:
            return NearAndStrided(width, heads, block=self.block, near=self.near, stride=self.stride)

        return run.task.model(run, width=self.width, mixer=mixer)


class NearAndStrided(BlockAttention):
    """Key blocks i - near < j <= i, and those with (j + 1) % stride == 0."""

    def __init__(self, *args: Any, near: int, stride: int, **more: Any) -> None:
        super().__init__(*args, **more)
        self.near, self.stride = near, stride

    def rows(self, of: Tensor, blocks: int) -> Tensor:
        keys, of = torch.arange(blocks), of[:, None]
        return (keys <= of) & ((keys > of - self.near) | ((keys + 1) % self.stride == 0))

    def kept(self, length: int, positions: Tensor) -> Tensor:
        of = positions // self.block
        return (of > length // self.block - self.near) | ((of + 1) % self.stride == 0)
