"""The contract of a method: four stages, of which it overrides what it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.knobs import cell, knob

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run

__all__ = ["Method", "cell", "knob"]


@dataclass(frozen=True)
class Method:
    """One technique; its fields are its knobs, all of them checked before anything runs.

    A method that overrides `build` or `fit` is trained from scratch; one that overrides only `adapt` or `serve`
    stands on the artefact of its `start` cell. What it does not override is the baseline's.
    """

    #: What the method needs of a task: any of "text", "images", "prompt",
    #: "attention" (its model takes `mixer`), "operator", "linear", "verify", "serving", "system".
    needs: ClassVar[tuple[str, ...]] = ()
    #: Python packages beside the locked ones; where one is missing, the cells are `skipped` with that reason.
    requires: ClassVar[tuple[str, ...]] = ()
    #: True where latency depends on what was learnt (early exits, sampled lengths): rounds then visit every seed.
    cost_depends_on_weights: ClassVar[bool] = False
    #: CPU seconds of a cell over the baseline's, for the forecast only.
    cpu_factor: ClassVar[float] = 1.0
    #: Small knobs for the conformance suite, where the defaults would be slow or out of range on a small task.
    small: ClassVar[dict[str, Any]] = {}

    start: str = cell("baseline", help="the trained cell that adapt and serve act on")
    width: int | None = knob(None, low=1, help="width of the model; empty: the task's")
    budget: float = knob(1.0, low=0.0, help="share of the task's training steps; 0: random weights")
    lr_factor: float = knob(1.0, low=0.0, help="factor on the recipe's learning rate")

    def build(self, run: Run) -> nn.Module:
        """A model with fresh weights."""
        return run.task.model(run, width=self.width)

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """Train `model` within the task's budget."""
        return run.task.fit(model, run)

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        """Change a trained model, with or without more training."""
        return model

    def serve(self, model: nn.Module, run: Run) -> Any:
        """What answers: a module, a cascade, an agent. It learns nothing."""
        return model

    def probe(self, model: nn.Module, run: Run) -> dict[str, float]:
        """Numbers that only the method can see; they are recorded and never enter a cost."""
        return {}
