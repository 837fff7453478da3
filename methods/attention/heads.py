"""How many heads there are: what grouped, multi-query and sparse query attention share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.models.attention import Attention
from benchmarks.models.transformer import Slot

if TYPE_CHECKING:
    from benchmarks.run import Run


def with_heads(run: Run, query_heads: int | None = None, kv_heads: int | None = None) -> Slot:
    """A mixer slot: attention with other numbers of heads, each as wide as in the task's baseline.

    Args:
        run: its task has `heads`, the query heads of the baseline (tasks that offer "attention").
        query_heads: None: the baseline's.
        kv_heads: None: as many as query heads.
    """
    nominal = run.task.heads  # type: ignore[attr-defined]

    def mixer(layer: int, width: int) -> Attention:
        return Attention(width, query_heads or nominal, kv_heads, head_width=width // nominal)

    return mixer
