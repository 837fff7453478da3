"""The golden rows have the outcomes that their truth demands, and every outcome and direction occurs."""

from __future__ import annotations

import numpy as np
import pytest

from reports.page import Content
from reports.verdicts import HOLDS, SHORT, UNCLEAR, UNTESTED
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
    for verdict in (SHORT, UNCLEAR):
        told = {row["direction"] for row in content.rows if row["verdict"] == verdict}
        assert told >= {"as claimed", "none", "reversed"}


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
