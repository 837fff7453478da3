"""The figure of stopping rules: what is drawn is what the card's checks say."""

from __future__ import annotations

from typing import Any

import pytest

from reports.drawing import protocols
from reports.drawing.protocols import AUTHORS, RULES, Mark, marks

ROWS = {
    "time-as-published": {"effect": 0.7, "low": 0.6, "high": 0.8, "replicates": [0.65, 0.75], "verdict": "holds"},
    "time-one-rule": {"effect": 2.0, "low": 1.6, "high": 2.5, "replicates": [1.9, 2.1], "verdict": "falls short"},
    "time-matched-passes": {"effect": 1.0, "low": 1.0, "high": 1.0, "replicates": [1.0, 1.0], "verdict": "unclear"},
    "accuracy-as-published": {"effect": -0.012, "low": -0.02, "high": -0.004, "replicates": [], "verdict": ""},
    "accuracy-one-rule": {"verdict": "not tested", "reason": "no record"},
}  # fmt: skip


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(protocols, "judge_check", lambda table, check: ROWS[check["id"]])
    claims: list[dict[str, Any]] = [{"id": name, "checks": [{"id": name}]} for name in ROWS]
    return {
        "claims": [
            *claims,
            {"id": "energy-one-rule", "not_tested": "no sensor"},
            {"id": "other", "checks": [{}]},
        ]
    }


def test_marks_are_the_checks_with_a_number(card):
    found = marks(None, card)  # type: ignore[arg-type]
    assert [(mark.column, mark.rule) for mark in found] == [
        ("time", "as-published"), ("time", "one-rule"), ("time", "matched-passes"), ("accuracy", "as-published"),
    ]  # fmt: skip
    assert found[0] == Mark("time", "as-published", 0.7, 0.6, 0.8, (0.65, 0.75), "holds")
    assert found[2].replicates == ()  # equal to the last digit: no interval, no dots
    assert found[3].value == pytest.approx(-1.2) and found[3].low == pytest.approx(-2.0)  # in points


def test_a_figure_has_a_column_for_what_was_measured(card):
    drawn = protocols.figure(marks(None, card))  # type: ignore[arg-type]
    assert [axes.get_xlabel() for axes in drawn.axes] == [
        "time to train, MF / BP",
        "accuracy, MF − BP, points",
    ]
    told = [label.get_text().split("\n")[0] for label in drawn.axes[0].get_yticklabels()]
    assert told == ["as published", "one rule for all", "matched passes"]
    texts = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert texts == ["0.70×", "2.00×", "1.00×", "−1.2"]
    low, high = drawn.axes[0].get_xlim()
    assert low < 0.6 and high > max(2.5, AUTHORS["time", "one-rule"])


def test_a_turn_needs_two_rules_and_tells_its_numbers(card):
    told = protocols.turn(None, card)  # type: ignore[arg-type]
    assert told is not None and told.summary.count(";") == 3
    assert "time to train, MF / BP, one rule for all: 2.00× (1.60× to 2.50×), falls short" in told.summary
    card["claims"] = card["claims"][:1]
    assert protocols.turn(None, card) is None  # type: ignore[arg-type]


def test_nothing_measured_draws_nothing():
    assert marks(None, {"claims": []}) == [] and protocols.figure([]) is None  # type: ignore[arg-type]


def test_every_rule_has_its_claims_in_the_card():
    """The committed card has time and accuracy under each rule; energy is told as one claim that was not tested."""
    from pathlib import Path

    import yaml

    text = (Path(__file__).parents[2] / "benchmarks" / "papers" / "stopping-rules.yaml").read_text()
    ids = {claim["id"] for claim in yaml.safe_load(text)["claims"]}
    assert {f"{what}-{rule}" for what in ("time", "accuracy") for rule, *_ in RULES} <= ids
