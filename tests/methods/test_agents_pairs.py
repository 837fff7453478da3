"""Cascades and routers of agents: identities, what they cost, what they learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.models import agent_world as w
from benchmarks.models.agent_records import AgentConfig, Attempt, Cost, Outcome
from benchmarks.models.agent_system import Agent
from benchmarks.run import Run
from benchmarks.tasks.tool_agents import ToolAgents, questions
from methods.agents.agent_cascade import AgentCascade, Cascade, cheapest
from methods.agents.agent_policy import AgentPolicy
from methods.agents.agent_router import AgentRouter, learn, scores
from methods.agents.pair import Pair, PairCost, ask, on_validation, signals
from methods.agents.random_agent_router import RandomAgentRouter
from methods.agents.routing import N_FEATURES, features, logistic
from methods.base import Method

TASK = ToolAgents(questions=30)


def run(method: Method, seed: int = 0, task: ToolAgents = TASK) -> Run:
    valid = {name: torch.from_numpy(values) for name, values in TASK.prepare()["valid"].items()}
    return Run(task, method, seed, torch.device("cpu"), {}, valid)


def served(method: Any, seed: int = 0) -> tuple[Any, Run]:
    given = run(method, seed)
    return method.serve(method.adapt(method.build(given), given), given), given


def alone(width: int, seed: int = 0, task: ToolAgents = TASK) -> dict[str, np.ndarray]:
    given = run(AgentPolicy(), seed)
    return task.ask(TASK.model(given, width=width), given.valid, given)


# -------------------------------------------------------------------- what speaks for an answer


def attempt(number: int, answer: int | None, mean: float, least: float, verdict: bool | None) -> Attempt:
    status = "limit" if answer is None else "answered"
    return Attempt(0, number, status, answer, False, verdict, Cost(), [], mean, least, [])


def outcome(answer: int | None) -> Outcome:
    return Outcome(answer, False, Cost(), 1, False)


def test_signals_by_hand() -> None:
    group = [
        attempt(0, 7, -0.5, -2.0, True),
        attempt(1, 8, -0.1, -0.2, False),
        attempt(2, 7, -0.3, -1.0, False),
    ]
    found = signals(group, outcome(7))
    assert found == pytest.approx({"checker": 1.0, "mean_logprob": np.exp(-0.3), "min_logprob": np.exp(-1.0)})
    assert signals(group, outcome(8))["checker"] == 0.0
    assert set(signals([attempt(0, None, -0.1, -0.2, False)], outcome(None)).values()) == {0.0}
    sure = signals([attempt(0, 7, 0.0, 0.0, True)], outcome(7))
    assert all(0.99 < value < 1.0 for value in sure.values())  # a threshold of 1 keeps nothing


def test_signals_are_those_of_the_attempts() -> None:
    given = run(AgentPolicy())
    agent = TASK.model(given)
    for said, own in zip(
        ask(agent, questions(given.valid), 3), agent.answer(questions(given.valid), 3), strict=True
    ):
        assert said.outcome == own
        assert (said.signals["checker"] > 0) <= (own.answer is not None)
        assert said.signals["min_logprob"] <= said.signals["mean_logprob"]


# -------------------------------------------------------------------- what two agents cost


def test_a_pair_costs_the_sum_of_both() -> None:
    weak, strong = Cost(2, 90, 10, 100, 1000), Cost(3, 200, 20, 300, 5000)
    both = PairCost.of(weak, strong, 0.5)
    assert (both.calls, both.flops, both.api_tokens) == (5, 6000, 100 + 10 + 300 + 20)
    assert (both.billed, both.generated) == (350.0, 25.0)
    assert PairCost.of(weak, None, 0.5).billed == 50.0 and PairCost.of(None, strong, 0.5).billed == 300
    assert both.more(7).flops == 6007 and both.more(7).billed == both.billed


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_cascades_price_is_the_sum_where_it_escalates(exponent: float) -> None:
    task = replace(TASK, size_exponent=exponent)
    method = AgentCascade(by="mean_logprob", threshold=0.9)
    given = run(method, 1, task)
    system = method.serve(method.build(given), given)
    found, weak, strong = task.ask(system, given.valid, given), alone(24, 1, task), alone(32, 1, task)
    asked = np.array([one.strong for one in system.answer(questions(given.valid), 1)])
    assert 0 < asked.mean() < 1
    for name in ("price", "tokens", "mflop", "tool_calls"):
        assert found[name] == pytest.approx(weak[name] + asked * strong[name]), name
    assert np.array_equal(found["success"], np.where(asked, strong["success"], weak["success"]))


@pytest.mark.parametrize("by", ["checker", "mean_logprob", "min_logprob"])
def test_thresholds_at_the_ends(by: str) -> None:
    weak, strong = alone(24), alone(32)
    system, given = served(AgentCascade(by=by, threshold=0.0))
    for name, values in TASK.ask(system, given.valid, given).items():
        assert values == pytest.approx(weak[name]), name
    system, given = served(AgentCascade(by=by, threshold=1.0))
    found = TASK.ask(system, given.valid, given)
    assert np.array_equal(found["success"], strong["success"])
    assert found["price"] == pytest.approx(weak["price"] + strong["price"])


def test_a_checked_cascade_keeps_what_is_borne_out() -> None:
    method = AgentCascade()
    system, given = served(method)
    assert not given.log.spent  # there is nothing to learn
    weak = ask(system.pair.weak, questions(given.valid), 0)
    for one, said in zip(system.answer(questions(given.valid), 0), weak, strict=True):
        assert one.strong == (said.signals["checker"] == 0.0)


# -------------------------------------------------------------------- what a cascade learns


def test_the_cheapest_threshold_by_hand() -> None:
    signal = np.array([0.9, 0.8, 0.6, 0.5, 0.2])
    weak = np.array([1.0, 1.0, 0.0, 1.0, 0.0]), np.full(5, 1.0)
    strong = np.array([1.0, 1.0, 1.0, 1.0, 1.0]), np.full(5, 4.0)
    assert cheapest(signal, weak, strong, 0.0) == 0.8  # all of the weak agent's mistakes lie below it
    assert cheapest(signal, weak, strong, 0.2) == 0.5  # the last one alone is asked again
    assert cheapest(signal, weak, strong, 0.4) == 0.2  # nothing lies below it
    worse = np.array([0.0, 1.0, 1.0, 0.0, 1.0]), np.full(5, 4.0)
    assert cheapest(signal, weak, worse, 0.0) == 0.2  # as often right alone
    better = np.ones(5), np.full(5, 4.0)
    assert cheapest(signal, (np.zeros(5), np.ones(5)), better, 0.0) == 1.0


def test_a_learned_threshold_is_paid_for_and_kept() -> None:
    method = AgentCascade(by="mean_logprob", tolerance=0.02)
    given = run(method, 2)
    model = method.adapt(method.build(given), given)
    weak, strong = alone(24, 2), alone(32, 2)
    for name, key in (("tokens", "tokens"), ("price", "price"), ("tool_calls", "tool_calls")):
        assert given.log.spent[key] == pytest.approx(weak[name].sum() + strong[name].sum())
    other = method.build(given)
    other.load_state_dict(model.state_dict())
    found = TASK.ask(method.serve(other, given), given.valid, given)
    assert found["success"].mean() >= strong["success"].mean() - 0.02 - 1e-9
    _, said, _ = on_validation(model, given)
    threshold = float(model.learnt[0])
    kept = np.array([one.signals["mean_logprob"] >= threshold for one in said])
    assert np.array_equal(found["price"] > weak["price"] + 1e-9, ~kept)


# -------------------------------------------------------------------- routers


def test_features_read_the_question_only() -> None:
    joined = next(t for t in w.make_tasks(60, 5) if t.form == (1, 2))
    found = features(joined)
    assert len(found) == N_FEATURES and found[0] == 1.0
    assert sum(found[1:6]) == 3 and sum(found[6:9]) == 1 and found[9:11] == [2.0, 1.0]
    simple = next(t for t in w.make_tasks(60, 5) if t.form == (2,))
    assert sum(features(simple)[6:9]) == 0 and features(simple)[9:11] == [2.0, 0.0]
    hidden = replace(joined, pages={}, answer=0, level=1, key=0, chains=(), operation=None, form=())
    assert features(hidden) == found


def test_logistic_regression_is_at_its_minimum() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.cat((torch.ones(200, 1), torch.randn(200, 3, generator=rng)), 1).double()
    y = (
        torch.rand(200, generator=rng) < (x @ torch.tensor([0.3, 2.0, -1.0, 0.0]).double()).sigmoid()
    ).double()
    weights = logistic(x, y, 0.5).requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ weights, y, reduction="sum")
    loss = loss + 0.25 * (weights[1:] ** 2).sum() + 5e-7 * weights[0] ** 2
    (gradient,) = torch.autograd.grad(loss, weights)
    assert gradient.abs().max() < 1e-7
    parted = logistic(x, (x[:, 1] > 0).double(), 0.5)  # separable: the ridge keeps it finite
    assert torch.isfinite(parted).all() and ((x @ parted > 0) == (x[:, 1] > 0)).double().mean() > 0.95


def test_a_router_finds_a_planted_boundary() -> None:
    """The weak agent fails on joined questions, the strong one never does."""
    method = AgentRouter(share=0.5)
    given = run(method)
    model = method.build(given)
    asked = w.make_tasks(300, 9)
    joined = np.array([t.operation is not None for t in asked])
    learn(model, asked, (~joined).astype(float), np.ones(300), float(joined.mean()), 1.0)
    fresh = w.make_tasks(150, 10)
    system = method.serve(model, given)
    assert system.to_strong(fresh, 0) == [t.operation is not None for t in fresh]
    gains = scores(model, fresh).numpy()
    assert (
        gains[[t.operation is None for t in fresh]].max()
        < gains[[t.operation is not None for t in fresh]].min()
    )


@pytest.mark.parametrize("make", [AgentRouter, RandomAgentRouter])
def test_shares_at_the_ends(make: Any) -> None:
    weak, strong = alone(24), alone(32)
    for share, expected in ((0.0, weak), (1.0, strong)):
        system, given = served(make(share=share))
        found = TASK.ask(system, given.valid, given)
        assert np.array_equal(found["success"], expected["success"])
        for name in ("price", "tokens", "tool_calls"):
            assert found[name] == pytest.approx(expected[name])
        assert found["mflop"] == pytest.approx(expected["mflop"], rel=1e-4)  # a decision is 48 operations


def test_a_router_asks_one_agent_and_the_share_it_was_told() -> None:
    weak, strong = alone(24), alone(32)
    system, given = served(AgentRouter(share=0.4))
    outcomes = system.answer(questions(given.valid), 0)
    asked = np.array([one.strong for one in outcomes])
    assert asked.mean() <= 0.4 and asked.any()  # those with the score of the threshold stay with the weak one
    found = TASK.ask(system, given.valid, given)
    assert found["price"] == pytest.approx(np.where(asked, strong["price"], weak["price"]))
    assert given.log.spent["price"] == pytest.approx(weak["price"].sum() + strong["price"].sum())
    extra = found["mflop"] - np.where(asked, strong["mflop"], weak["mflop"])
    assert extra == pytest.approx(4 * N_FEATURES / 1e6)


def test_a_random_router_draws_by_question() -> None:
    asked = w.make_tasks(4000, 3)
    system, _ = served(RandomAgentRouter(share=0.3))
    first = system.to_strong(asked, 0)
    assert abs(np.mean(first) - 0.3) < 0.03
    assert system.to_strong(asked[::-1], 0) == first[::-1] and system.to_strong(asked, 1) != first
    levels = np.array([t.level for t in asked])
    assert all(abs(np.mean(np.array(first)[levels == level]) - 0.3) < 0.05 for level in (1, 2, 3))


def test_any_agent_may_stand_in_a_pair() -> None:
    given = run(AgentPolicy())
    weak = Agent(TASK.model(given, width=24).lm, AgentConfig(tries=2, checker=True))
    pair = Pair(weak, TASK.model(given), torch.tensor(0.5, dtype=torch.float64))
    asked = questions(given.valid)
    system = Cascade(pair, "checker", 1.0)
    for one, own in zip(system.answer(asked, 0), weak.answer(asked, 0), strict=True):
        assert one.strong == (not own.checked)
        assert one.strong or one.cost.api_tokens == own.cost.api_tokens
    with pytest.raises(ValueError, match="strong is a Linear"):
        Pair(weak, torch.nn.Linear(1, 1))


def test_masked_observations_keep_what_was_written() -> None:
    """Observation masking is a knob of agent_policy: question and own words stay, old observations go."""
    from benchmarks.models.agent_traces import context, expert, prompt

    task = next(t for t in w.make_tasks(60, 5) if t.form == (3,))
    steps = expert(task, "plan", 1, w.Tools())[:-1]
    head = prompt(task, "plan", "masked", 1)
    read = context(head, steps, "masked")
    own = [token for step in steps for token in step.written]
    assert read == [*head, *own, *steps[-1].observation]
    assert len(read) < len(context(head, steps, "full"))
