"""Cost-of-pass as an effect: by hand, and its interval against resampling."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from reports.judging.cost_of_pass import cost_of_pass
from reports.judging.table import Missing


def table(**arms: tuple[np.ndarray, np.ndarray]) -> Any:
    """A stand-in for a table: arm -> (cost, success), both [seeds, items]."""

    def items(arm: str, metric: str) -> dict[int, np.ndarray]:
        assert metric in ("price", "success", "price@level=3", "success@level=3")
        return dict(enumerate(arms[arm][metric.startswith("success")]))

    return SimpleNamespace(
        items=items,
        arms={arm: {"label": arm} for arm in arms},
        metric=lambda task, name: {"band": 0.02},
        scope={"tasks": {"t": {"basis": "counted"}}},
    )


CHECK = {"metric": "price", "of": "a", "over": "b", "task": "t"}


def test_by_hand() -> None:
    a = (np.array([[2.0, 4.0, 6.0, 8.0]] * 2), np.array([[1.0, 1.0, 0.0, 0.0]] * 2))  # 5 / .5 = 10
    b = (np.array([[10.0, 30.0, 10.0, 30.0]] * 2), np.array([[1.0, 1.0, 1.0, 1.0]] * 2))  # 20 / 1 = 20
    found = cost_of_pass(table(a=a, b=b), CHECK)
    assert found.interval.effect == pytest.approx(0.5) and found.scale == "ratio" and found.basis == "counted"
    assert found.band == 0.02
    placed = cost_of_pass(table(a=a, b=b), {**CHECK, "metric": "price@level=3"})
    assert placed.interval.effect == pytest.approx(0.5)


def test_never_right() -> None:
    cost = np.ones((2, 3))
    with pytest.raises(Missing, match="a never succeeds"):
        cost_of_pass(table(a=(cost, cost * 0), b=(cost, cost)), CHECK)


def test_no_common_seed() -> None:
    cost = np.ones((1, 3))
    made = table(a=(cost, cost), b=(cost, cost))
    plain = made.items
    made.items = lambda arm, metric: {9: plain(arm, metric)[0]} if arm == "b" else plain(arm, metric)
    with pytest.raises(Missing, match="no seed in common"):
        cost_of_pass(made, CHECK)


def test_interval_against_resampled_items() -> None:
    """One seed: the delta method's interval is that of a bootstrap over items, within 15 %."""
    rng = np.random.default_rng(0)
    n = 600
    base = rng.random(n)
    a = (rng.gamma(4, 1, (1, n)) + base, (rng.random((1, n)) < 0.7).astype(float))
    b = (rng.gamma(4, 2, (1, n)) + base, (rng.random((1, n)) < 0.9).astype(float))
    found = cost_of_pass(table(a=a, b=b), CHECK).interval
    draws = []
    for _ in range(2000):
        at = rng.integers(n, size=n)
        va, vb = (cost[0, at].mean() / right[0, at].mean() for cost, right in (a, b))
        draws.append(np.log(va / vb))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert np.log(found.high / found.low) == pytest.approx(high - low, rel=0.15)
    assert np.log(found.effect) == pytest.approx(np.mean(draws), abs=0.02)


def test_time_of_a_right_answer_is_a_product_of_rounds_and_items() -> None:
    """Half of the time at half of the successes: a right answer takes as long; both errors enter."""
    from tests.reports.test_effects import cell, rounds
    from tests.reports.test_effects import table as rows_table

    right = {"a": [1.0, 0.0, 1.0, 0.0] * 100, "base": [1.0] * 400}
    rows = rows_table(
        *[rounds(arm, [0.5 * f if arm == "a" else 1.0 for f in (0.99, 1.0, 1.01)]) for arm in ("a", "base")],
        *[cell(arm, seed, {"accuracy": items}) for arm, items in right.items() for seed in range(3)],
    )
    check = {
        "metric": "latency_s@batch1", "of": "a", "over": "base", "task": "images", "quality": False,
        "effect": "cost_of_pass", "args": {"success": "accuracy"},
    }  # fmt: skip
    found = cost_of_pass(rows, check)
    assert found.interval.effect == pytest.approx(1.0, rel=1e-3) and found.basis == "measured"
    of_items = np.log(1.0 + 1.96 * 0.5 / 20 / 0.5)  # half-width of log 0.5 over 400 items
    assert np.log(found.interval.high / found.interval.effect) == pytest.approx(of_items, rel=0.35)
    assert found.note == "dense form, rounds and test items"
