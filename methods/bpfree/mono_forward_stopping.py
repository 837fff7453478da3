"""Mono-Forward with a stopping rule a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.base import Method, knob
from methods.bpfree.local import stages, with_readouts
from methods.bpfree.stopping import train_until

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run


@dataclass(frozen=True)
class MonoForwardStopping(Method):
    """Mono-Forward at a constant rate, each layer ended by patience on its own validation loss, in turn.

    Paper: mono-forward (arXiv 2509.19063): its code gives a layer at most 15 passes and a patience of 4 where
        backpropagation has 100 and 20; the authors' later runs have one rule for both.
    The budget is the cap: L layers share it, so `budget: L` allows each layer the passes that the task names.
    Every layer goes on from the best pass of the one below; the last layer's readout answers.
    Deviations: as `mono_forward` and `early_stopping`.
    """

    patience: int = knob(
        20, low=0, high=1000, help="passes without a lower validation loss of the layer; 0: none"
    )

    cpu_factor = 0.8

    def build(self, run: Run) -> nn.Module:
        """The task's network with M_L as its last layer."""
        return with_readouts(run.task.model(run, width=self.width), "last")

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """A phase a layer."""
        parts, loss = stages(model), run.task.loss
        for number, stage in enumerate(parts, start=1):
            phase, share = f"layer{number}", 1 / len(parts)
            train_until(run, stage, loss, loss, patience=self.patience, phase=phase, share=share)
        return model
