"""The records of one arm as tables: what was trained with each seed, every number, every visit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from reports.judging.effects import TIMED
from reports.judging.table import Table
from reports.notation import TIMES, absolute, place, significant, stem
from reports.typesetting.grids import DASH, Cell, Grid, Head

Line = dict[str, Any]
#: Columns of the table that a view needs.
USED = (
    "kind", "arm", "seed", "record", "status", "reason", "metric", "basis", "value", "n", "workload", "form", "round",
    "log_ratio", "clock", "flags", "cpu_s",
)  # fmt: skip
#: Rows of visits on one page; the rest stands in rows.parquet, and the page says so.
MOST_VISITS = 400


@dataclass
class RecordView:
    """One arm with its records.

    Attributes:
        knobs: (name, value, arm that the value is), with all defaults.
        records: cell records, one a seed; `stale` are those that today's code would make anew.
    """

    arm: str
    known: Mapping[str, Any]
    knobs: list[tuple[str, str, str]]
    records: list[str]
    stale: set[str]
    grids: list[Grid] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Method with its knobs."""
        return str(self.known["label"])


def record_views(table: Table) -> list[RecordView]:
    """A view for every arm of the table."""
    stale = set((table.scope.get("reference") or {}).get("stale") or ())
    parts: dict[str, dict[str, list[Line]]] = {}
    for line in _lines(table.rows[list(USED)]):
        parts.setdefault(str(line["arm"]), {"cell": [], "visit": []})[line["kind"]].append(line)
    by_knobs = {(known["method"], json.dumps(known["knobs"], sort_keys=True)): arm
                for arm, known in table.arms.items()}  # fmt: skip
    return [_view(table, arm, parts[arm], stale, by_knobs) for arm in map(str, table.arms)]


def _lines(rows: pd.DataFrame) -> list[Line]:
    """Rows as mappings with None for what is not there; pandas itself is slow a group at a time."""
    columns = {str(name): rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in rows}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _view(
    table: Table, arm: str, part: Mapping[str, list[Line]], stale: set[str], by_knobs: Mapping[Any, str]
) -> RecordView:
    known = table.arms[arm]
    cells = sorted(part["cell"], key=lambda line: line["seed"] or 0)
    records = list(dict.fromkeys(str(line["record"]) for line in cells if line["record"]))
    view = RecordView(arm, known, _knobs(table, known, by_knobs), records, stale & set(records))
    view.grids = [_records(cells, view.stale), _numbers(table, known, cells), _visits(part["visit"])]
    return view


def _knobs(table: Table, known: Mapping[str, Any], by_knobs: Mapping[Any, str]) -> list[tuple[str, str, str]]:
    found = []
    for name, value in known["knobs"].items():
        if isinstance(value, Mapping) and "method" in value:
            other = by_knobs.get((value["method"], json.dumps(value["knobs"], sort_keys=True)), "")
            found.append((name, table.label(value["method"], value["knobs"]), other))
        else:
            found.append((name, "none" if value is None else str(value), ""))
    return found


def _records(cells: Sequence[Line], stale: set[str]) -> Grid:
    """One line a seed."""
    heads = [Head("seed"), Head("record"), Head("status"), Head("CPU time of training", True), Head("reason")]
    grid = Grid("records", "Cell records", heads)
    for row in cells:
        if row["metric"] != "status":
            continue
        old, spent = str(row["record"]) in stale, row["cpu_s"]
        grid.rows.append([
            Cell(str(row["seed"])), Cell(str(row["record"]) + (" (stale)" if old else "")),
            Cell(str(row["status"]), tone="" if row["status"] == "ok" else "bad"),
            DASH if spent is None else Cell(absolute("cpu_s", spent), spent), Cell(str(row["reason"] or "")),
        ])  # fmt: skip
    if stale:
        grid.notes = [
            "Stale: today's code would make this record anew, so its numbers may no longer come out."
        ]
    return grid


def _numbers(table: Table, known: Mapping[str, Any], cells: Sequence[Line]) -> Grid:
    """Every number of the cell records, a column a seed."""
    metrics: dict[str, list[Line]] = {}
    for row in cells:
        if row["metric"] != "status":
            metrics.setdefault(str(row["metric"]), []).append(row)
    seeds = sorted({row["seed"] for rows in metrics.values() for row in rows if row["seed"] is not None})
    heads = [
        Head("number"),
        Head("basis"),
        *(Head(f"seed {seed}", True) for seed in seeds),
        Head("mean", True),
    ]
    grid = Grid("numbers", "Numbers of the cells", heads)
    for metric, rows in metrics.items():
        values = {row["seed"]: row["value"] for row in rows if row["value"] is not None}
        if not values:
            reason = next((str(row["reason"]) for row in rows if row["reason"]), "no value")
            blank = [Cell("null", None, tone="dim", title=reason) for _ in seeds]
            grid.rows.append([Cell(metric), Cell(reason, tone="dim"), *blank, DASH])
            continue
        write = _writer(table, known, metric)
        line = [Cell(write(values[seed]), values[seed]) if seed in values else DASH for seed in seeds]
        mean = sum(values.values()) / len(values)
        grid.rows.append([Cell(metric), Cell(str(rows[0]["basis"])), *line, Cell(write(mean), mean)])
    return grid


def _writer(table: Table, known: Mapping[str, Any], metric: str) -> Any:
    entry = table.metric(known["task"], metric)
    if entry and entry["unit"] == "share":
        return lambda value: f"{100 * value:.2f} %"
    return (lambda value: significant(value, 4)) if entry else (lambda value: absolute(metric, value))


def _visits(visits: Sequence[Line]) -> Grid:
    """One line a visit, workload and form: the time, and the ratio to the baseline of the same round."""
    heads = [Head("timed"), Head("form"), Head("seed", True), Head("round", True), Head("median", True),
             Head("ratio to the baseline", True), Head("samples", True), Head("clock"), Head("flags")]  # fmt: skip
    grid = Grid("visits", "Visits: timed once a round, in turns with the baseline", heads)
    shown = [row for row in visits if stem(row["metric"]) in TIMED and row["form"] != "aa"]
    shown = [row for row in shown if row["value"] is not None]
    shown.sort(key=lambda row: (row["metric"], str(row["form"]), row["seed"] or 0, row["round"] or 0))
    for row in shown[:MOST_VISITS]:
        ratio = None if row["log_ratio"] is None else math.exp(row["log_ratio"])
        name = place(row["metric"]) or str(row["workload"])
        kind = "" if stem(row["metric"]) == "latency_s" else f" ({stem(row['metric'])})"
        grid.rows.append([
            Cell(name + kind), Cell(str(row["form"])), Cell(str(row["seed"]), row["seed"]),
            Cell(str(row["round"]), row["round"]), Cell(absolute(row["metric"], row["value"]), row["value"]),
            DASH if ratio is None else Cell(f"{ratio:.3f}{TIMES}", ratio),
            Cell(str(row["n"]), row["n"]), Cell(str(row["clock"])), Cell(str(row["flags"] or ""), tone="dim"),
        ])  # fmt: skip
    if len(shown) > MOST_VISITS:
        grid.notes = [f"The first {MOST_VISITS} of {len(shown):,}; all of them are in rows.parquet."]
    return grid
