"""Sparse query attention: fewer query heads, which is fewer rows of attention to compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.attention.heads import with_heads
from methods.base import Method, knob

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class Sqa(Method):
    """H_q < H query heads of unchanged width d share H_kv <= H_q key and value heads.

    Paper: sqa (2025): W_Q is width x H_q d, W_K and W_V are width x H_kv d, W_O is H_q d x width, so scores
        and values cost 4 N^2 H_q d in place of 4 N^2 H d. With H = 8: SQA 4/2, symmetric sSQA 4/4, extreme
        xSQA 2/2, xSMQA 2/1.
    Deviations: none in the layer. Nothing is matched: as in the paper the model is smaller than its rival.
    """

    query_heads: int = knob(4, low=1, help="query heads; fewer than the task's heads save work")
    kv_heads: int = knob(2, low=1, help="key and value heads; must divide the query heads")

    needs = ("attention",)
    cpu_factor = 0.9
    small = {"query_heads": 1, "kv_heads": 1}

    def build(self, run: Run) -> nn.Module:
        mixer = with_heads(run, query_heads=self.query_heads, kv_heads=self.kv_heads)
        return run.task.model(run, width=self.width, mixer=mixer)
