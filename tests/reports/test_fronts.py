"""Fronts against hand-made and brute-force ones; membership by draws where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.content import Content
from reports.judging.fronts import _undominated, fronts, membership
from reports.judging.statistics import Interval


def exact(value: float) -> Interval:
    return Interval(value, value, value, 5)


def spread(value: float, half: float, n: int = 8) -> Interval:
    return Interval(value, value - half, value + half, n, n - 1.0)


def test_a_front_by_hand() -> None:
    costs = np.array([[1.0, 0.5, 0.5, 0.2, 0.9]])
    gains = np.array([[0.0, -1.0, -2.0, -5.0, -3.0]])
    assert _undominated(costs, gains)[0].tolist() == [True, True, False, True, False]


def test_equal_arms_are_both_on_the_front() -> None:
    assert _undominated(np.array([[0.5, 0.5]]), np.array([[1.0, 1.0]]))[0].tolist() == [True, True]


pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=9)


@given(pairs)
def test_against_brute_force(points: list[tuple[int, int]]) -> None:
    costs, gains = (np.array([[float(p[k]) for p in points]]) for k in (0, 1))
    slow = [not any(c2 <= c and g2 >= g and (c2 < c or g2 > g) for c2, g2 in points) for c, g in points]
    assert _undominated(costs, gains)[0].tolist() == slow


def test_membership_is_sure_where_intervals_are_apart() -> None:
    costs = [exact(1.0), spread(0.5, 0.01), spread(0.6, 0.01)]
    gains = [exact(0.0), spread(-0.01, 0.002), spread(-0.05, 0.002)]
    assert membership(costs, gains) == [1.0, 1.0, 0.0]


def test_two_arms_that_cannot_be_told_apart_share_the_front() -> None:
    """Equal estimates and spreads on both axes: each is beaten by the other in a quarter of draws."""
    costs, gains = [spread(0.5, 0.05)] * 2, [spread(0.0, 0.01)] * 2
    assert membership(costs, gains) == [pytest.approx(0.75, abs=0.04)] * 2


def test_an_arm_without_an_interval_has_no_share() -> None:
    open_ = Interval(0.5, 0.0, math.inf, 1, 0.0)
    assert membership([open_, exact(1.0)], [spread(-0.1, 0.01), exact(0.0)])[0] is None


def test_golden_front(content: Content) -> None:
    by_time = fronts(content.sections[0])[0]
    assert by_time.metric == "latency_s@batch64" and by_time.basis == "measured"
    names = [point.arm.label for point in by_time.best]
    assert names[-1] == "distilled" and names[0].startswith("dense(") and "int8" in names
    assert "oneshot(sparsity=0.9)" not in names
    assert by_time.absent["ternary"].endswith("emulated")


def test_a_simulator_has_modelled_fronts_and_no_clock(content: Content) -> None:
    bases = {task.section.basis: {front.basis for front in task.fronts} for task in content.tasks}
    assert bases == {"counted": {"measured", "counted"}, "modelled": {"modelled"}}
    simulated = [
        front.metric for task in content.tasks if task.section.basis == "modelled" for front in task.fronts
    ]
    assert simulated == ["price"]


def test_less_is_better_is_turned(content: Content) -> None:
    from reports.judging.effects import Effect
    from reports.judging.fronts import turned

    change = Effect(Interval(0.2, 0.1, 0.4, 5, 4.0), "difference", "counted", 0.01)
    assert (turned(change, -1.0).effect, turned(change, -1.0).low, turned(change, -1.0).high) == (
        -0.2,
        -0.4,
        -0.1,
    )
