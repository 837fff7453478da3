"""From samples of steps to the time of the whole training, on clocks that are written by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.measure.clocks import Sample
from benchmarks.measure.training import whole_training


def samples(phase: str, first: int, seconds: float, ran: float = 1.0, count: int = 10) -> list[Sample]:
    """`count` cycles from `first` on; `ran` is the share of the wall time in which the thread ran."""
    return [Sample(at, seconds, seconds * ran, seconds * ran, phase) for at in range(first, first + count)]


def test_phases_weigh_by_their_steps():
    own = samples("a", 0, 0.5) + samples("b", 25, 1.5)
    base = samples("train", 0, 1.0) + samples("train", 25, 1.0)
    found = whole_training({"a": 30, "b": 10}, {"train": 40}, own, base)
    assert found is not None
    assert found.seconds == pytest.approx(30 * 0.5 + 10 * 1.5)
    assert found.log_ratio == pytest.approx(math.log(30 / 40))
    assert found.step_s == {"a": 0.5, "b": 1.5}
    assert found.clock == "wall"


def test_phases_of_different_speed_are_no_disagreement_of_clocks():
    own = samples("a", 0, 0.5) + samples("b", 25, 1.5)
    base = samples("train", 0, 1.0) + samples("train", 25, 1.0)
    found = whole_training({"a": 10, "b": 10}, {"train": 20}, own, base)
    assert found is not None and found.flags == ()


@pytest.mark.parametrize("ran", [1.0, 0.5], ids=["clean", "pre-empted"])
def test_each_phase_is_held_against_the_baseline_beside_it(ran):
    """The machine is twice as slow during the second phase: the ratio is 0.5 all the same."""
    own = samples("a", 0, 0.5, ran) + samples("b", 25, 1.0, ran)
    base = samples("train", 0, 1.0, ran) + samples("train", 25, 2.0, ran)
    found = whole_training({"a": 20, "b": 20}, {"train": 40}, own, base)
    assert found is not None
    assert found.log_ratio == pytest.approx(math.log(0.5))
    assert found.clock == ("wall" if ran == 1.0 else "cpu")
    assert found.flags == (() if ran == 1.0 else ("preempted",))


def test_a_step_is_the_mean_one():
    """Twice the steps of half the length: the training lasts as long."""
    found = whole_training({"a": 80}, {"train": 40}, samples("a", 0, 0.5), samples("train", 0, 1.0))
    assert found is not None
    assert found.log_ratio == pytest.approx(0.0)
    assert found.step_log_ratio == pytest.approx(math.log(0.5))


def test_a_baseline_may_have_phases():
    """10 steps of 1 s and 30 of 3 s last 100 s; 40 steps of the cell, each as two of the first kind, 80 s."""
    base = samples("x", 0, 1.0) + samples("y", 25, 3.0)
    found = whole_training({"train": 40}, {"x": 10, "y": 30}, samples("train", 0, 2.0), base)
    assert found is not None
    assert found.log_ratio == pytest.approx(math.log(80 / 100))
    same = whole_training({"x": 10, "y": 30}, {"x": 10, "y": 30}, base, base)
    assert same is not None and same.log_ratio == pytest.approx(0.0) and same.seconds == pytest.approx(100)


def test_what_was_not_timed_has_no_time():
    base = samples("train", 0, 1.0)
    assert whole_training({"a": 1, "b": 1}, {"train": 2}, samples("a", 0, 1.0), base) is None
    assert whole_training({}, {"train": 2}, base, base) is None
    assert whole_training({"train": 2}, {}, base, base) is None
