"""Grouped-query attention: fewer key and value heads than query heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.attention.heads import with_heads
from methods.base import Method, knob

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class GroupedQuery(Method):
    """Each key and value head serves heads / kv_heads query heads; with as many it is the baseline.

    Paper: gqa (Ainslie et al., 2023), section 2.2: O_h = softmax(Q_h K_g^T / sqrt(d)) V_g with the group
        g = floor(h G / H).
    Deviations: trained from scratch, not uptrained from a multi-head model.
    """

    kv_heads: int = knob(2, low=1, help="key and value heads; must divide the task's heads")

    needs = ("attention",)
    small = {"kv_heads": 1}

    def build(self, run: Run) -> nn.Module:
        return run.task.model(run, width=self.width, mixer=with_heads(run, kv_heads=self.kv_heads))
