"""Sparsity schedules: from the progress of training, 0 to 1, to the share of weights that are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.run import Run
    from methods.pruning.masks import Masks


def cubic(progress: float, begin: float, end: float, first: float, last: float) -> float:
    """Zhu and Gupta (2017), equation 1: fast while many weights are redundant, slow near the end.

    s(t) = last + (first - last) * (1 - (t - begin) / (end - begin)) ** 3, clamped outside [begin, end].
    """
    if progress < begin:
        return first
    if progress >= end:
        return last
    along = (progress - begin) / (end - begin)
    return last + (first - last) * (1.0 - along) ** 3


def train_sparser(
    model: nn.Module, run: Run, masks: Masks, sparsity: float, begin: float, end: float, every: int
) -> nn.Module:
    """Train while the masks follow the cubic schedule from 0 to `sparsity`, set anew every `every` steps."""
    done = False
    for step in run.steps(model):
        if not done and (step.number % every == 0 or step.progress >= end):
            masks.set_sparsity(cubic(step.progress, begin, end, 0.0, sparsity))
            done = step.progress >= end
        step.update()
    if not done:  # `end` is the end of training
        masks.set_sparsity(sparsity)
    return model
