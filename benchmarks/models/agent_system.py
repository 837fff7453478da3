"""What answers questions: a language model together with the settings under which it acts."""

from __future__ import annotations

from torch import nn

from benchmarks.models.agent_engine import AgentConfig, Engine, Outcome, resolve
from benchmarks.models.agent_model import AgentModel, step_cost
from benchmarks.models.agent_world import Task


class Agent(nn.Module):
    """A model that acts.

    Args:
        lm: the language model.
        config: everything else.
        mark: share of right pages that carry the search tool's title mark.
    """

    def __init__(self, lm: AgentModel, config: AgentConfig | None = None, mark: float = 1.0) -> None:
        super().__init__()
        self.lm, self.config, self.mark = lm, config or AgentConfig(), mark

    @property
    def body_weights(self) -> int:
        """Weights that every token goes through (a dense count, without the embedding)."""
        return step_cost(self.lm.size).body // 2

    def answer(self, tasks: list[Task], seed: int) -> list[Outcome]:
        """One outcome a task, in their order; `seed` moves the tools' noise and sampled words."""
        attempts = Engine(self.lm, self.mark).run(tasks, self.config, seed)
        return resolve(attempts, self.config)
