"""The equal-budget rival: the start cell, simply trained on."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method


@dataclass(frozen=True)
class MoreTraining(Method):
    """Train a finished model on by the task's own recipe, for `budget` of its steps.

    Paper: none; the rival of every method that adapts with further training.
    Deviations: the learning-rate schedule begins anew.
    """

    def adapt(self, model, run):
        return run.task.fit(model, run)
