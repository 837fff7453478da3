"""Rows are joined only where basis, sensor, device, protocol and torch version agree; steps bring their own error."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.collect import as_table
from reports.judging.arms import Section
from reports.judging.effects import ACROSS_BOARDS, compute
from reports.judging.joins import AGREE, agree
from reports.judging.statistics import student, sum_of
from reports.judging.table import Missing, Table

ENV = {"torch": "2.13.0", "cpu": "EPYC", "threads": 1}
TASK = {"metrics": [], "basis": "counted"}


def row(arm: str, number: int, log: float, metric: str = "energy_j@batch1", **parts: Any) -> dict[str, Any]:
    found = {
        "kind": "visit", "task": "t", "task_id": "t", "task_knobs": "{}", "method": arm, "knobs": "{}", "arm": arm,
        "seed": 0, "system": arm, "status": "ok", "reason": "", "metric": metric, "basis": "measured", "value": 1.0,
        "form": "dense", "round": number, "baseline": "base", "log_ratio": log, "clock": "wall", "flags": "",
        "device": "cuda", "protocol": 2, "sensor": "nvml_counter", "env": json.dumps(ENV),
    }  # fmt: skip
    return {**found, **parts}


def table(rows: list[dict[str, Any]]) -> Table:
    return Table(as_table(rows), {"tasks": {"t": TASK}, "methods": {}, "cards": []})


def check(metric: str = "energy_j@batch1") -> dict[str, Any]:
    return {"task": "t", "quality": False, "metric": metric, "of": "a", "over": "b"}


def both(change: Callable[[str, int], dict[str, Any]]) -> Table:
    return table(
        [row(arm, n, 0.1 * (arm == "a") + 0.001 * n, **change(arm, n)) for arm in "ab" for n in range(5)]
    )


def test_rows_measured_alike_are_joined() -> None:
    found = compute(both(lambda arm, n: {}), check())
    assert (
        found.interval.effect == pytest.approx(math.exp(0.1)) and found.interval.n == 5 and found.band == 0.02
    )


DIFFER: dict[str, dict[str, Any]] = {
    "protocol": {"protocol": 1},
    "sensor": {"sensor": "nvml_power"},
    "basis": {"basis": "modelled"},
    "device": {"device": "cpu"},
    "cpu": {"env": json.dumps({**ENV, "cpu": "Xeon"})},
    "gpu": {"env": json.dumps({**ENV, "gpu": "H100"})},
    "power_limit_w": {"env": json.dumps({**ENV, "power_limit_w": 300.0})},
    "torch": {"env": json.dumps({**ENV, "torch": "2.14.0"})},
    "threads": {"env": json.dumps({**ENV, "threads": 2})},
}


def test_every_condition_is_tested() -> None:
    assert set(DIFFER) == set(AGREE)


@pytest.mark.parametrize("where", ["one side", "one round"])
@pytest.mark.parametrize("name", AGREE)
def test_rows_measured_otherwise_are_not_joined(name: str, where: str) -> None:
    other = both(lambda arm, n: DIFFER[name] if (arm == "a" if where == "one side" else n == 3) else {})
    with pytest.raises(Missing, match=rf"energy_j@batch1: rows of {name} .* are not joined"):
        compute(other, check())


def test_other_versions_of_python_or_numpy_do_not_matter() -> None:
    rows = as_table([row("a", n, 0.0, env=json.dumps({**ENV, "numpy": str(n)})) for n in range(3)])
    agree(rows, "time")
    agree(pd.DataFrame(columns=rows.columns), "nothing")


def test_boards_of_one_model_have_a_wider_band() -> None:
    uuids = both(lambda arm, n: {"env": json.dumps({**ENV, "gpu": "H100", "gpu_uuid": f"GPU-{n % 2}"})})
    assert compute(uuids, check()).band == ACROSS_BOARDS == 0.05


# -------------------------------------------------------------------- training time


def training(steps: dict[str, list[int]]) -> Table:
    """Both arms timed on seed 0 in five rounds: a's step takes as long as b's."""
    ratio = math.log(steps["a"][0] / steps["b"][0])
    rows = [
        row(
            arm,
            n,
            (ratio if arm == "a" else 0.0) + 0.002 * (n - 2) * (arm == "a"),
            metric="train_s",
            sensor=None,
        )
        for arm in "ab"
        for n in range(5)
    ]
    for arm, counts in steps.items():
        for seed, count in enumerate(counts):
            cell = {"kind": "cell", "seed": seed, "round": None, "log_ratio": None, "sensor": None}
            rows.append(
                row(arm, 0, 0.0, metric="train_steps") | cell | {"value": float(count), "basis": "counted"}
            )
    return table(rows)


def test_equal_steps_leave_the_interval_of_the_rounds() -> None:
    found = compute(training({"a": [50, 50, 50], "b": [100, 100, 100]}), check("train_s")).interval
    logs = np.log(0.5) + 0.002 * np.arange(-2, 3)
    assert (found.effect, found.low) == pytest.approx((0.5, math.exp(student(logs).low)))


def test_steps_that_differ_by_seed_enter_the_interval() -> None:
    """Rounds timed seed 0 with 40 steps; over seeds it is 50 in the geometric mean, and nobody knows it so well."""
    counts = [40, 50, 62]
    found = compute(training({"a": counts, "b": [100] * 3}), check("train_s")).interval
    alone = compute(training({"a": [40] * 3, "b": [100] * 3}), check("train_s")).interval
    middle = math.exp(np.mean(np.log(counts)))
    assert found.effect == pytest.approx(middle / 100) and alone.effect == pytest.approx(0.4)
    wide, narrow = (math.log(i.high / i.low) for i in (found, alone))
    seeds = student(np.log(counts))
    assert wide > 10 * narrow and wide == pytest.approx(seeds.high - seeds.low, rel=0.05)


def test_seconds_of_a_training_are_those_of_all_seeds() -> None:
    """Rounds timed seed 0 with 40 steps; beside a ratio over all seeds stand the seconds of their mean of 50."""
    rows = training({"a": [40, 50, 60], "b": [100] * 3})
    section = SimpleNamespace(table=rows)
    assert Section._longer(section, "a") == pytest.approx(50 / 40)  # type: ignore[arg-type]
    assert Section._longer(section, "b") == Section._longer(section, "nobody") == 1.0  # type: ignore[arg-type]


def test_intervals_of_a_product_cover() -> None:
    """Means of 8 rounds and of 5 seeds with unlike spreads: 95 % of the intervals hold the sum of both truths."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(2000):
        one, other = student(0.3 + 0.02 * rng.normal(size=8)), student(0.1 + 0.01 * rng.normal(size=5))
        found = sum_of(one, other)
        covered.append(found.low <= 0.4 <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97, np.mean(covered)


def test_a_side_without_an_interval_leaves_none() -> None:
    assert sum_of(student([1.0]), student([1.0, 2.0])).df == 0.0
    exact = sum_of(student([1.0, 1.0]), student([2.0, 2.0]))
    assert exact.effect == exact.low == exact.high == 3.0
