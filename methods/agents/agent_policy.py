"""An agent with settings of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.models.agent_system import Agent
from methods.agents.settings import AgentKnobs
from methods.base import Method

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class AgentPolicy(AgentKnobs, Method):
    """The start cell's language model, acting under other settings.

    Paper: efficient-agents (Wang et al., 2025): reasoning, memory, pages of a search (there: queries and
        sources), step limit and best-of-N are the components that it changes one at a time; the backbone is
        the start cell (`start: {baseline: {width: 24}}` is the smaller model).
    Deviations: best-of-N takes the answer of the try with the highest mean log-probability, not that of a
        reward model; the checker, which accepts a try whose notes are borne out by what it read, and the vote
        are additions.
    """

    needs = ("agent",)
    cost_depends_on_weights = True
    cpu_factor = 0.0

    def serve(self, model: Agent, run: Run) -> Agent:
        """The same language model with this method's settings."""
        return Agent(model.lm, self.config, model.mark)
