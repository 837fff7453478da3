"""Write a report's folder whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.records import write_text
from reports import draw as drawing
from reports.content import Content
from reports.judging.table import Table
from reports.notation import slug
from reports.site import beside, dictionary
from reports.site import pages as site
from reports.site.scopesite import ScopeSite
from reports.typesetting import grids, latex


def page(table: Path, scope: Mapping[str, Any], out: Path) -> None:
    """The folder of one scope: site, verdicts, tables, figures, report.tex, rows."""
    content = Content(Table.read(table, scope), digest=table.stem)
    whole(out.parent, lambda folder: build(content, table, folder, out.parent))


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


def build(content: Content, table: Path, folder: Path, out: Path | None = None) -> None:
    """Everything of one scope; `out` is the folder whose place it will take, from which figures are taken over."""
    shutil.copyfile(table, folder / "rows.parquet")
    content.verdicts.to_parquet(folder / "verdicts.parquet", index=False)
    _flat(content).to_csv(folder / "verdicts.csv", index=False)
    _rows(content, folder / "rows.csv")
    drawn = drawing.draw(drawing.jobs(content), folder / "figures", out / "figures" if out else None)
    (folder / "tables").mkdir()
    for grid in content.grids:
        name = slug(grid.name)
        (folder / "tables" / f"{name}.md").write_text(grids.markdown(grid))
        (folder / "tables" / f"{name}.tex").write_text(latex.booktabs(grid))
    (folder / "report.tex").write_text(latex.report(content, list(drawn)))
    (folder / "summary.json").write_text(json.dumps(site.summary(content), indent=1, sort_keys=True) + "\n")
    if dictionary.SOURCE.is_file():
        shutil.copyfile(dictionary.SOURCE, folder / dictionary.SOURCE.name)
    machines = beside.others(content, out) if out else []
    ScopeSite(content, drawn, machines, _files(folder)).write(folder)


@dataclass(frozen=True)
class File:
    """A file to download: its path, and the name that it shares with its other kinds."""

    path: str

    @property
    def stem(self) -> str:
        """Its name without the kind."""
        return Path(self.path).stem if "/" in self.path else self.path

    @property
    def kind(self) -> str:
        """`PDF`, `SVG`, `LaTeX`, `Markdown`."""
        suffix = Path(self.path).suffix[1:]
        return {"tex": "LaTeX", "md": "Markdown"}.get(suffix, suffix.upper())


def _files(folder: Path) -> list[tuple[str, str, list[File]]]:
    """What can be downloaded: (title, what it is, files)."""
    data = [
        "rows.parquet",
        "rows.csv",
        "verdicts.parquet",
        "verdicts.csv",
        "summary.json",
        "data-dictionary.md",
    ]
    wide = "One row a number, and one row a check. The CSV of the rows is without the packed scores per test item."
    found = []
    for title, says, patterns in (
        ("Data", wide, data),
        ("Report as LaTeX", "Compiles with latexmk; its tables and figures lie beside it.", ["report.tex"]),
        ("Figures", "At the width of a column or of a page.", ["figures/*.pdf", "figures/*.svg"]),
        (
            "Tables",
            "As they stand in a paper: LaTeX with booktabs, and Markdown.",
            ["tables/*.tex", "tables/*.md"],
        ),
    ):
        paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
        names = [File(path.relative_to(folder).as_posix()) for path in paths]
        found += [(title, says, names)] if names else []
    return found


def _rows(content: Content, path: Path) -> None:
    """Rows for spreadsheets, without what they cannot show; arrow writes a million of them in seconds."""
    import pyarrow as pa
    from pyarrow import csv

    slim = content.table.rows.drop(columns=["items", "env"])
    csv.write_csv(pa.Table.from_pandas(slim, preserve_index=False), path)


def _flat(content: Content) -> Any:
    """Verdicts for CSV: lists as JSON, so that a line stays a line."""
    flat = content.verdicts.copy()
    flat["replicates"] = [
        json.dumps(value) if isinstance(value, list) else "" for value in flat["replicates"]
    ]
    return flat


def front(results: Path) -> None:
    """results/report/index.html."""
    write_text(results / "report" / "index.html", site.front(results))
