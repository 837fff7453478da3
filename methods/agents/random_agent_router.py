"""The negative control of routers: which agent is asked is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.models.agent_world import mix
from methods.agents.pair import Pair, PairKnobs
from methods.agents.routing import Routed
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run

#: Sets these draws apart from those of tools and words.
ROUTE = 11


@dataclass(frozen=True)
class RandomAgentRouter(PairKnobs, Method):
    """Ask the strong agent with probability `share`, whatever the question.

    Paper: the random router of RouteLLM (Ong et al., 2024), section 5: its success and its price lie on the line
        between the two agents (APGR 0.5).
    Deviations: none. A question's draw follows from the run's seed and the question alone.
    """

    share: float = knob(0.5, low=0.0, high=1.0, help="probability of asking the strong agent")

    needs = ("agent",)
    cost_depends_on_weights = True
    cpu_factor = 0.0

    def build(self, run: Run) -> Pair:
        """Both agents."""
        return self.pair(run)

    def serve(self, model: Pair, run: Run) -> Routed:
        """A coin in front of both agents."""
        task: Any = run.task
        return Routed(
            model,
            lambda questions, seed: [mix(seed, one.key, ROUTE) < self.share * 2**64 for one in questions],
            model.ratio(task.size_exponent),
        ).eval()
