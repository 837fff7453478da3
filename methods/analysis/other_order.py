"""The baseline once more from the same weights, with its training data in another order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from methods.base import Method, knob

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class OtherOrder(Method):
    """Train the task's own way; only the order in which the training items come is another one.

    Paper: Linear mode connectivity and the lottery ticket hypothesis (Frankle et al., 2020, arXiv 1912.05671),
        section 2: two copies of one initial network under two samples of SGD noise.
    Deviations: none. What lies between this network and the baseline's is what the order of data alone does.
    """

    order: int = knob(1, low=1, high=1000, help="which other order; the baseline's would be 0")

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """The task's training, under a data order of its own."""
        # seeds of cells are far below this step, so no cell of a plan has the order of another's
        return run.task.fit(model, replace(run, seed=run.seed + 100_000 * self.order))
