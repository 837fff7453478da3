"""Choosing an agent's configuration by changing one component at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.models.agent_system import Agent
from methods.agents.search import Evaluator, Pool, acceptable, finish
from methods.agents.settings import COMPONENTS, DEFAULT
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class ComponentSearch(Method):
    """The union of the options that are cheapest for a right answer, each component changed by itself.

    Paper: efficient-agents (Wang et al., 2025), sections 3 and 4: cost-of-pass v = C / R, C the mean price of
        an attempt and R the success rate; from a default configuration one component is changed at a time, of
        each the option with the lowest v is kept among those whose accuracy does not fall substantially.
    Deviations: "substantially" is a number (`tolerance`); the components are those of this task; chosen on
        validation questions, where the paper chose and reported on the same; prices go with the model's size,
        not with a price list. The default plans, as the paper's does; `begin` starts elsewhere.
    """

    tolerance: float = knob(0.03, low=0.0, high=1.0, help="fall of success that is not substantial")

    begin: str = knob(
        "plan", choices=("plan", "notes", "none"), help="reasoning of the default configuration"
    )

    needs = ("agent",)
    cost_depends_on_weights = True
    cpu_factor = 8.0

    def build(self, run: Run) -> Pool:
        """Models of all sizes."""
        return Pool.of(run)

    def adapt(self, model: Pool, run: Run) -> Pool:
        """Search on the validation questions."""
        evaluate = Evaluator(model, run)
        default = {**DEFAULT, "reasoning": self.begin}
        chosen = dict(default)
        for name, options in COMPONENTS.items():
            results = {option: evaluate({**default, name: option}) for option in options}
            allowed = [o for o in options if acceptable(results[o], evaluate(default), self.tolerance)]
            chosen[name] = min(allowed, key=lambda option: results[option].cost_of_pass)
        return finish(model, run, chosen, evaluate)

    def serve(self, model: Pool, run: Run) -> Agent:
        """The chosen model with the chosen settings."""
        return model.agent(model.chosen)
