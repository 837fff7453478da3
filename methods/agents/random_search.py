"""Choosing an agent's configuration at random, with as many evaluations as one component at a time takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.models.agent_system import Agent
from methods.agents.search import Evaluator, Pool, acceptable, component_evaluations, finish
from methods.agents.settings import COMPONENTS, DEFAULT
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class RandomSearch(Method):
    """The configuration that is cheapest for a right answer among the default and random ones.

    Paper: none; the rival at equal evaluations of component_search (efficient-agents), with the same
        criterion, options and validation questions.
    Deviations: none.
    """

    tolerance: float = knob(0.03, low=0.0, high=1.0, help="fall of success that is not substantial")

    needs = ("agent",)
    cost_depends_on_weights = True
    cpu_factor = 11.0

    def build(self, run: Run) -> Pool:
        """Models of all sizes."""
        return Pool.of(run)

    def adapt(self, model: Pool, run: Run) -> Pool:
        """Search on the validation questions."""
        evaluate = Evaluator(model, run)
        tried = [DEFAULT]
        default = evaluate(DEFAULT)
        while len(evaluate.results) < component_evaluations():
            drawn = {name: options[run.rng.integers(len(options))] for name, options in COMPONENTS.items()}
            evaluate(drawn)
            tried.append(drawn)
        kept = [settings for settings in tried if acceptable(evaluate(settings), default, self.tolerance)]
        return finish(model, run, min(kept, key=lambda settings: evaluate(settings).cost_of_pass), evaluate)

    def serve(self, model: Pool, run: Run) -> Agent:
        """The chosen model with the chosen settings."""
        return model.agent(model.chosen)
