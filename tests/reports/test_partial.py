"""A report of what exists: after Ctrl-C any cells and visits may be missing, and the page must say so, not fail."""

from __future__ import annotations

import random

import pytest

from reports.content import Content
from reports.judging.table import Table
from reports.typesetting import latex
from reports.wording.sentences import plain


@pytest.mark.parametrize("trial", range(12))
def test_a_report_of_any_part_is_made(content: Content, trial: int) -> None:
    rng, rows = random.Random(trial), content.table.rows
    share = rng.choice([0.1, 0.4, 0.8, 0.95])
    kept = {arm for arm in sorted(rows["arm"].unique()) if rng.random() < share}
    part = rows[rows["arm"].isin(kept)].reset_index(drop=True)
    found = Content(Table(part, content.table.scope))
    for paper in found.papers:
        for claim in paper.claims:
            assert plain(claim.sentence).endswith(".")
    assert found.grids and found.tasks is not None and found.findings is not None
    assert "\\end{document}" in latex.report(found, [])


def test_a_check_without_numbers_beside_one_that_fell_short_says_so(content: Content) -> None:
    card = next(
        card for card in content.table.scope["cards"] for c in card["claims"] if c["id"] == "tenfold-for-free"
    )
    checks = next(c for c in card["claims"] if c["id"] == "tenfold-for-free")["checks"]
    second = checks[1]["metric"]
    rows = content.table.rows
    lost = rows[(rows["metric"] == second) & (rows["arm"] == checks[1]["of"])].index
    found = Content(Table(rows.drop(index=lost).reset_index(drop=True), content.table.scope))
    view = next(v for p in found.papers for v in p.claims if v.id == "tenfold-for-free")
    assert view.verdict == "falls short" and "was not tested" in plain(view.sentence)
