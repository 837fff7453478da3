"""What would settle an unclear check: the number that is named is the least that does, and it does in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reports.judging.effects import Effect
from reports.judging.settling import MOST, settling
from reports.judging.statistics import Interval, crossed, student


def effect(interval: Interval, scale: str = "difference", replicate: str = "seeds") -> Effect:
    return Effect(interval, scale, "counted", 0.005, replicate=replicate)


def half(n: int, spread: float, rest: float = 0.0) -> float:
    return float(stats.t.ppf(0.975, n - 1)) * math.sqrt(spread / n + rest)


@pytest.mark.parametrize("log", [False, True])
def test_the_least_number_of_rounds(log: bool) -> None:
    values = np.array([0.02, -0.01, 0.03, 0.00, 0.01])
    interval = student(values).exp() if log else student(values)
    line, spread = (math.exp(0.002) if log else 0.002), values.var(ddof=1)
    found = settling(effect(interval, "ratio" if log else "difference", "rounds"), [line])
    assert found.what == "rounds" and found.n is not None
    assert half(found.n, spread) < 0.008 <= half(found.n - 1, spread)
    assert found.told == f"about {found.n} rounds in all would settle it if the estimate stays"


def test_seeds_leave_the_part_of_the_items_as_it_is() -> None:
    rng = np.random.default_rng(3)
    values = (
        0.004
        + 0.02 * rng.normal(size=(5, 1))
        + 0.05 * rng.normal(size=(1, 400))
        + 0.05 * rng.normal(size=(5, 400))
    )
    made = crossed(values)
    spread = values.mean(1).var(ddof=1)
    rest = ((made.high - made.low) / 2 / stats.t.ppf(0.975, made.df)) ** 2 - spread / 5
    assert rest > 0
    gap = half(13, spread, rest) * 1.001
    found = settling(effect(made), [made.effect - gap])
    assert (found.what, found.n) == ("seeds", 13)


def test_where_items_set_the_width_more_seeds_do_not_help() -> None:
    rng = np.random.default_rng(4)
    values = 0.01 + 0.4 * rng.normal(size=(1, 500)) + 0.001 * rng.normal(size=(5, 500))
    made = crossed(values)
    found = settling(effect(made), [made.effect - 0.02])
    assert found.what == "test items" and found.n is None
    error = (made.high - made.low) / 2 / stats.t.ppf(0.975, made.df)
    times = int(found.told.split()[7])
    assert 1.96 * error / math.sqrt(times) < 0.0201 <= 1.97 * error / math.sqrt(times - 1)
    assert found.told.startswith("more seeds would not settle it: about")


def test_an_estimate_on_the_threshold_is_settled_by_nothing() -> None:
    found = settling(effect(student([0.1, -0.1, 0.2, -0.2, 0.001]), replicate="rounds"), [0.0])
    assert (found.what, found.n) == ("", None)
    assert found.told == f"more than {MOST} rounds would be needed: the estimate lies on the threshold"
    items = settling(effect(crossed(np.random.default_rng(0).normal(size=(1, 400)))), [0.0000001])
    assert (
        items.told == "more seeds would not settle it: the estimate lies on the threshold"
        or items.what == "test items"
    )


def test_a_single_replicate_has_no_spread_to_go_by() -> None:
    found = settling(effect(student([0.1]), replicate="rounds"), [0.0])
    assert (found.what, found.n) == ("rounds", 5) and "with 1 there is no spread to go by" in found.told


def test_a_ladder_that_ends_too_early() -> None:
    censored = Interval(3.0, 2.5, math.inf, 5, 4.0, (3.0,) * 5)
    assert settling(effect(censored, "value"), [3.5]).what == "points"


def test_within_two_lines_the_nearer_one_counts() -> None:
    values = [0.008, 0.012, 0.010, 0.009, 0.011]
    near = settling(effect(student(values), replicate="rounds"), [0.0, 0.0108])
    assert near == settling(effect(student(values), replicate="rounds"), [0.0108])


def test_what_is_named_does_settle_it_as_often_as_not() -> None:
    """True effect 0.5 sd: with the number that is named for this effect and spread, most intervals leave zero alone."""
    rng = np.random.default_rng(5)
    seen = np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) / np.std([-1.0, -0.5, 0.0, 0.5, 1.0], ddof=1)
    found = settling(effect(student(0.5 + seen), replicate="rounds"), [0.0])
    assert found.n is not None
    values = 0.5 + rng.normal(size=(4000, found.n))
    halves = stats.t.ppf(0.975, found.n - 1) * values.std(1, ddof=1) / math.sqrt(found.n)
    assert 0.4 < (values.mean(1) - halves > 0).mean() < 0.65
