"""The forest plot: one axis for all units, on which a verdict is what one sees."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.content import Content
from reports.drawing import tracks
from reports.drawing.forestlayout import spaced
from reports.judging.forest import Forest, Group, Row, axis
from reports.judging.verdicts import HOLDS, SHORT, UNCLEAR, place
from reports.notation import Words

ACCURACY = {"name": "accuracy", "unit": "share", "better": "higher", "band": 0.005}


def line_of(check: dict[str, Any], scale: str, threshold: float, band: float, effect: float = 0.0) -> Any:
    sense = "within" if "within" in check else "above" if "above" in check else "below"
    row = {"scale": scale, "threshold": threshold, "band": band, "sense": sense, "effect": effect}
    return axis(check, row, None, Words(scale, ""))[0]


def test_every_golden_check_is_seen_as_it_is_judged(content: Content) -> None:
    seen = 0
    for paper in content.papers:
        for group in paper.forest.groups:
            for row in group.rows:
                if row.effect is None:
                    continue
                seen += 1
                assert (
                    place(row.low, row.high, 0.0, math.inf if row.limit is None else row.limit) == row.verdict
                )
    assert seen == 21


def test_units_of_a_difference_by_hand() -> None:
    x = line_of({"above": -0.02}, "difference", -0.02, 0.005)
    assert x(-0.02) == 0 and x(-0.025) == pytest.approx(-1) and x(0.0) == pytest.approx(4)


def test_units_of_a_ratio_by_hand() -> None:
    x = line_of({"below": 1.0}, "ratio", 0.98, 0.02)
    assert x(0.98) == 0 and x(0.98 / 1.02**3) == pytest.approx(3) and x(1.02 * 0.98) == pytest.approx(-1)
    assert x(0.0) == math.inf


def test_a_ratio_without_a_band_is_drawn_in_steps_of_two_per_cent() -> None:
    assert line_of({"below": 0.11}, "ratio", 0.11, 0.0)(0.11 / 1.02) == pytest.approx(1)


def test_within_starts_at_its_lower_limit() -> None:
    x = line_of({"within": [-0.01, 0.02]}, "difference", 0.02, 0.005)
    assert x(-0.01) == 0 and x(0.02) == pytest.approx(6)


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.02, 50), st.floats(0.001, 0.3), st.booleans())
def test_the_axis_never_changes_a_verdict(a: float, b: float, line: float, band: float, above: bool) -> None:
    low, high = sorted((a, b))
    x = line_of({"above" if above else "below": line}, "ratio", line, band)
    ends = sorted((x(low), x(high)))
    least, most = (line, math.inf) if above else (-math.inf, line)
    assert place(ends[0], ends[1], 0.0, math.inf) == place(low, high, least, most)


def forest_of(*rows: Row) -> Forest:
    return Forest("key", "B", [Group("claim", "says", HOLDS, False, False, rows)])


def row_at(low: float, effect: float, high: float, **more: Any) -> Row:
    return Row("label", "label", UNCLEAR, "none", "B", effect, low, high, **more)


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3).map(sorted))
def test_positions_stay_on_the_axis_and_in_order(ends: list[float]) -> None:
    forest = forest_of(row_at(*ends))
    at = [forest.at(x) for x in ends]
    assert at == sorted(at) and at[0] >= 0.0 and at[-1] <= 1.0
    assert forest.left >= 3 and forest.right >= 3
    assert all((forest.at(x) > forest.at(0.0)) == (x > 0) for x in ends if abs(x) > 1e-9)


def test_an_infinite_interval_reaches_both_edges_with_arrows() -> None:
    row = row_at(-math.inf, 1.0, math.inf)
    forest = forest_of(row)
    assert forest.at(row.low) == 0.0 and forest.at(row.high) == 1.0
    svg = tracks.track(forest, row)
    assert all(path in svg for path in tracks.ENDS)
    assert not any(path in tracks.track(forest, row_at(-1, 0, 1)) for path in tracks.ENDS)


def test_zero_is_among_the_ticks_and_ticks_keep_their_distance(content: Content) -> None:
    for paper in content.papers:
        ticks = spaced(paper.forest)
        assert 0.0 in ticks
        at = [paper.forest.at(tick) for tick in ticks]
        assert min(b - a for a, b in zip(at, at[1:], strict=False)) >= 0.085


def test_direction_is_a_shape_and_an_open_verdict_is_hollow() -> None:
    row = Row("label", "label", SHORT, "reversed", "B", -2.0, -3.0, -1.0)
    svg = tracks.track(forest_of(row), row)
    assert tracks.PATHS["reversed"] in svg and "v-falls-short" in svg and "hollow" not in svg
    assert "hollow" in tracks.track(forest_of(row), row_at(-1, 0, 1))


def test_controls_stand_in_the_plot(content: Content) -> None:
    doubtful = next(paper for paper in content.papers if paper.key == "toy-doubtful")
    control = doubtful.forest.groups[-1]
    assert control.rows[0].control and control.verdict == SHORT and control.rows[0].n == 5
