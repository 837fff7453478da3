"""Small language models that answer questions with a search tool and a calculator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models.agent_world import Task as Question
from benchmarks.models.agent_world import make_task, make_tasks
from benchmarks.tasks.base import Metric, Scores, Split, Task, Workload, knob

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.models.agent_records import Cost
    from benchmarks.run import Run

CHECKPOINTS = Path(__file__).resolve().parents[1] / "data" / "tool_agents"
SIZES = {24: "xxs", 32: "xs"}  # by width
SEEDS = 5  # checkpoints of each size
VALID, TEST = 101, 102  # seeds of the questions
REFERENCE = 26_624  # body weights of the model whose price for an input token is one credit


@dataclass(frozen=True)
class ToolAgents(Task):
    """Questions of one to four hops, alone or two joined by the calculator, about facts that are always new.

    The world is that of `benchmarks.models.agent_world`; search shows the right page first in three of four
    calls. The models (8 k and 27 k weights without the embedding) are vendored checkpoints, five seeds a
    size, which `python -m benchmarks.models.agent_training` rebuilds: nothing is trained here. The baseline
    is the larger one with a written plan, its whole history as memory, one page a search, twelve calls and
    one greedy try.

    Costs of a question, over all tries: `tool_calls`; `tokens` as an API bills them (the context again at
    every step, plus output); `price` in credits, (input + `output_factor` x output) x (body weights / 27 k)
    ** `size_exponent`, a price law of our own; `mflop`, the model's operations with its cache reused plus
    `tool_mflop` a call. A seed above four meets a checkpoint again, with other luck of the tools.
    """

    questions: int = knob(300, low=3, high=20000, help="questions of each split")
    mark: float = knob(1.0, low=0.0, high=1.0, help="share of right pages that carry the title mark")
    tool_mflop: float = knob(2.0, low=0.0, high=1e6, help="a tool call in millions of operations")
    output_factor: float = knob(4.0, low=0.0, high=100.0, help="price of an output token over an input token")
    size_exponent: float = knob(0.5, low=0.0, high=2.0, help="price goes with body weights to this power")

    metrics = (
        Metric("success", "share", "higher", chance=0.0, band=0.01),
        Metric("price", "credits", "lower", chance=5000.0, band=0.02, relative=True),
        Metric("mflop", "MFLOP", "lower", chance=100.0, band=0.02, relative=True),
        Metric("tokens", "tokens", "lower", chance=5000.0, band=0.02, relative=True),
        Metric("tool_calls", "calls", "lower", chance=12.0, band=0.02, relative=True),
    )
    workloads = {"batch1": "one question, from first token to answer", "batch32": "32 questions at once"}
    main_workload = "batch32"
    trains = False
    offers = ("agent",)
    cost_depends_on_weights = True
    train_cpu_s = 1.0  # of one evaluation on validation data: what a search is counted in
    score_cpu_s = 2.5
    small = {"questions": 12}
    controls = {
        "positive": "a written plan succeeds clearly more often than acting without a written thought",
        "negative": "an agent that remembers only its last step succeeds clearly less often",
    }

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        """Keys and levels: a question and its world follow from them."""

        def split(seed: int) -> dict[str, np.ndarray]:
            tasks = make_tasks(self.questions, seed)
            return {
                "key": np.array([task.key for task in tasks], dtype=np.int64),
                "level": np.array([task.level for task in tasks], dtype=np.int64),
            }

        return {"train": {}, "valid": split(VALID), "test": split(TEST)}

    def model(self, run: Run, width: int | None = None, **slots: Any) -> nn.Module:
        """The vendored model of a width and of the run's seed, with the baseline's settings."""
        from benchmarks.models.agent_model import load
        from benchmarks.models.agent_system import Agent

        width = width or max(SIZES)
        if width not in SIZES:
            raise ValueError(f"width {width} has no checkpoint; there are {', '.join(map(str, SIZES))}")
        path = CHECKPOINTS / f"{SIZES[width]}-{run.seed % SEEDS}.safetensors"
        return Agent(load(path), mark=self.mark)

    def ask(self, system: Any, split: Split, run: Run) -> dict[str, np.ndarray]:
        """Success and costs of a system on the questions of a split: name -> one number a question."""
        outcomes = system.answer(questions(split), run.seed)
        success = np.array([outcome.success for outcome in outcomes], dtype=float)
        return {"success": success} | self.costs([outcome.cost for outcome in outcomes], system)

    def costs(self, spent: list[Cost], system: Any) -> dict[str, np.ndarray]:
        """Costs in the task's units, from what a system has spent on each question."""
        size = (system.body_weights / REFERENCE) ** self.size_exponent
        found = {
            "price": [size * (cost.billed + self.output_factor * cost.generated) for cost in spent],
            "mflop": [cost.flops / 1e6 + self.tool_mflop * cost.calls for cost in spent],
            "tokens": [cost.api_tokens for cost in spent],
            "tool_calls": [cost.calls for cost in spent],
        }
        return {name: np.array(values, dtype=float) for name, values in found.items()}

    def score(self, system: Any, split: Split, run: Run) -> dict[str, Scores]:
        """All metrics, with the level as axis."""
        axes = {"level": split["level"].cpu().numpy()}
        return {name: Scores(values, axes) for name, values in self.ask(system, split, run).items()}

    def workload(self, name: str, system: Any, split: Split, run: Run) -> Workload:
        """Whole questions, from the first token to the answer, tools included."""
        tasks = questions(split)[: int(name.removeprefix("batch"))]
        return Workload(lambda: system.answer(tasks, run.seed), len(tasks), "question")


def questions(split: Split) -> list[Question]:
    """The questions of a split, made again from their levels and keys."""
    return [make_task(*pair) for pair in zip(split["level"].tolist(), split["key"].tolist(), strict=True)]
