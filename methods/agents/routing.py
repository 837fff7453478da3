"""What routers share: who is asked is decided before anybody is, by a score of the question alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmarks.models import agent_world as w
from methods.agents.pair import Pair, PairCost, PairOutcome, ask

if TYPE_CHECKING:
    from torch import Tensor

#: Numbers that describe a question: see `features`.
N_FEATURES = 12


def features(question: w.Task) -> list[float]:
    """What can be read off a question's words: no look at its world, its level, or its answer.

    A one; how often each of the five relations stands in it; which operation joins it (three); hops of the longer
    and of the shorter chain; the logarithm of its rarest alias' rank.
    """
    words = list(question.question)
    at = words.index(w.AND) if w.AND in words else len(words)
    hops = sorted(sum(token in w.RELATIONS for token in part) for part in (words[:at], words[at:]))
    rarest = max(token for token in words if token >= w.FIRST_ALIAS) - w.FIRST_ALIAS
    relations = [float(words.count(token)) for token in w.RELATIONS]
    operations = [float(token in words) for token in w.OPERATIONS]
    return [1.0, *relations, *operations, float(hops[1]), float(hops[0]), math.log(1.0 + rarest)]


def logistic(x: Tensor, y: Tensor, decay: float, steps: int = 50) -> Tensor:
    """Logistic regression by Newton's method: weights [features] of inputs x [items, features], labels y [items].

    Minimises the sum of -log p(y | x) + decay / 2 |w|^2 (the first feature, a one, is not decayed), in float64.
    """
    x, y = x.double(), y.double()
    ridge = torch.full((x.shape[1],), float(decay), dtype=torch.float64)
    ridge[0] = 1e-6
    weights = torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(steps):
        p = (x @ weights).sigmoid()
        gradient = x.T @ (p - y) + ridge * weights
        hessian = (x.T * (p * (1 - p))) @ x + ridge.diag()
        move = torch.linalg.solve(hessian, gradient)
        weights = weights - move / max(1.0, float(move.norm()) / 4)  # no leap where classes are nearly parted
        if float(move.norm()) < 1e-10:
            break
    return weights


class Routed(nn.Module):
    """Two agents of which one is asked.

    Args:
        pair: the agents.
        to_strong: questions and seed -> for each whether the strong agent is asked.
        ratio: price of the weak model's token over the strong one's.
        flops: operations of one decision.
    """

    def __init__(
        self,
        pair: Pair,
        to_strong: Callable[[Sequence[w.Task], int], list[bool]],
        ratio: float,
        flops: int = 0,
    ) -> None:
        super().__init__()
        self.pair, self.to_strong, self.ratio, self.flops = pair, to_strong, ratio, flops

    @property
    def body_weights(self) -> int:
        """Weights that prices go by: the strong agent's, see `PairCost`."""
        return self.pair.strong.body_weights

    def answer(self, tasks: Sequence[w.Task], seed: int) -> list[PairOutcome]:
        """One outcome a task; only the agent that was asked is paid, and the decision's operations."""
        chosen = self.to_strong(tasks, seed)
        outcomes: dict[int, PairOutcome] = {}
        for strong, agent in ((False, self.pair.weak), (True, self.pair.strong)):
            mine = [i for i, choice in enumerate(chosen) if choice is strong]
            for i, said in zip(mine, ask(agent, [tasks[i] for i in mine], seed), strict=True):
                spent = said.outcome.cost
                cost = PairCost.of(None if strong else spent, spent if strong else None, self.ratio)
                answer = said.outcome
                outcomes[i] = PairOutcome(answer.answer, answer.success, cost.more(self.flops), strong)
        return [outcomes[i] for i in range(len(tasks))]
