"""The data dictionary of docs/ as tables of the downloads page."""

from __future__ import annotations

from benchmarks.digests import ROOT
from reports.typesetting.grids import Cell, Grid, Head

SOURCE = ROOT / "docs" / "data-dictionary.md"


def grids() -> list[Grid]:
    """Its tables, each with the line before it as caption; none where docs/ was not installed."""
    if not SOURCE.is_file():
        return []
    found: list[Grid] = []
    caption = ""
    for line in SOURCE.read_text().splitlines():
        cells = [part.strip().replace("`", "") for part in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            caption = line.replace("`", "") or caption
        elif cells == ["column", "meaning"]:
            heads = [Head("column"), Head("meaning")]
            found.append(Grid(f"dictionary-{len(found)}", caption.rstrip("."), heads))
        elif found and not set(line) <= set("|- "):
            found[-1].rows.append([Cell(text) for text in cells])
    return found
