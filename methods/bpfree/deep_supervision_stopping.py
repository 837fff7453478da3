"""Deep supervision that ends when the validation loss stops falling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from methods.base import Method, knob
from methods.bpfree.local import joint_loss, stages, with_readouts
from methods.bpfree.stopping import train_until

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class DeepSupervisionStopping(Method):
    """Deep supervision at a constant rate, ended by patience on the last layer's validation loss.

    Paper: mono-forward (arXiv 2509.19063), whose later ablation has it, under the rule of backpropagation.
    Beside `mono_forward_stopping` it shows what detaching does where both train as long as they like.
    Deviations: as `deep_supervision` and `early_stopping`.
    """

    patience: int = knob(
        20, low=0, high=1000, help="passes without a lower validation loss before it ends; 0: none"
    )

    cpu_factor = 1.05

    def build(self, run: Run) -> nn.Module:
        """The task's network with M_L as its last layer."""
        return with_readouts(run.task.model(run, width=self.width), "last")

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """One phase, all losses."""
        parts = stages(model)
        train_until(
            run,
            nn.ModuleList(parts),
            joint_loss(run, parts),
            lambda _, batch: run.task.loss(model, batch),
            patience=self.patience,
            phase="together",
        )
        return model
