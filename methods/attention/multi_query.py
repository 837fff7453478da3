"""Multi-query attention: all query heads read one key and value head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.attention.heads import with_heads
from methods.base import Method

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class MultiQuery(Method):
    """One key and value head: the smallest cache that attention with softmax can have at a given head width.

    Paper: Shazeer (2019), section 3: O_h = softmax(Q_h K^T / sqrt(d)) V.
    Deviations: none.
    """

    needs = ("attention",)

    def build(self, run: Run) -> nn.Module:
        return run.task.model(run, width=self.width, mixer=with_heads(run, kv_heads=1))
