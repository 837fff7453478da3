"""The contract of a task: data, baseline model, trainer, quality metrics and the workloads that are timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from benchmarks.knobs import cell, knob

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from benchmarks.run import Run

__all__ = ["Metric", "Recipe", "Scores", "Split", "Task", "Workload", "cell", "knob"]

#: The arrays of one split, all with the items along the first axis.
Split = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Metric:
    """A quality metric.

    Attributes:
        name: what checks call it, e.g. `accuracy`.
        unit: `share`, `bits/char`, ...
        better: which direction is better.
        chance: what a model that learnt nothing scores; `diverged` cells enter comparisons with it.
        band: the indifference band in the metric's own unit: a smaller difference should interest nobody.
        relative: True where differences are read as ratios (tokens, seconds): the band is then a share.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    chance: float
    band: float
    relative: bool = False


@dataclass(frozen=True)
class Recipe:
    """How the task trains: budgets in steps, never in seconds.

    Attributes:
        steps: optimiser steps of the whole budget.
        batch: items a step.
        lr: peak learning rate.
        optimizer: `adamw` or `sgd`.
        weight_decay: decoupled decay, on matrices only.
        schedule: `cosine` (to a tenth), `linear` (to zero) or `constant`.
        warmup: share of the steps with a rising rate.
        clip: largest gradient norm; 0 clips nothing.
        betas: of AdamW; the first is also the momentum of SGD.
    """

    steps: int
    batch: int
    lr: float
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.0
    clip: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Scores:
    """Scores per test item, [items], in the order of the test split; axes name a place for each item."""

    values: np.ndarray
    axes: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Workload:
    """What is timed on a finished cell: one call on real inputs, and how many items it answers."""

    call: Callable[[], Any]
    items: int
    unit: str


@dataclass(frozen=True)
class Task:
    """A frozen dataclass whose fields are its knobs."""

    #: Raised by hand when data or scoring change in a way that the syntax of the task's file does not show.
    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[Metric, ...]] = ()
    #: Names and one line each; `prefill@N` stands for prefill@1024 and the like.
    workloads: ClassVar[Mapping[str, str]] = {}
    #: The workload whose counted cost stands for the task (`macs` of an equal-cost twin).
    main_workload: ClassVar[str] = ""
    recipe: ClassVar[Recipe | None] = None
    #: False for operators and simulators: fit and adapt act on random weights or none, seeds default to 1.
    trains: ClassVar[bool] = True
    #: What methods may ask for in `needs`.
    offers: ClassVar[tuple[str, ...]] = ()
    cost_depends_on_weights: ClassVar[bool] = False
    #: `counted`, or `modelled` for a simulator, whose rows are never timed.
    basis: ClassVar[str] = "counted"
    #: Forecast, in CPU seconds of one thread: training the baseline, and scoring one cell.
    train_cpu_s: ClassVar[float] = 1.0
    score_cpu_s: ClassVar[float] = 0.2
    #: Small knobs for tests.
    small: ClassVar[dict[str, Any]] = {}
    #: Checks on methods of this task that must come out, (method, knobs, metric, low, high), for the docs and tests.
    controls: ClassVar[Mapping[str, str]] = {}

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        """Make the splits `train`, `valid`, `test` as numpy arrays. Runs once, in a job of its own, without torch."""
        raise NotImplementedError

    def model(self, run: Run, width: int | None = None, **slots: Any) -> nn.Module:
        """The baseline model with fresh weights, drawn from torch's generator, which the harness has seeded."""
        raise NotImplementedError

    def batches(self, run: Run, steps: int) -> Any:
        """Yield `steps` training batches, the same order for every method of this seed."""
        from benchmarks.run import shuffled

        return shuffled(run.train, run.recipe.batch, steps, run.data_rng)

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The training loss of one batch, a scalar."""
        raise NotImplementedError

    def optimizer(self, model: nn.Module, recipe: Recipe) -> Optimizer:
        """What trains the task's model where a method brings no optimiser of its own."""
        from benchmarks.run import make_optimizer

        return make_optimizer(recipe, model)

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """Train `model` within the budget; the last state counts."""
        for step in run.steps(model):
            step.update()
        return model

    def score(self, system: Any, split: Split, run: Run) -> dict[str, Scores]:
        """Scores per item of `split` for every metric."""
        raise NotImplementedError

    def workload(self, name: str, system: Any, split: Split, run: Run) -> Workload:
        """The workload `name` on a finished system, with real inputs from `split`."""
        raise NotImplementedError
