"""Break-even: a crossing where the answer is known, intervals that may be open, curves from rows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.content import Content
from reports.drawing.crossover import (
    At,
    Crossing,
    Curve,
    by_knob,
    by_workload,
    crossings,
    figure,
    inverse,
    told,
)
from reports.judging.statistics import Interval, student

LENGTHS = (128.0, 256.0, 512.0, 1024.0, 2048.0)


def at(x: float, value: float, factor: float = 1.0) -> At:
    return At(x, Interval(value, value / factor, value * factor, 5, 4.0))


def power(break_even: float, slope: float, factor: float = 1.0, xs: tuple[float, ...] = LENGTHS) -> Curve:
    """Speed-up (x / break_even) ** slope: a line on logs, so that interpolation is exact."""
    return Curve("method", "family", tuple(at(x, (x / break_even) ** slope, factor) for x in xs))


@given(st.floats(130, 2000), st.floats(0.1, 2.0), st.booleans())
def test_a_power_law_crosses_where_it_must(break_even: float, slope: float, rising: bool) -> None:
    (found,) = crossings(power(break_even, slope if rising else -slope))
    assert found.x == pytest.approx(break_even) and found.rising is rising


def test_the_interval_is_where_the_ends_of_the_intervals_meet_one() -> None:
    (found,) = crossings(power(512.0 * 1.1, 0.5, 1.2))
    assert found.low == pytest.approx(512 * 1.1 / 1.2**2) and found.high == pytest.approx(512 * 1.1 * 1.2**2)
    assert found.low < found.x < found.high
    (falling,) = crossings(power(512.0 * 1.1, -0.5, 1.2))
    assert (falling.low, falling.high) == pytest.approx((found.low, found.high))


def test_an_end_beyond_the_settings_is_open() -> None:
    (found,) = crossings(power(1900.0, 0.5, 1.3))
    assert found.high is None and found.low is not None
    assert told(found).endswith("open]")


def test_always_slower_and_always_faster_have_no_crossing() -> None:
    assert crossings(power(1e6, 0.5)) == [] and crossings(power(1.0, 0.5)) == []


def test_a_curve_that_wavers_around_one_crosses_nothing() -> None:
    noise = (1.004, 0.997, 1.003, 0.999, 1.002)
    assert crossings(Curve("m", "f", tuple(at(x, y) for x, y in zip(LENGTHS, noise, strict=True)))) == []
    # the last meeting leads out of the band, the one before it does not
    leaves = (1.004, 0.997, 1.003, 1.2, 1.5)
    (found,) = crossings(Curve("m", "f", tuple(at(x, y) for x, y in zip(LENGTHS, leaves, strict=True))))
    assert found.rising and 256.0 < found.x < 512.0


def test_a_curve_may_cross_twice() -> None:
    curve = Curve("m", "f", tuple(at(x, y) for x, y in zip(LENGTHS, (0.5, 2.0, 2.0, 1.5, 0.7), strict=True)))
    first, second = crossings(curve)
    assert first.rising and not second.rising and first.x < second.x


def test_an_infinite_interval_bounds_nothing() -> None:
    curve = Curve(
        "m",
        "f",
        (At(1.0, Interval(0.5, 0.0, math.inf, 1, 0.0)), At(2.0, Interval(2.0, 0.0, math.inf, 1, 0.0))),
    )
    assert crossings(curve) == [Crossing(pytest.approx(math.sqrt(2)), None, None, True)]


def test_a_linear_axis_is_interpolated_linearly() -> None:
    curve = Curve("m", "f", (at(0.0, math.exp(-1)), at(0.4, math.exp(1))), log=False)
    assert crossings(curve)[0].x == pytest.approx(0.2)  # and 0 is a value like another


def test_the_interval_of_a_crossing_covers_the_truth() -> None:
    """In 95 % of simulated studies, up to what 400 of them can say; rounds of 5, true crossing at 700."""
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(400):
        points = tuple(
            At(x, student(0.5 * math.log(x / 700.0) + 0.05 * rng.normal(size=5)).exp()) for x in LENGTHS
        )
        found = crossings(Curve("m", "f", points))
        hits += bool(found) and (found[0].low or 0.0) <= 700.0 <= (found[0].high or math.inf)
    assert 0.92 <= hits / 400 <= 1.0


def test_a_ratio_of_times_becomes_a_speedup() -> None:
    found = inverse(Interval(0.5, 0.4, 0.8, 5, 4.0, (0.5, 0.25)))
    assert (found.effect, found.low, found.high) == (2.0, 1.25, 2.5) and found.replicates == (2.0, 4.0)


def test_curves_from_golden_rows(content: Content) -> None:
    section = content.sections[0]
    gradual = next(curve for curve in by_knob(section, "sparsity") if curve.name.startswith("gradual"))
    assert [point.x for point in gradual.points] == [0.5, 0.9, 0.98]
    assert [point.speedup.effect for point in gradual.points] == pytest.approx(
        [1.0, 1 / 0.53, 1 / 0.28], rel=0.03
    )
    over = {curve.name: curve for curve in by_workload(section)}
    int8 = over["int8"]
    assert [point.x for point in int8.points] == [1.0, 64.0]
    (found,) = crossings(int8)
    assert found.rising and 1 < found.x < 64
    assert over["ternary"].points == () and over["ternary"].emulated == (1.0, 64.0)
    assert "baseline" not in over


def test_the_figure_marks_the_crossing_and_never_draws_an_emulation_as_measured() -> None:
    curve = power(700.0, 0.5, 1.1)
    emulated = Curve("planes", "other", (), (256.0,))
    axes = figure([curve, emulated], "length").axes[0]
    (cross,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert cross.get_xdata()[0] == pytest.approx(700.0) and cross.get_ydata()[0] == 1.0
    bars = [line for line in axes.lines if line.get_linewidth() == 3.2]
    assert bars[0].get_xdata() == pytest.approx([700 / 1.1**2, 700 * 1.1**2])
    ticks = [line for line in axes.lines if line.get_marker() == "|"]
    assert [line.get_xdata()[0] for line in ticks] == [256.0] and ticks[0].get_ydata()[0] == axes.get_ylim()[
        0
    ]
    measured = [line for line in axes.lines if line.get_marker() == "o" or line.get_marker() == "s"]
    assert sorted(line.get_xdata()[0] for line in measured) == list(LENGTHS)
    assert axes.get_xscale() == "log" and axes.get_yscale() == "log"
    assert any("not timed" in text.get_text() for text in axes.texts)


def test_an_interval_beyond_the_window_ends_in_an_arrow() -> None:
    wild = Curve("m", "f", (at(128.0, 0.8), At(256.0, Interval(1.5, 0.001, 900.0, 2, 1.0))))
    axes = figure([wild], "length").axes[0]
    heads = {line.get_marker(): line.get_ydata()[0] for line in axes.lines if line.get_markersize() == 3.4}
    assert heads == {"v": axes.get_ylim()[0], "^": axes.get_ylim()[1]}


def test_curves_of_one_method_are_called_by_their_knobs() -> None:
    """The method stands in the caption; what differs is what a reader looks for."""
    both = [replace(power(512.0, 0.5), name=f"kernel(form={form})") for form in ("csr", "bsr")]
    texts = {text.get_text() for text in figure(both, "length").axes[0].texts}
    assert {"form=csr", "form=bsr"} <= texts
    mixed = [both[0], replace(both[1], name="other(form=bsr)")]
    texts = {" ".join(text.get_text().split()) for text in figure(mixed, "length").axes[0].texts}
    assert any(text.startswith("kernel") for text in texts)
