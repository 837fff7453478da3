"""Write a report's folder whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.records import write_text
from reports import figures, forestplot, grids, latex, site
from reports.notation import slug
from reports.page import Content
from reports.svg import save
from reports.table import Table


def page(table: Path, scope: Mapping[str, Any], out: Path) -> None:
    """The folder of one scope: page, verdicts, tables, figures, report.tex, rows."""
    content = Content(Table.read(table, scope), digest=table.stem)
    whole(out.parent, lambda folder: build(content, table, folder))


def whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder beside, then put it in place: a reader sees the old one or the new one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        fresh.mkdir()
        fill(fresh)
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(fresh, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def build(content: Content, table: Path, folder: Path) -> None:
    """Everything of one scope."""
    shutil.copyfile(table, folder / "rows.parquet")
    content.verdicts.to_parquet(folder / "verdicts.parquet", index=False)
    _flat(content).to_csv(folder / "verdicts.csv", index=False)
    drawn = draw(content, folder / "figures")
    (folder / "tables").mkdir()
    for grid in content.grids:
        name = slug(grid.name)
        (folder / "tables" / f"{name}.md").write_text(grids.markdown(grid))
        (folder / "tables" / f"{name}.tex").write_text(latex.booktabs(grid))
    (folder / "report.tex").write_text(latex.report(content, list(drawn)))
    (folder / "summary.json").write_text(json.dumps(site.summary(content), indent=1, sort_keys=True) + "\n")
    files = ["rows.parquet", "verdicts.parquet", "verdicts.csv", "report.tex", "summary.json"]
    files += sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))
    (folder / "index.html").write_text(site.page(content, drawn, files))


def _flat(content: Content) -> Any:
    """Verdicts for CSV: lists as JSON, so that a line stays a line."""
    flat = content.verdicts.copy()
    flat["replicates"] = [
        json.dumps(value) if isinstance(value, list) else "" for value in flat["replicates"]
    ]
    return flat


def draw(content: Content, folder: Path) -> dict[str, str]:
    """All figures as files; those that the page shows come back as SVG."""
    drawn = {}
    for paper in content.papers:
        if paper.forest.drawn:
            drawn[paper.figure] = save(forestplot.figure(paper.forest), folder, paper.figure)
    for task in content.tasks:
        assert task.section.metric is not None or not task.fronts
        for name, front in zip(task.drawn, task.fronts, strict=True):
            drawn[name] = save(figures.front(front, task.section.metric or {}), folder, name)
    if content.realised:
        drawn["realised"] = save(figures.realised(content.realised), folder, "realised")
    if content.floors:
        drawn["noise"] = save(figures.noise(content.floors), folder, "noise")
    return drawn


def front(results: Path) -> None:
    """results/report/index.html."""
    write_text(results / "report" / "index.html", site.front(results))
