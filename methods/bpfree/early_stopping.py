"""Backpropagation that ends when the validation loss stops falling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.base import Method, knob
from methods.bpfree.stopping import train_until

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class EarlyStopping(Method):
    """Backpropagation at a constant rate, ended by patience on the validation loss; the best pass answers.

    Paper: mono-forward (arXiv 2509.19063): its baseline, up to 100 passes with a patience of 20 on CIFAR-10.
    The budget is the cap: `budget: 1` allows the passes that the task names. Patience 0 never stops: the whole
    budget, of which the pass with the lowest validation loss answers.
    Deviations: the task's AdamW at its constant peak rate. The time of validating is in no `train_s`, for any
        method that stops early: it is the same forward pass for all of them.
    """

    patience: int = knob(
        20, low=0, high=1000, help="passes without a lower validation loss before it ends; 0: none"
    )

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """One phase, `train`."""
        loss = run.task.loss
        train_until(run, model, loss, loss, patience=self.patience, phase="train")
        return model
