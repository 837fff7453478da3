# ruff: noqa: E501
"""Verdicts: every outcome, direction and reason, from rows whose truth is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.judging.effects import Effect
from reports.judging.statistics import Interval, exact, student
from reports.judging.verdicts import (
    COLUMNS,
    HOLDS,
    SHORT,
    UNCLEAR,
    UNTESTED,
    direction,
    judge,
    judge_check,
    limits,
    place,
    together,
)
from tests.reports.test_effects import cell, check, rounds, seeds, table

# -------------------------------------------------------------------- where an interval lies


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.011, 0.02, HOLDS),
        (0.01, 0.02, UNCLEAR),  # touching the line is not beyond it
        (-0.5, 0.5, UNCLEAR),
        (-0.02, 0.01, SHORT),
        (-0.02, -0.01, SHORT),
        (-math.inf, math.inf, UNCLEAR),
        (0.01, 0.01, SHORT),  # an exact number on the line has not passed it
        (0.02, 0.02, HOLDS),
    ],
)
def test_above_a_line(low: float, high: float, verdict: str) -> None:
    assert place(low, high, 0.01, math.inf) == verdict
    mirrored = place(-high, -low, -math.inf, -0.01)
    assert mirrored == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.2, HOLDS),
        (-0.1, 0.2, UNCLEAR),
        (0.1, 0.5, UNCLEAR),
        (0.4, 0.5, SHORT),
        (-0.4, -0.2, SHORT),
        (-1, 1, UNCLEAR),
    ],
)
def test_within_two_lines(low: float, high: float, verdict: str) -> None:
    assert place(low, high, 0.0, 0.3) == verdict


@given(*[st.floats(-1, 1)] * 4)
def test_a_verdict_never_turns_when_the_interval_shrinks(
    a: float, b: float, line: float, share: float
) -> None:
    low, high = sorted((a, b))
    middle = low + (high - low) * (share + 1) / 2
    if place(low, high, line, math.inf) != UNCLEAR:
        assert place(middle, middle, line, math.inf) == place(low, high, line, math.inf)


# -------------------------------------------------------------------- thresholds and bands


@pytest.mark.parametrize(
    ("said", "scale", "moved"),
    [
        ({"above": 0.0}, "difference", (0.005, math.inf)),
        ({"below": 0.0}, "difference", (-math.inf, -0.005)),
        ({"above": 1.0}, "ratio", (1.005, math.inf)),
        ({"below": 1.0}, "ratio", (-math.inf, 0.995)),
        ({"above": 0.01}, "difference", (0.01, math.inf)),  # a line of the paper's own stays
        ({"above": -0.02}, "difference", (-0.02, math.inf)),
        ({"below": 0.5}, "ratio", (-math.inf, 0.5)),
        ({"above": 0.0}, "value", (0.0, math.inf)),
        ({"above": 1.0}, "difference", (1.0, math.inf)),
        ({"above": 0.0}, "ratio", (0.0, math.inf)),
        ({"within": [0.9, 1.1]}, "ratio", (0.9, 1.1)),
    ],
)
def test_a_line_of_no_effect_is_moved_out_by_the_band(
    said: Any, scale: str, moved: tuple[float, float]
) -> None:
    assert limits(said, scale, 0.005) == pytest.approx(moved)
    if moved != limits(said, scale, 0.0):
        assert limits(said, scale, 0.005, factor=2.0) != pytest.approx(moved)


def effect(value: float, scale: str = "difference", band: float = 0.005) -> Effect:
    return Effect(Interval(value, value - 1, value + 1, 5), scale, "counted", band)


@pytest.mark.parametrize(
    ("said", "value", "scale", "expected"),
    [
        ({"above": 0.0}, 0.02, "difference", "as claimed"),
        ({"above": 0.0}, 0.004, "difference", "none"),
        ({"above": 0.0}, -0.004, "difference", "none"),
        ({"above": 0.0}, -0.02, "difference", "reversed"),
        ({"below": 0.0}, -0.02, "difference", "as claimed"),
        ({"below": 0.0}, 0.02, "difference", "reversed"),
        ({"above": 0.01}, 0.007, "difference", "as claimed"),  # short of the line, yet on the claimed side
        ({"below": 0.5}, 0.8, "ratio", "as claimed"),
        ({"below": 0.5}, 0.998, "ratio", "none"),
        ({"below": 0.5}, 1.3, "ratio", "reversed"),
        ({"above": 1.0}, 0.7, "ratio", "reversed"),
        ({"above": -0.02}, -0.01, "difference", "as claimed"),  # not worse by more than
        ({"above": -0.02}, -0.001, "difference", "as claimed"),
        ({"above": -0.02}, -0.03, "difference", "reversed"),
        ({"below": 1.1}, 1.05, "ratio", "as claimed"),
        ({"below": 1.1}, 1.2, "ratio", "reversed"),
        ({"above": 0.3}, 0.9, "value", ""),
        ({"within": [0, 1]}, 0.9, "difference", ""),
    ],
)
def test_directions(said: Any, value: float, scale: str, expected: str) -> None:
    assert direction(said, effect(value, scale)) == expected


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ([HOLDS], HOLDS),
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, SHORT], SHORT),
        ([UNCLEAR, SHORT], SHORT),
        ([HOLDS, UNCLEAR], UNCLEAR),
        ([HOLDS, UNTESTED], UNTESTED),
        ([UNCLEAR, UNTESTED], UNTESTED),
    ],
)
def test_all_checks_of_a_claim_must_hold(verdicts: list[str], whole: str) -> None:
    assert together(verdicts) == together(verdicts[::-1]) == whole


# -------------------------------------------------------------------- checks on rows


def about(level: float, spread: float = 0.002) -> list[float]:
    """Five seeds around a level."""
    return [level + spread * step for step in (-1.0, -0.5, 0.0, 0.5, 1.0)]


ROWS = table(
    seeds("base", *about(0.7), items=50),
    seeds("a", *about(0.75), items=50, cost={"nonzero": 10, "flops@batch1": None}, reasons={"flops@batch1": "no formula for fft"}),
    seeds("b", *about(0.7015), items=50),
    seeds("c", *about(0.69, 0.1)[::-1], items=50),
    seeds("d", 0.9, items=1),
    [row for seed in range(5) for row in cell("e", seed, status="diverged")],
    [row for seed in range(5) for row in cell("f", seed, status="oom", reason="needs more than 6 GB")],
    [row for seed in range(5) for row in cell("base", seed, cost={"nonzero": 100})],
    rounds("a", [0.8] * 6),
    rounds("base", [1.0] * 6),
)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "verdict", "direction", "threshold"),
    [
        (check(of="a", minus="base", above=0.0), HOLDS, "as claimed", 0.005),
        (check(of="a", minus="base", above=0.1), SHORT, "as claimed", 0.1),
        (check(of="a", minus="base", below=0.0), SHORT, "reversed", -0.005),
        (check(of="b", minus="base", above=0.0), SHORT, "none", 0.005),  # inside the band: nobody should care
        (check(of="b", minus="base", above=-0.01), HOLDS, "as claimed", -0.01),
        (check(of="c", minus="base", above=0.0), UNCLEAR, "reversed", 0.005),
        (check(of="c", minus="base", below=0.0), UNCLEAR, "as claimed", -0.005),
        (check(of="e", minus="base", above=-0.02), SHORT, "reversed", -0.02),  # diverged is chance
        (check(of="a", minus="e", above=0.5), HOLDS, "as claimed", 0.5),
        (check("nonzero", of="a", over="base", below=0.11), HOLDS, "as claimed", 0.11),
        (check("nonzero", of="a", over="base", below=0.1), SHORT, "as claimed", 0.1),
        (check("latency_s@batch1", of="a", over="base", below=1.0), HOLDS, "as claimed", 0.98),
        (check("latency_s@batch1", of="a", over="base", within=[0.7, 0.9]), HOLDS, "", 0.9),
        (check(of="a", above=0.5), HOLDS, "", 0.5),
    ],
)
def test_a_check(said: Any, verdict: str, direction: str, threshold: float) -> None:
    found = judge_check(ROWS, said)
    assert (found["verdict"], found["direction"], found["threshold"]) == (
        verdict,
        direction,
        pytest.approx(threshold),
    )
    assert found["low"] <= found["effect"] <= found["high"] and found["reason"] == ""
    assert 0.0 <= found["p"] <= 1.0
    if verdict == HOLDS:
        assert found["p"] <= 0.0251  # an interval beyond the line and a small p go together
    assert set(found) <= set(COLUMNS)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (check(of="f", minus="base", above=0.0), "oom: needs more than 6 GB"),
        (check(of="nosuch", minus="base", above=0.0), "its cells have not been run in this scope"),
        (check("flops@batch1", of="a", over="base", below=1.0), "flops@batch1 is null: no formula for fft"),
        (check("latency_s@batch1", of="b", over="base", below=1.0), "b has no latency_s@batch1"),
        (check("energy_j@batch1", of="a", over="base", below=1.0), "a has no energy_j@batch1"),
        (check(effect="nosuch", of="a", above=0.0), "there is no effect 'nosuch'"),
    ],
)
def test_a_number_that_is_missing_is_not_tested_and_says_why(said: Any, reason: str) -> None:
    found = judge_check(ROWS, said)
    assert found["verdict"] == UNTESTED and found["reason"].startswith(reason)
    assert "effect" not in found  # nothing is shown where nothing was seen


def test_a_single_seed_and_round_decide_nothing() -> None:
    rows = table(rounds("a", [0.1]), rounds("base", [1.0]))
    found = judge_check(rows, check("latency_s@batch1", of="a", over="base", below=1.0))
    assert (found["verdict"], found["reason"], found["p"]) == (
        UNCLEAR,
        "a single replicate has no interval",
        1.0,
    )


def test_robust_means_half_and_twice_the_band_agree() -> None:
    clear = judge_check(ROWS, check(of="a", minus="base", above=0.0))
    rows = table(seeds("a", *about(0.708, 0.0), items=50), seeds("base", *about(0.7, 0.0), items=50))
    close = judge_check(rows, check(of="a", minus="base", above=0.0))  # 0.008: beyond 0.005, not beyond 0.01
    assert clear["robust"] and close["verdict"] == HOLDS and not close["robust"]


def test_best_is_named_with_the_number_of_its_settings() -> None:
    rows = table(
        seeds("a", 0.5, valid={"accuracy": 0.5}), seeds("b", 0.6, valid={"accuracy": 0.4}), seeds("base", 0.4)
    )
    said = check(of={"best": ["a", "b"], "by": ""}, minus="base", above=0.0)
    found = judge_check(rows, said)
    assert found["of"] == "a, b (best of 2 on validation data)" and found["other"] == "base"


# -------------------------------------------------------------------- cards


def card(*claims: dict[str, Any], controls: Any = None, grade: str = "B") -> dict[str, Any]:
    return {
        "key": "paper",
        "family": "pruning",
        "grade": grade,
        "controls": controls or {},
        "claims": list(claims),
    }


def claim(id: str, *checks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": id, "says": f"says {id}", **({"checks": list(checks)} if checks else {}), **more}


GOOD, BAD = check(of="a", minus="base", above=0.0), check(of="a", minus="base", below=0.0)
OPEN, LOST = check(of="c", minus="base", above=0.0), check(of="f", minus="base", above=0.0)


def verdicts(*claims: dict[str, Any], **how: Any) -> Any:
    rows = table()
    rows.rows, rows.scope = ROWS.rows, {**ROWS.scope, "cards": [card(*claims, **how)]}
    return judge(rows)


def test_one_row_a_check_with_the_claims_verdict() -> None:
    found = verdicts(
        claim("both", GOOD, BAD),
        claim("one", GOOD, own=True, reported={"value": 3}),
        claim("none", not_tested="no GPU"),
    )
    assert list(found.columns) == list(COLUMNS)
    assert found[["claim", "check", "verdict", "claim_verdict"]].values.tolist() == [
        ["both", 0, HOLDS, SHORT],
        ["both", 1, SHORT, SHORT],
        ["one", 0, HOLDS, HOLDS],
        ["none", 0, UNTESTED, UNTESTED],
    ]
    assert found["grade"].tolist() == ["B"] * 4 and found["paper"].tolist() == ["paper"] * 4
    one, none = found.iloc[2], found.iloc[3]
    assert bool(one["own"]) and one["reported"] == "3" and one["says"] == "says one"
    assert none["reason"] == "no GPU" and math.isnan(none["effect"])


@pytest.mark.parametrize("sign", ["positive", "negative"])
@pytest.mark.parametrize("control", [BAD, OPEN, LOST], ids=["short", "unclear", "missing"])
def test_a_control_that_has_not_come_out_leaves_all_unclear(sign: str, control: Any) -> None:
    claims = (claim("good", GOOD), claim("bad", BAD), claim("lost", LOST), claim("none", not_tested="no GPU"))
    found = verdicts(*claims, controls={sign: [GOOD, control]})
    assert found["claim_verdict"].tolist() == [UNCLEAR, UNCLEAR, UNTESTED, UNTESTED]
    assert f"the {sign} control (accuracy) has not come out" in found["reason"].iloc[0]
    assert found["verdict"].tolist()[:2] == [HOLDS, SHORT]  # what the numbers say is still shown


def test_controls_that_came_out_change_nothing() -> None:
    found = verdicts(
        claim("good", GOOD), claim("bad", BAD), controls={"positive": [GOOD], "negative": [GOOD]}
    )
    assert found["claim_verdict"].tolist() == [HOLDS, SHORT] and found["reason"].tolist() == ["", ""]


def test_verdicts_are_computed_and_never_typed() -> None:
    """Whatever a card says of its verdict, the rows decide; and the same rows give the same verdicts."""
    typed = verdicts(claim("bad", BAD, verdict=HOLDS, claim_verdict=HOLDS))
    assert typed["claim_verdict"].tolist() == [SHORT]
    assert verdicts(claim("bad", BAD)).equals(verdicts(claim("bad", BAD)))


def test_no_cards_no_verdicts() -> None:
    assert list(judge(table()).columns) == list(COLUMNS) and len(judge(table())) == 0


@pytest.mark.parametrize("truth", [-0.02, 0.0, 0.02])
def test_verdicts_are_wrong_as_seldom_as_promised(truth: float) -> None:
    """400 simulated checks `above: 0` with a band of 0.005: false `holds` stay below 2.5 %, true ones are found."""
    rng, counts = np.random.default_rng(8), {HOLDS: 0, SHORT: 0, UNCLEAR: 0}
    for _ in range(400):
        found = Effect(student(truth + 0.006 * rng.normal(size=5)), "difference", "counted", 0.005)
        counts[
            place(found.interval.low, found.interval.high, *limits({"above": 0.0}, found.scale, found.band))
        ] += 1
    if truth <= 0.0:
        assert counts[HOLDS] <= 10
    else:
        assert counts[HOLDS] > 300 and counts[SHORT] == 0


def test_exact_numbers_are_certain() -> None:
    interval = exact([0.09] * 5)
    assert place(interval.low, interval.high, -math.inf, 0.11) == HOLDS


def test_a_setting_is_told_where_the_card_has_several() -> None:
    """Settings of a task that other cards run are no business of this one."""
    rows = table(seeds("a", 0.5), seeds("b", 0.5), seeds("c", 0.5))
    (task,) = rows._settings
    rows._settings[task] = {
        name: {"width": width, "depth": 2} for name, width in (("x", 8), ("y", 16), ("z", 16))
    }
    runs = {name: {"task_id": name, "task": task} for name in "xyz"}
    assert rows.setting(task, "x") == rows.setting(task, "x", {"runs": [runs["x"], runs["y"]]}) == "width=8"
    assert rows.setting(task, "x", {"runs": [runs["x"]]}) == ""
    assert rows.setting(task, "y", {"runs": [runs["y"], runs["z"]]}) == ""
    other = {"task_id": "o", "task": "another"}
    assert rows.setting(task, "x", {"runs": [runs["x"], other]}) == task
    assert rows.setting(task, "x", {"runs": [runs["x"], runs["y"], other]}) == f"{task}, width=8"
