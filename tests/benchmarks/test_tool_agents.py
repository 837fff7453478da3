"""The task of the agents: data, checkpoints, costs by hand, workloads that can be counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.counting import count
from benchmarks.models.agent_records import AgentConfig, Cost
from benchmarks.models.agent_system import Agent
from benchmarks.run import Run
from benchmarks.tasks.tool_agents import ToolAgents, questions
from methods.reference.baseline import Baseline

TASK = ToolAgents(questions=12)


def splits() -> dict[str, dict[str, torch.Tensor]]:
    return {name: {k: torch.from_numpy(v) for k, v in part.items()} for name, part in TASK.prepare().items()}


def run(seed: int = 0) -> Run:
    data = splits()
    return Run(TASK, Baseline(), seed, torch.device("cpu"), data["train"], data["valid"])


def test_splits_hold_other_questions() -> None:
    data = TASK.prepare()
    assert data["train"] == {}
    assert np.bincount(data["test"]["level"]).tolist() == [0, 4, 4, 4]
    assert not set(data["valid"]["key"]) & set(data["test"]["key"])
    asked = questions(splits()["test"])
    assert [q.key for q in asked] == data["test"]["key"].tolist()
    larger = ToolAgents(questions=30).prepare()["test"]["key"]
    assert (larger[:12] == data["test"]["key"]).all()


def test_models_are_checkpoints_of_the_seed() -> None:
    weights = [TASK.model(run(seed)).lm.embedding.weight for seed in (0, 1, 5)]
    assert not torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])
    small, large = TASK.model(run(), width=24), TASK.model(run())
    assert (small.lm.size.width, large.lm.size.width) == (24, 32)
    assert (small.body_weights, large.body_weights) == (8_064, 26_624)
    assert large.config == AgentConfig(reasoning="plan")
    with pytest.raises(ValueError, match="width 48 has no checkpoint; there are 24, 32"):
        TASK.model(run(), width=48)


class Told:
    """A system whose outcomes are known."""

    body_weights = 26_624 * 4

    def answer(self, tasks: list[Any], seed: int) -> list[Any]:
        from benchmarks.models.agent_records import Outcome

        cost = Cost(calls=3, processed=70, generated=20, billed=100, flops=5_000_000)
        return [Outcome(task.answer, task.level == 1, cost, 1, False) for task in tasks]


def test_costs_by_hand() -> None:
    scores = TASK.score(Told(), splits()["test"], run())
    means = {name: entry.values.mean() for name, entry in scores.items()}
    assert means == {
        "success": pytest.approx(1 / 3),
        "price": pytest.approx(2 * (100 + 4 * 20)),  # four times the weights, to the power of a half
        "tokens": 120,
        "tool_calls": 3,
        "mflop": pytest.approx(5 + 3 * 2),
    }
    assert (scores["price"].axes["level"] == splits()["test"]["level"].numpy()).all()
    free = ToolAgents(questions=12, tool_mflop=0.0, output_factor=0.0, size_exponent=0.0)
    found = free.score(Told(), splits()["test"], run())
    assert found["price"].values.mean() == 100 and found["mflop"].values.mean() == pytest.approx(5)
    assert set(scores) == {metric.name for metric in TASK.metrics}


def test_scores_repeat_and_seeds_differ() -> None:
    first, again, other = (TASK.score(TASK.model(run(s)), splits()["test"], run(s)) for s in (0, 0, 5))
    assert all((first[name].values == again[name].values).all() for name in first)
    assert any((first[name].values != other[name].values).any() for name in first)  # same model, other luck


def test_workloads_can_be_counted() -> None:
    """The operator table has a formula for all that an episode runs; it agrees with the engine's count."""
    system = TASK.model(run())
    work = TASK.workload("batch32", system, splits()["test"], run())
    counted = count(work.call)
    assert work.items == 12 and work.unit == "question"
    assert counted.flops is not None, counted.unknown
    own = sum(outcome.cost.flops for outcome in work.call())
    assert counted.flops == own  # with a full memory all rows are at the same position
    assert TASK.workload("batch1", system, splits()["test"], run()).items == 1


def test_an_agent_is_a_module_with_its_model_inside() -> None:
    system = TASK.model(run())
    assert isinstance(system, Agent)
    assert sum(p.numel() for p in system.parameters()) == sum(p.numel() for p in system.lm.parameters())
