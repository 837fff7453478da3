"""What searches over configurations share: a pool of models, evaluation on validation data, the criterion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.models.agent_system import Agent
from methods.agents.settings import COMPONENTS, DEFAULT, config_of

if TYPE_CHECKING:
    from benchmarks.run import Run


class Pool(nn.Module):
    """The models that a search may choose from, and its choice: the place of each option in `COMPONENTS`."""

    choice: torch.Tensor

    def __init__(self, agents: Mapping[int, Agent]) -> None:
        super().__init__()
        self.agents = nn.ModuleDict({str(width): agent for width, agent in agents.items()})
        self.register_buffer("choice", torch.zeros(len(COMPONENTS), dtype=torch.int64))

    @classmethod
    def of(cls, run: Run) -> Pool:
        """All sizes that the task has for this seed."""
        return cls({width: run.task.model(run, width=width) for width in COMPONENTS["width"]})

    def choose(self, settings: Mapping[str, Any]) -> None:
        """Make `settings` the choice."""
        places = [options.index(settings[name]) for name, options in COMPONENTS.items()]
        self.choice.copy_(torch.tensor(places))

    @property
    def chosen(self) -> dict[str, Any]:
        """The choice as settings."""
        places = zip(COMPONENTS.items(), self.choice.tolist(), strict=True)
        return {name: options[place] for (name, options), place in places}

    def agent(self, settings: Mapping[str, Any]) -> Agent:
        """The agent of some settings, on one of the pool's models."""
        own = self.agents[str(settings["width"])]
        return Agent(own.lm, config_of(settings), own.mark)


@dataclass(frozen=True)
class Result:
    """A configuration on the validation questions: its success, and its price a question."""

    success: float
    price: float

    @property
    def cost_of_pass(self) -> float:
        """Expected price of a right answer, E[price] / E[success]; infinite without any."""
        return self.price / self.success if self.success else math.inf


class Evaluator:
    """Evaluates configurations on the validation questions, each at most once, and books what that costs."""

    def __init__(self, pool: Pool, run: Run) -> None:
        self.pool, self.run = pool, run
        self.results: dict[tuple[Any, ...], Result] = {}

    def __call__(self, settings: Mapping[str, Any]) -> Result:
        """The result of some settings."""
        key = tuple(settings[name] for name in COMPONENTS)
        if key not in self.results:
            task: Any = self.run.task
            found = task.ask(self.pool.agent(settings), self.run.valid, self.run)
            self.results[key] = Result(float(found["success"].mean()), float(found["price"].mean()))
            self.run.log.spend(
                tokens=float(found["tokens"].sum()),
                tool_calls=float(found["tool_calls"].sum()),
                flops=float(found["mflop"].sum() * 1e6),
                price=float(found["price"].sum()),
            )
        return self.results[key]


def acceptable(result: Result, default: Result, tolerance: float) -> bool:
    """Whether success does not fall by more than `tolerance` against the default configuration."""
    return result.success >= default.success - tolerance


def component_evaluations() -> int:
    """Evaluations that changing one component at a time takes, the default's own among them."""
    return 1 + sum(len(options) - 1 for options in COMPONENTS.values())


def finish(pool: Pool, run: Run, settings: Mapping[str, Any], evaluator: Evaluator) -> Pool:
    """Keep a choice, and note it and what it took."""
    pool.choose(settings)
    run.log.note(evaluations=len(evaluator.results), **{f"chosen_{name}": settings[name] for name in DEFAULT})
    return pool
