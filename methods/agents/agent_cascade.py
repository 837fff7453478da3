"""A cascade of agents: the weak one answers first, the strong one only where the weak one is in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from methods.agents.pair import (
    SIGNALS,
    Pair,
    PairCost,
    PairKnobs,
    PairOutcome,
    ask,
    on_validation,
    prices,
    successes,
)
from methods.base import Method, knob

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.models.agent_world import Task as Question
    from benchmarks.run import Run


@dataclass(frozen=True)
class AgentCascade(PairKnobs, Method):
    """Ask the weak agent; keep its answer where its signal reaches the threshold, else ask the strong one too.

    Paper: FrugalGPT (Chen et al., 2023), section 3, the LLM cascade: models in order of price, a score g(q, a) of
        each answer, the first answer with g >= tau is taken; AutoMix (Aggarwal et al., 2023) where g is a check of
        the answer by what was read. cost = c_weak + P(defer) c_strong.
    Deviations: two models; g is no model of its own: the checker of the agent's notes, or the probability that
        the weak model gives its own words (mean or lowest log-probability). Without a `threshold` it is learned on
        validation questions as the cheapest with at least the strong agent's success less `tolerance` (FrugalGPT:
        the best within a budget of price); the checker says yes or no, so nothing is learned for it. The strong
        agent begins anew, with the same luck of the tools as it has alone.
    """

    by: str = knob("checker", choices=SIGNALS, help="what speaks for the weak agent's answer")
    threshold: float | None = knob(
        None, low=0.0, high=1.0, help="0 is the weak agent alone, 1 the strong one's answers; empty: learned"
    )
    tolerance: float = knob(
        0.0, low=0.0, high=1.0, help="fall of success against the strong agent when learning"
    )

    needs = ("agent",)
    cost_depends_on_weights = True
    cpu_factor = 2.0

    def build(self, run: Run) -> Pair:
        """Both agents."""
        threshold = 0.5 if self.threshold is None else self.threshold
        return self.pair(run, torch.tensor(threshold, dtype=torch.float64))

    def adapt(self, model: Pair, run: Run) -> Pair:
        """Learn the threshold, unless it is given or there is nothing to learn."""
        if self.threshold is not None or self.by == "checker":
            return model
        _, weak, strong = on_validation(model, run)
        chosen = cheapest(
            np.array([said.signals[self.by] for said in weak]),
            (successes(weak), prices(weak, model.weak, run.task)),
            (successes(strong), prices(strong, model.strong, run.task)),
            self.tolerance,
        )
        model.learnt[0].data.fill_(chosen)
        run.log.note(threshold=round(chosen, 6))
        return model

    def serve(self, model: Pair, run: Run) -> Cascade:
        """The cascade at its threshold."""
        task: Any = run.task
        return Cascade(model, self.by, model.ratio(task.size_exponent)).eval()


def cheapest(
    signal: np.ndarray,
    weak: tuple[np.ndarray, np.ndarray],
    strong: tuple[np.ndarray, np.ndarray],
    tolerance: float,
) -> float:
    """The threshold with the lowest mean price among those whose success is at least the strong agent's.

    Args:
        signal: of the weak agent's answers, [questions].
        weak: success and price of the weak agent alone, two arrays [questions].
        strong: the same of the strong agent alone.
        tolerance: by which success may fall below that of the strong agent alone.
    """
    best = (np.inf, 1.0)
    for threshold in (1.0, *np.unique(signal)[::-1].tolist()):
        defer = signal < threshold
        success = np.where(defer, strong[0], weak[0]).mean()
        price = float((weak[1] + defer * strong[1]).mean())
        if success >= strong[0].mean() - tolerance - 1e-12 and price < best[0]:
            best = (price, threshold)
    return best[1]


class Cascade(nn.Module):
    """Two agents in order of price.

    Args:
        pair: the agents; the first learnt tensor is the threshold.
        by: the signal that must reach it.
        ratio: price of the weak model's token over the strong one's.
    """

    def __init__(self, pair: Pair, by: str, ratio: float) -> None:
        super().__init__()
        self.pair, self.by, self.ratio = pair, by, ratio

    @property
    def body_weights(self) -> int:
        """Weights that prices go by: the strong agent's, see `PairCost`."""
        return self.pair.strong.body_weights

    def answer(self, tasks: Sequence[Question], seed: int) -> list[PairOutcome]:
        """One outcome a task; where the strong agent is asked, both are paid."""
        threshold = float(self.pair.learnt[0])
        first = ask(self.pair.weak, tasks, seed)
        deferred = [i for i, said in enumerate(first) if said.signals[self.by] < threshold]
        second = dict(zip(deferred, ask(self.pair.strong, [tasks[i] for i in deferred], seed), strict=True))
        outcomes = []
        for i, said in enumerate(first):
            last = second.get(i, said).outcome
            cost = PairCost.of(said.outcome.cost, last.cost if i in second else None, self.ratio)
            outcomes.append(PairOutcome(last.answer, last.success, cost, i in second))
        return outcomes
