"""What a method sees while it runs: data, seed, the training loop, the log, other cells."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.counting import Counter
from benchmarks.tasks.base import Recipe, Split

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.tasks.base import Task
    from methods.base import Method

#: Steps between two values of the training curve in the record.
CURVE_POINTS = 40


class Diverged(Exception):
    """The loss or a score is not finite: the cell ends with status `diverged`."""


class MethodError(Exception):
    """A method broke the contract; the message tells its author what to mend."""


@dataclass
class Step:
    """One training step at the point where loss and gradients are there and nothing is updated.

    Attributes:
        number: counts from 0 within the phase.
        progress: number over the phase's steps, from 0 up to (not including) 1.
        loss: the batch's loss.
    """

    number: int
    progress: float
    loss: float
    _apply: Callable[[], Any]
    updated: bool = False

    def update(self) -> None:
        """Let the optimiser act on the gradients as they are now."""
        self._apply()
        self.updated = True


@dataclass
class Log:
    """What a cell tells about itself; all of it ends in its record."""

    steps: dict[str, int] = field(default_factory=dict)
    flops: dict[str, int | None] = field(default_factory=dict)
    peak_live_bytes: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    curve: list[tuple[str, int, float]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    _snapshot: Callable[[nn.Module], Any] | None = None

    def note(self, **values: Any) -> None:
        """Put numbers or words beside the record; they enter no cost."""
        self.notes.update(
            {name: _plain(value, f"run.log.note({name}=...)") for name, value in values.items()}
        )

    def spend(self, **amounts: float) -> None:
        """Add to what training or search has cost: tokens, tool_calls, env_steps, flops."""
        for name, amount in amounts.items():
            self.spent[name] = self.spent.get(name, 0) + _plain(amount, f"run.log.spend({name}=...)")

    def keep(self, model: nn.Module, **place: int | float | str) -> None:
        """Keep the model as it is now: it is scored later as `metric@name=value`."""
        ((name, value),) = place.items()
        self.kept[f"{name}={value}"] = self._snapshot(model) if self._snapshot else model


def _plain(value: Any, where: str) -> Any:
    """The value as JSON can hold it; numpy's and torch's scalars become Python's."""
    try:
        value = value.item() if hasattr(value, "item") else value
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RuntimeError):
        shown = " ".join(repr(value).split())[:60]
        raise MethodError(
            f"{where}: a {type(value).__name__} ({shown}) is no finite number or word"
        ) from None
    return value


@dataclass
class Run:
    """The world of one cell.

    Attributes:
        task, method: the dataclass instances with their knobs.
        seed: of this cell; every generator derives from it.
        device: where the model lives.
        train, valid: splits as dicts of tensors, items first. The test split is the harness's alone.
        load: the finished model of another cell of this seed, as a copy.
    """

    task: Task
    method: Method
    seed: int
    device: torch.device
    train: Split
    valid: Split
    load: Callable[[Any], Any] = lambda ref: (_ for _ in ()).throw(MethodError("no other cells here"))
    log: Log = field(default_factory=Log)
    preview: Any = None
    _used: float = 0.0

    @property
    def recipe(self) -> Recipe:
        """The task's recipe, scaled by the method's `budget` and `lr_factor`."""
        base = self.task.recipe
        if base is None:
            raise MethodError(f"task {type(self.task).__name__} does not train: it has no recipe")
        steps = round(base.steps * self.method.budget)
        return replace(base, steps=steps, lr=base.lr * self.method.lr_factor)

    @property
    def rng(self) -> np.random.Generator:
        """The method's own generator: the same for one seed, whatever was drawn before."""
        if not hasattr(self, "_rng"):
            self._rng = np.random.default_rng([self.seed, 1])
        return self._rng

    @property
    def data_rng(self) -> np.random.Generator:
        """The generator of the data order: begins anew each time it is asked for."""
        return np.random.default_rng([self.seed, 2])

    def steps(
        self,
        model: nn.Module,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        loss: Callable[[nn.Module, Any], Tensor] | None = None,
        phase: str = "train",
        share: float = 1.0,
    ) -> Iterator[Step]:
        """Train `model` for `share` of the budget; pause at each step before the update.

        The learning rates that `optimizer` came with are its peaks: the recipe's schedule scales them.

        Raises:
            Diverged: the loss is not finite.
            MethodError: the method did not call `step.update()`.
        """
        recipe, loss = self.recipe, loss or self.task.loss
        optimizer = optimizer or self.task.optimizer(model, recipe)
        peaks = [group["lr"] for group in optimizer.param_groups]
        model.train()
        for number, progress, batch in self._paced(phase, share):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * schedule(recipe, progress)
            optimizer.zero_grad(set_to_none=True)
            value = loss(model, batch)
            value.backward()
            if recipe.clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            step = Step(number, progress, self._finite(phase, number, value), optimizer.step)
            yield step
            if not step.updated:
                raise MethodError("call step.update() once in every turn of run.steps(model)")
        model.eval()

    def batches(self, *, phase: str = "train", share: float = 1.0) -> Iterator[Any]:
        """Yield the batches of `share` of the budget, for methods with losses and optimisers of their own."""
        for _, _, batch in self._paced(phase, share):
            yield batch

    def cost(self, model: nn.Module, match: str) -> int:
        """What `model` costs, by `params` (that are not zero), `bytes` (stored) or `macs` (of the main workload)."""
        from benchmarks.costs import model_cost

        return model_cost(model, self, match)

    def report(self, loss: Tensor | float, phase: str = "train") -> float:
        """Tell the log a loss from a loop of your own; raises Diverged when it is not finite."""
        return self._finite(phase, self.log.steps.get(phase, 0), loss)

    def _paced(self, phase: str, share: float) -> Iterator[tuple[int, float, Any]]:
        """Batches with their place in the phase; counts steps, samples, and the cost of the phase's second step."""
        self._used += share
        if self._used > 1.0 + 1e-9:
            raise MethodError(
                f"phase {phase!r} asks for {self._used:.2f} of the training budget; shares add up to at most 1"
            )
        total = round(self.recipe.steps * share)
        pace = self.preview.pace(phase, total) if self.preview else enumerate(range(total))
        batches = iter(self.task.batches(self, total if not self.preview else self.preview.longest(total)))
        for turn, number in pace:
            batch = next(batches)
            self.log.steps[phase] = self.log.steps.get(phase, 0) + 1
            self.log.samples += self.recipe.batch
            if turn == min(1, total - 1) and not self.preview:
                with Counter() as counter:
                    yield number, number / max(total, 1), batch
                cost = counter.count()
                self.log.flops[phase], self.log.peak_live_bytes[phase] = cost.flops, cost.peak_live_bytes
            else:
                yield number, number / max(total, 1), batch

    def _finite(self, phase: str, number: int, loss: Tensor | float) -> float:
        value = float(loss.detach()) if isinstance(loss, torch.Tensor) else float(loss)
        if not math.isfinite(value):
            raise Diverged(f"the loss is {value} in step {number} of phase {phase!r}")
        every = max(1, self.recipe.steps // CURVE_POINTS)
        if number % every == 0:
            self.log.curve.append((phase, number, round(value, 6)))
        return value


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser; weight decay acts on matrices only, as is usual."""
    named = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in named if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.betas[0])
    raise MethodError(f"recipe: optimizer {recipe.optimizer!r} is none of adamw, sgd")


def schedule(recipe: Recipe, progress: float) -> float:
    """The factor on the peak rate at `progress` in [0, 1)."""
    if progress < recipe.warmup:
        # the first step of a warm-up is not thrown away: it gets the rate of its end
        return (progress + 1.0 / max(recipe.steps, 1)) / (recipe.warmup + 1.0 / max(recipe.steps, 1))
    along = (progress - recipe.warmup) / max(1.0 - recipe.warmup, 1e-9)
    if recipe.schedule == "cosine":
        return 0.1 + 0.45 * (1.0 + math.cos(math.pi * along))
    if recipe.schedule == "linear":
        return 1.0 - along
    if recipe.schedule == "constant":
        return 1.0
    raise MethodError(f"recipe: schedule {recipe.schedule!r} is none of cosine, linear, constant")


def shuffled(split: Split, batch: int, steps: int, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
    """Yield `steps` batches of a split, epoch after epoch, each in a new order; the last short batch is dropped."""
    count = len(next(iter(split.values())))
    if batch > count:
        raise MethodError(f"recipe: a batch of {batch} is larger than the training split of {count}")
    order, at = torch.from_numpy(rng.permutation(count)), 0
    for _ in range(steps):
        if at + batch > count:
            order, at = torch.from_numpy(rng.permutation(count)), 0
        index = order[at : at + batch]
        at += batch
        yield {name: values[index] for name, values in split.items()}


def cpu_clock() -> float:
    """Process CPU seconds: what budgets and forecasts are told in."""
    return time.process_time()


def seed_all(seed: int) -> None:
    """Seed every generator that a method might draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
