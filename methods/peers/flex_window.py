"""FlexAttention with a window: torch's compiled peer of the forms that gather blocks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models.attention import Attention
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class FlexWindow(Method):
    """The operator of a sliding window, by torch's FlexAttention.

    Paper: FlexAttention (Dong et al., 2024), `torch.nn.attention.flex_attention` with a block mask.
    Deviations: forward only, since on CPU it has no backward; without a C++ compiler its cells are skipped.
    """

    window: int = knob(128, low=1, help="positions that a position sees, itself among them")

    needs = ("operator", "attention")
    small = {"window": 8}

    def build(self, run: Run) -> nn.Module:
        if shutil.which("c++") is None and shutil.which("g++") is None:
            raise ImportError("FlexAttention on a CPU is compiled", name="a C++ compiler (g++)")
        heads = run.task.heads  # type: ignore[attr-defined]
        mixer = lambda layer, width: FlexedWindow(width, heads, self.window)  # noqa: E731
        return run.task.model(run, width=self.width, mixer=mixer)


class FlexedWindow(Attention):
    """Position i sees i - window < j <= i."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__(width, heads)
        self.window = window

    def mask(self, queries: int, keys: int) -> Tensor:
        return super().mask(queries, keys).triu(keys - queries - self.window + 1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """As in Attention."""
        if q.shape[2] == 1:
            return super().attend(q, k[:, :, -self.window :], v[:, :, -self.window :])
        return flexed(q, k, v, self.window)


# one operator for whoever looks on: the counter of costs would otherwise see the uncompiled form, which raises
@torch.library.custom_op("joulemark::flex_window", mutates_args=())
def flexed(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Window attention of q, k, v [batch, heads, n, size] -> like q."""
    compiled, mask = _compiled(), _block_mask(window, q.shape[2], str(q.device))
    return compiled(q, k, v, block_mask=mask).contiguous()


@cache
def _compiled() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


@cache
def _block_mask(window: int, length: int, device: str) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    def near(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (key <= query) & (key > query - window)

    return create_block_mask(near, None, None, length, length, device=device)
