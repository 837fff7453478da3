"""Sentences: what was seen, asked and reported, in words that agree with the numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from reports.page import Content
from reports.sentences import plain, robust_phrase, settings_phrase, settle, sign_phrase, tally
from tests.reports.conftest import row_of


def sentence(content: Content, claim: str) -> str:
    return next(plain(view.sentence) for paper in content.papers for view in paper.claims if view.id == claim)


def check_of(content: Content, claim: str) -> dict[str, Any]:
    cards = content.table.scope["cards"]
    return next(c for card in cards for c in card["claims"] if c["id"] == claim)["checks"][0]


@pytest.mark.parametrize(
    ("claim", "parts"),
    [
        (
            "tenfold-for-free",
            ["At this scale", "loses 1.6 points", "(allowed: a loss of up to 0.5 points)", "has 0.100×"],
        ),
        ("tenfold-for-free", ["“up to 10x” (abstract): falls short here, reversed (grade B)"]),
        (
            "sparse-over-dense",
            ["gains 2.9 points", "asked: a gain of more than 0.5 points, one band from no difference"],
        ),
        (
            "three-times-faster",
            ["takes 0.535×", "batch64: 64 images; csr form; asked: below 0.333×", "“3.1x” (figure 4)"],
        ),
        ("better", ["On the paper's own model and data", "holds here (grade A)"]),
        ("sparse-over-bytes", ["A question of our own: at this scale"]),
        ("fewer-by-count", ["True by construction, so not scored"]),
        ("ternary-is-fast", ["Not tested here: time a call at batch64 of ternary: emulated", "“2x”"]),
        (
            "gpu-kernels",
            ["Not tested here: needs a GPU with sparse tensor cores, where the paper reports “1.6x”"],
        ),
        ("more-goodput", ["modelled; asked: above 1.2×"]),
        ("mostly", ["the share of draws of goodput is 81% [77, 85]", "asked: above 50%"]),
        (
            "gradual-over-oneshot",
            ["unclear here (grade B), since the positive control (accuracy) has not come out"],
        ),
    ],
)
def test_golden_sentences(content: Content, claim: str, parts: list[str]) -> None:
    for part in parts:
        assert part in sentence(content, claim)


def test_grades_b_and_c_begin_at_this_scale(content: Content) -> None:
    for paper in content.papers:
        for view in paper.claims:
            said = plain(view.sentence)
            assert ("t this scale" in said) == (paper.card["grade"] in "BC" and view.verdict != "not tested")
            assert "refuted" not in said.lower()


def test_a_metric_of_which_less_is_better_rises_and_falls(content: Content) -> None:
    from reports.sentences import check_phrase

    check = {**check_of(content, "halves-are-free"), "metric": "nll", "below": 0.05}
    del check["above"]
    from reports.verdicts import judge_check

    said = plain(check_phrase(content.table, check, judge_check(content.table, check)))
    assert "raises nll by" in said and "(allowed: a rise of up to 0.05 nats)" in said


def test_signs_are_counted_by_replicate(content: Content) -> None:
    check, row = check_of(content, "three-times-faster"), row_of(content, "three-times-faster")
    assert sign_phrase(content.table, check, row) == "the same sign in 7 of 7 rounds"
    mixed = {**row, "replicates": [0.5, 0.6, 1.2], "n": 3}
    assert sign_phrase(content.table, check, mixed) == "the same sign in 2 of 3 rounds"
    exact = row_of(content, "tenfold-for-free", 1)
    assert sign_phrase(content.table, check_of(content, "fewer-by-count"), exact).startswith(
        "exact: the same number in all 5"
    )


def test_one_seed_is_said(content: Content) -> None:
    check, row = check_of(content, "sparse-over-dense"), row_of(content, "sparse-over-dense")
    assert "not other seeds" in sign_phrase(content.table, check, {**row, "replicates": [0.03], "n": 1})


def test_the_band_is_only_spoken_of_where_it_plays_a_part(content: Content) -> None:
    assert robust_phrase(check_of(content, "tenfold-for-free"), row_of(content, "tenfold-for-free")) == ""
    moved = robust_phrase(check_of(content, "sparse-over-bytes"), row_of(content, "sparse-over-bytes"))
    assert moved == "half or twice the band would change the verdict"


def test_settings_are_counted_where_a_side_is_the_best_of_several() -> None:
    assert settings_phrase({"of": {"best": ["a", "b", "c"], "by": ""}, "minus": "d"}).startswith(
        "settings tried: 3 against 1"
    )
    assert settings_phrase({"of": "a", "minus": "b"}) == ""


def test_what_would_settle_it_does(content: Content) -> None:
    """The number of seeds that is named is the least whose interval leaves the threshold alone."""
    check, row = check_of(content, "two-points"), row_of(content, "two-points")
    said = settle(content.table, check, row)
    n = int(said.split()[1])
    gap, spread = abs(row["effect"] - row["threshold"]), float(np.var(row["replicates"], ddof=1))
    error = (row["high"] - row["low"]) / 2 / stats.t.ppf(0.975, 4)
    rest = max(0.0, error**2 - spread / 5)
    half = lambda m: stats.t.ppf(0.975, m - 1) * math.sqrt(spread / m + rest)  # noqa: E731
    assert half(n) < gap <= half(n - 1)


def test_nothing_settles_what_is_clear(content: Content) -> None:
    assert settle(content.table, check_of(content, "better"), row_of(content, "better")) == ""


def test_test_items_that_set_the_width_are_named(content: Content) -> None:
    row = {**row_of(content, "two-points"), "replicates": [0.0148, 0.0149, 0.0147, 0.0148, 0.0148]}
    assert "test items" in settle(content.table, check_of(content, "two-points"), {**row, "effect": 0.0175})


def test_tally() -> None:
    claims = [{"verdict": "holds", "reversed": False}, {"verdict": "falls short", "reversed": True}]
    assert tally(claims) == "2 claims: 1 holds here, 1 falls short here (1 reversed), 0 unclear, 0 not tested"
