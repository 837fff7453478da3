"""Golden content, judged once for all tests of a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports.content import Content
from reports.judging.table import Table
from tests.reports import golden, golden_scope


@pytest.fixture(scope="session")
def content() -> Content:
    """The golden scope as a page would say it."""
    return Content(Table(golden.rows(), golden_scope.scope()), "all-golden")


@pytest.fixture(scope="session")
def nasty() -> Content:
    """The same with hostile text wherever an author can write."""
    scope = golden_scope.scope(nasty=True)
    scope["cards"] = [scope["cards"][0], scope["cards"][-1]]
    return Content(Table(golden.rows(nasty=True), scope), "all-nasty")


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory, content: Content, nasty: Content) -> dict[str, Path]:
    """The folders of both, as the command writes them."""
    from reports import write

    root = tmp_path_factory.mktemp("results")
    found = {}
    for name, what in (("golden", content), ("nasty", nasty)):
        table = root / f"all-{name}.parquet"
        what.table.rows.to_parquet(table, index=False)
        found[name] = root / "report" / name / "all"
        write.whole(found[name], lambda folder, what=what, table=table: write.build(what, table, folder))
    write.front(root)
    found["front"] = root / "report"
    return found


def row_of(content: Content, claim: str, check: int = 0) -> dict[str, Any]:
    """The verdict row of a golden claim."""
    return next(row for row in content.rows if row["claim"] == claim and row["check"] == check)
