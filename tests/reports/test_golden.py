"""The golden rows have the outcomes that their truth demands, and every outcome and direction occurs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.content import Content
from reports.judging.effects import Effect
from reports.judging.statistics import Interval
from reports.judging.verdicts import HOLDS, SHORT, UNCLEAR, UNTESTED, direction, limits, place
from tests.reports import golden

EXPECTED = {
    "sparse-over-dense": (HOLDS, "as claimed"),
    "tenfold-for-free": (SHORT, "reversed"),
    "halves-are-free": (HOLDS, "as claimed"),
    "sparse-over-bytes": (SHORT, "none"),
    "three-times-faster": (SHORT, "as claimed"),
    "faster-alone": (SHORT, "reversed"),
    "rank-is-no-slower": (UNCLEAR, "none"),
    "int8-is-free": (HOLDS, ""),
    "fewer-by-count": (HOLDS, "as claimed"),
    "ternary-is-fast": (UNTESTED, None),
    "gpu-kernels": (UNTESTED, None),
    "survives-heat": (UNCLEAR, "reversed"),
    "rank-is-free": (UNCLEAR, "reversed"),
    "rank-saves-a-thousandth": (HOLDS, "none"),
    "better": (HOLDS, "as claimed"),
    "two-points": (UNCLEAR, "as claimed"),
    "gradual-over-oneshot": (UNCLEAR, "as claimed"),
    "more-goodput": (HOLDS, "as claimed"),
    "mostly": (HOLDS, ""),
}


@pytest.mark.parametrize("claim", EXPECTED)
def test_outcome_and_direction(content: Content, claim: str) -> None:
    row = next(row for row in content.rows if row["claim"] == claim and row["check"] == 0)
    assert (row["claim_verdict"], row.get("direction")) == EXPECTED[claim]


def test_every_outcome_and_direction_occurs(content: Content) -> None:
    assert {row["claim"] for row in content.rows} == set(EXPECTED)
    assert {row["claim_verdict"] for row in content.rows} == {HOLDS, SHORT, UNCLEAR, UNTESTED}
    told = {
        verdict: {row["direction"] for row in content.rows if row["verdict"] == verdict}
        for verdict in (HOLDS, SHORT, UNCLEAR, UNTESTED)
    }
    assert told[SHORT] >= {"as claimed", "none", "reversed"} <= told[UNCLEAR]
    assert told[HOLDS] >= {"as claimed", "none"} and "reversed" not in told[HOLDS]
    assert told[UNTESTED] == {None}  # no number, no direction


@given(
    st.sampled_from(["above", "below"]),
    st.sampled_from(["difference", "ratio"]),
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.floats(0, 0.5),
)
def test_what_holds_is_never_reversed(
    sense: str, scale: str, line: float, effect: float, band: float
) -> None:
    """The one pair of outcome and direction that no golden row can have."""
    if scale == "ratio":
        line, effect = math.exp(line), math.exp(effect)
    found = Effect(Interval(effect, effect, effect, 5), scale, "counted", band)
    check = {sense: line}
    if place(effect, effect, *limits(check, scale, band)) == HOLDS:
        assert direction(check, found) != "reversed"


def test_a_failed_control_makes_a_clear_check_unclear(content: Content) -> None:
    row = next(row for row in content.rows if row["claim"] == "gradual-over-oneshot")
    assert row["verdict"] == HOLDS and row["claim_verdict"] == UNCLEAR and "control" in row["reason"]


def test_estimates_lie_near_the_truth(content: Content) -> None:
    truth = {golden.IMAGES[name].arm: golden.IMAGES[name] for name in golden.IMAGES}
    section = content.sections[0]
    seen = 0
    for arm in section.arms:
        known = truth[arm.id]
        if known.status == "ok" and arm.change is not None:
            assert arm.change.interval.effect == pytest.approx(known.accuracy, abs=0.012)
            seen += 1
        for form_ratio in [arm.times.get("latency_s@batch64")]:
            if form_ratio and form_ratio.ratio:
                fastest = min(known.times["batch64"].values())
                assert np.log(form_ratio.ratio.interval.effect) == pytest.approx(np.log(fastest), abs=0.02)
    assert seen >= 11


def test_rows_are_made_twice_alike() -> None:
    assert golden.rows().equals(golden.rows())
