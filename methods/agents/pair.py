"""What cascades and routers share: two agents, what they said to some questions, and what both together cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from benchmarks.models.agent_engine import Engine, resolve
from benchmarks.models.agent_records import Attempt, Cost, Outcome
from benchmarks.models.agent_system import Agent
from benchmarks.models.agent_world import Task as Question
from benchmarks.models.agent_world import make_task
from methods.base import cell

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Width of the model that is weak unless a card names another cell; the strong one is the task's own.
WEAK_WIDTH = 24
#: What speaks for an answer.
SIGNALS = ("checker", "mean_logprob", "min_logprob")


@dataclass(frozen=True)
class PairKnobs:
    """The two agents, each of them any finished cell: other sizes, settings, compressed models."""

    weak: str = cell(None, help="the agent that is cheap; empty: the smaller of the task's models")
    strong: str = cell(None, help="the agent that is good; empty: the task's baseline")

    def pair(self, run: Run, *learnt: torch.Tensor) -> Pair:
        """Both agents, with room for what is learnt about them."""
        weak = run.load(self.weak) if self.weak else run.task.model(run, width=WEAK_WIDTH)
        strong = run.load(self.strong) if self.strong else run.task.model(run)
        return Pair(weak, strong, *learnt)


class Pair(nn.Module):
    """Two agents, and what was learnt about when to ask which.

    Args:
        weak, strong: agents with settings of their own.
        learnt: tensors that adapting fills; what they mean is the method's.
    """

    def __init__(self, weak: nn.Module, strong: nn.Module, *learnt: torch.Tensor) -> None:
        super().__init__()
        for name, agent in (("weak", weak), ("strong", strong)):
            if not isinstance(agent, Agent):
                raise ValueError(
                    f"{name} is a {type(agent).__name__}: it must be one agent of our own models"
                )
        self.weak, self.strong = weak, strong
        self.learnt = nn.ParameterList(nn.Parameter(tensor, requires_grad=False) for tensor in learnt)

    def ratio(self, size_exponent: float) -> float:
        """Price of a token of the weak model over that of the strong one: body weights to a power."""
        return float((self.weak.body_weights / self.strong.body_weights) ** size_exponent)


@dataclass(frozen=True)
class Said:
    """What an agent said to a question.

    Attributes:
        outcome: its answer and the cost of all its tries.
        signals: what speaks for the answer, each from 0 to just below 1; 0 where there is no answer. `checker`:
            a try with this answer whose notes are borne out by what it read; `mean_logprob` and `min_logprob`:
            e to the mean and to the lowest log-probability of its words, of the likeliest try with this answer.
    """

    outcome: Outcome
    signals: Mapping[str, float]


def ask(agent: Agent, questions: Sequence[Question], seed: int) -> list[Said]:
    """What an agent says to each question, with the signals that `Agent.answer` keeps to itself."""
    attempts = Engine(agent.lm, agent.mark).run(list(questions), agent.config, seed)
    groups: list[list[Attempt]] = [[] for _ in questions]
    for attempt in attempts:
        groups[attempt.task].append(attempt)
    outcomes = resolve(attempts, agent.config)
    return [Said(outcome, signals(group, outcome)) for group, outcome in zip(groups, outcomes, strict=True)]


def signals(group: Sequence[Attempt], outcome: Outcome) -> dict[str, float]:
    """What speaks for the answer of some tries at one question, as in `Said`."""
    same = [a for a in group if a.answer is not None and a.answer == outcome.answer]
    if not same:
        return dict.fromkeys(SIGNALS, 0.0)
    best = max(same, key=lambda a: a.mean_logprob)
    found = (float(any(a.verdict for a in same)), np.exp(best.mean_logprob), np.exp(best.min_logprob))
    below = float(np.nextafter(1.0, 0.0))  # so that a threshold of 1 keeps nothing
    return {name: min(float(value), below) for name, value in zip(SIGNALS, found, strict=True)}


@dataclass(frozen=True)
class PairCost:
    """What one question has cost over both agents.

    Attributes:
        calls, flops: as they are.
        billed, generated: tokens, those of the weak model counted by its price over the strong one's, so that the
            task's price (by the strong model's size) is the sum of both prices.
        api_tokens: tokens as they are, whoever read or wrote them.
    """

    calls: int
    flops: int
    billed: float
    generated: float
    api_tokens: int

    @classmethod
    def of(cls, weak: Cost | None, strong: Cost | None, ratio: float) -> PairCost:
        """The sum of what was asked; None is an agent that was not."""
        parts = [(cost, factor) for cost, factor in ((weak, ratio), (strong, 1.0)) if cost is not None]
        return cls(
            calls=sum(cost.calls for cost, _ in parts),
            flops=sum(cost.flops for cost, _ in parts),
            billed=sum(factor * cost.billed for cost, factor in parts),
            generated=sum(factor * cost.generated for cost, factor in parts),
            api_tokens=sum(cost.api_tokens for cost, _ in parts),
        )

    def more(self, flops: int) -> PairCost:
        """The same with operations that no token stands for."""
        return PairCost(self.calls, self.flops + flops, self.billed, self.generated, self.api_tokens)


@dataclass(frozen=True)
class PairOutcome:
    """The answer to one question, the cost of all that was asked, and whether the strong agent was."""

    answer: int | None
    success: bool
    cost: PairCost
    strong: bool


def on_validation(pair: Pair, run: Run) -> tuple[list[Question], list[Said], list[Said]]:
    """The validation questions and what both agents say to them; what that takes is booked as spent."""
    task: Any = run.task
    pairs = zip(run.valid["level"].tolist(), run.valid["key"].tolist(), strict=True)
    asked = [make_task(level, key) for level, key in pairs]
    both = [ask(agent, asked, run.seed) for agent in (pair.weak, pair.strong)]
    for agent, said in zip((pair.weak, pair.strong), both, strict=True):
        found = task.costs([one.outcome.cost for one in said], agent)
        run.log.spend(
            tokens=float(found["tokens"].sum()),
            tool_calls=float(found["tool_calls"].sum()),
            flops=float(found["mflop"].sum() * 1e6),
            price=float(found["price"].sum()),
        )
    return asked, both[0], both[1]


def prices(said: Sequence[Said], agent: Agent, task: Any) -> np.ndarray:
    """Price of each question in the task's credits, [questions]."""
    found: np.ndarray = task.costs([one.outcome.cost for one in said], agent)["price"]
    return found


def successes(said: Sequence[Said]) -> np.ndarray:
    """1 where an answer is right, else 0, [questions]."""
    return np.array([one.outcome.success for one in said], dtype=float)
