"""Scoreboard, chance, findings, footprint, noise and failures against hand-counted numbers."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from reports.content import Content
from reports.judging import scoreboard
from reports.judging.measuring import Realised, failures, flags, floors, nulls, realised
from reports.judging.statistics import Interval
from reports.judging.verdicts import HOLDS, UNCLEAR
from reports.wording.findings import _promise
from reports.wording.sentences import plain
from tests.reports import golden


def claim(verdict: str, grade: str = "B", p: float | None = 0.001, **more: bool) -> scoreboard.Claim:
    common = {"reversed": False, "own": False, "scored": True, "exact": False, **more}
    return scoreboard.Claim("paper", "family", f"c{p}", "says", grade, verdict, p=p, **common)


def test_the_golden_matrix(content: Content) -> None:
    lines = dict(scoreboard.matrix(content.claims))
    assert lines["holds"] == [1, 4, 2, 7]
    assert lines["falls short"] == [0, 4, 0, 4]
    assert lines["of which reversed"] == [0, 2, 0, 2]
    assert lines["unclear"] == [1, 4, 0, 5]
    assert lines["not tested"] == [0, 2, 0, 2]


def test_what_is_true_by_construction_is_not_scored(content: Content) -> None:
    built = [claim for claim in content.claims if not claim.scored]
    assert [claim.id for claim in built] == ["fewer-by-count"]
    assert content.tally.startswith("8 claims of papers: 4 hold here, ")
    assert "; 10 questions of our own: 3 hold here, " in content.tally
    assert sum(row[-1].sort for row in content.scoreboard.rows if not row[0].text.startswith("–")) == 8
    assert content.own_board is not None
    assert sum(row[-1].sort for row in content.own_board.rows if not row[0].text.startswith("–")) == 10
    assert "1 more is true by construction" in content.scoreboard.notes[-1]


def test_expected_by_chance_and_the_correction() -> None:
    claims = [
        claim(HOLDS, p=0.02),
        claim(HOLDS, p=0.001),
        *[claim(UNCLEAR, p=0.5 + 0.01 * k) for k in range(8)],
    ]
    (found,) = scoreboard.chance(claims)
    assert found.tested == 10 and found.expected == pytest.approx(0.25)
    assert found.holds == 2 and found.kept == 2  # 0.001 <= 0.01 and 0.02 <= 0.02
    claims[0] = claim(HOLDS, p=0.0201)
    (found,) = scoreboard.chance(claims)
    assert found.kept == 1 and found.lost == ("paper: c0.0201",)


def test_the_correction_is_scipys_within_each_family() -> None:
    """Two families of random p values: what is kept is what scipy's adjusted p values keep, a family at a time."""
    rng = np.random.default_rng(0)
    values = {family: rng.uniform(0, 0.7, 12) ** 2 for family in ("one", "two")}
    claims = [
        replace(claim(HOLDS, p=float(p)), family=family, id=f"{family}{at}")
        for family, found in values.items()
        for at, p in enumerate(found)
    ]
    for found in scoreboard.chance(claims):
        adjusted = stats.false_discovery_control(values[found.family])
        assert found.kept == (adjusted <= 0.10).sum() and 0 < found.kept < 12
        assert found.expected == pytest.approx(12 * 0.025)


def test_false_holds_by_chance_are_as_many_as_are_told() -> None:
    """2,000 simulated claims whose effects lie exactly at their thresholds: 2.5 % hold, hardly any is kept."""
    rng = np.random.default_rng(1)
    made = rng.normal(size=(2000, 5))
    t = made.mean(1) / made.std(1, ddof=1) * np.sqrt(5)
    p = stats.t.sf(t, 4)
    claims = [
        replace(claim(HOLDS if v < 0.025 else UNCLEAR, p=float(v)), id=str(at)) for at, v in enumerate(p)
    ]
    (found,) = scoreboard.chance(claims)
    assert found.expected == pytest.approx(50) and 35 <= found.holds <= 67 and found.kept <= 2


def test_a_claim_whose_control_failed_helps_no_other() -> None:
    """Its p value is small, its verdict unclear: in the correction it counts as 1."""
    row = {
        "paper": "p", "family": "f", "claim": "c", "says": "s", "grade": "B", "claim_verdict": UNCLEAR, "own": False,
        "by_construction": False, "effect": 0.1, "low": 0.0, "high": 0.2, "direction": "as claimed", "p": 1e-6,
    }  # fmt: skip
    assert scoreboard.claims_of([row])[0].p == 1.0
    assert scoreboard.claims_of([{**row, "claim_verdict": HOLDS}])[0].p == 1e-6
    assert scoreboard.claims_of([{**row, "p": 0.3}])[0].p == 0.3
    assert scoreboard.claims_of([{**row, "p": float("nan")}])[0].p is None


def test_exact_claims_are_left_out_of_chance() -> None:
    assert scoreboard.chance([claim(HOLDS, p=0.0, exact=True)]) == []


def test_a_claim_of_two_checks_has_the_larger_p(content: Content) -> None:
    found = next(claim for claim in content.claims if claim.id == "tenfold-for-free")
    rows = [row for row in content.rows if row["claim"] == "tenfold-for-free"]
    assert found.p == max(row["p"] for row in rows) > 0.9


def test_an_operator_on_random_matrices_is_no_promise(content: Content) -> None:
    """Nobody trained it, so nobody knows what its error would cost."""
    section = next(one for one in content.sections if realised([one]))
    table = copy.copy(section.table)
    table.scope = {**table.scope, "tasks": {section.task: {**section.entry, "trains": False}}}
    assert realised([replace(section, table=table)]) == []


def test_the_largest_promise_is_told_with_what_the_clock_sees() -> None:
    saving = Interval(18.0, 17.0, 19.0, 5, 4.0)
    model = Realised("model", "task", "pruning", "batch64", 10.0, "nonzero", saving, "")
    (found,) = _promise([model, replace(model, label="other", nominal=5.0)])
    assert plain(found.sentence).startswith("model has 10")


def test_findings_come_from_rows_with_intervals(content: Content) -> None:
    told = [plain(finding.sentence) for finding in content.findings]
    assert len(told) == 3
    assert "holds here (grade B)" in told[0] and "[2.3, 3.4]" in told[0]
    assert "falls short here" in told[1] and "[0.529, 0.541]" in told[1]
    assert "50× fewer non-zero weights" in told[2] and "7 % of what the count promises" in told[2]


def test_one_seed_gives_no_finding() -> None:
    from reports.judging.table import Table
    from tests.reports import golden_scope

    rows = golden.rows()
    first = rows[
        (rows["seed"] == 0) & (rows["round"].isna() | (rows["round"] == 0)) & (rows["task"] == "toy_images")
    ]
    scope = golden_scope.scope()
    scope["cards"] = scope["cards"][:3]
    assert Content(Table(first, scope)).findings == []


def test_footprint(content: Content) -> None:
    foot = content.footprint
    assert foot.cells == 78 and foot.cpu_s == pytest.approx(78 * 3.0)
    assert foot.kwh[1] == pytest.approx(234 * 15 / 3.6e6)
    assert foot.grams is not None and foot.intensity is not None
    assert foot.grams[1] == pytest.approx(foot.kwh[1] * foot.intensity)
    assert foot.country == "France" and foot.year.isdigit() and "CodeCarbon" in foot.source
    assert foot.told.count("Modelled:") == 2 and foot.year in foot.told


def test_the_noise_floor(content: Content) -> None:
    found = {floor.workload: floor for floor in floors(content.table)}
    assert set(found) == {"batch1", "batch64"}
    assert all(
        len(floor.logs) == golden.ROUNDS and floor.mean.low < 1 < floor.mean.high for floor in found.values()
    )
    assert all(floor.spread == pytest.approx(0.008, abs=0.005) for floor in found.values())


def test_flags_failures_and_nulls(content: Content) -> None:
    assert [(flag, count) for flag, count, _ in flags(content.table)] == [("neighbour", 12)]
    found = {failure.label: failure for failure in failures(content.table)}
    assert found["baseline(lr_factor=30.0)"].count == "seeds 1, 4"
    assert found["peer_quant"].status == "skipped" and "peerquant" in found["peer_quant"].reason
    assert {null.reason for null in nulls(content.table)} == {"emulated", "no formula for aten::ternary_mm"}


def test_realised_savings_by_hand(content: Content) -> None:
    found = {point.label: point for point in content.realised}
    sparse = found["gradual(sparsity=0.98)"]
    assert sparse.by == "nonzero" and sparse.nominal == pytest.approx(50, rel=0.01)
    assert sparse.saving.effect == pytest.approx(1 / 0.28, rel=0.02)
    assert sparse.saving.low < sparse.saving.effect < sparse.saving.high
    assert found["int8"].by == "stored_bytes" and found["int8"].nominal == pytest.approx(1 / 0.253, rel=0.01)
    small = next(point for label, point in found.items() if label.endswith("match=params)"))
    assert small.by == "flops"
    assert "distilled" not in found and "ternary" not in found
