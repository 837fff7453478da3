"""The table of a scope as arms, seeds and rounds: what effects are computed from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.records import unpack

#: Rounds without a flag below which flagged ones enter too, and the row says `contended`.
CLEAN_ROUNDS = 5


class Missing(Exception):
    """A number that a check needs is not there; the message says why."""


class Table:
    """Rows of one scope, with what the plan says about it (cards, tasks, methods)."""

    def __init__(self, rows: pd.DataFrame, scope: Mapping[str, Any]) -> None:
        self.rows, self.scope = rows, scope

    @classmethod
    def read(cls, path: Path, scope: Mapping[str, Any]) -> Table:
        """The table that `collect` wrote."""
        return cls(pd.read_parquet(path), scope)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Rows of cell records."""
        return self.rows[self.rows["kind"] == "cell"]

    @cached_property
    def visits(self) -> pd.DataFrame:
        """Rows of visits that have a number."""
        visits = self.rows[(self.rows["kind"] == "visit") & self.rows["value"].notna()]
        return visits[visits["form"] != "aa"]

    @cached_property
    def status(self) -> dict[tuple[str, int], tuple[str, str]]:
        """(arm, seed) -> (status, reason)."""
        rows = self.cells[self.cells["metric"] == "status"]
        return {(r.arm, int(r.seed)): (r.status, r.reason or "") for r in rows.itertuples()}

    @cached_property
    def _by_metric(self) -> dict[tuple[str, str], pd.DataFrame]:
        return {key: part for key, part in self.cells.groupby(["arm", "metric"], sort=False)}

    @cached_property
    def _visits_of(self) -> dict[tuple[str, str], pd.DataFrame]:
        return {key: part for key, part in self.visits.groupby(["arm", "metric"], sort=False)}

    @cached_property
    def arms(self) -> dict[str, dict[str, Any]]:
        """Arm -> task, method, knobs and a short label."""
        first = self.rows.drop_duplicates("arm")
        return {
            r.arm: {
                "task": r.task,
                "task_id": r.task_id,
                "task_knobs": json.loads(r.task_knobs),
                "method": r.method,
                "knobs": json.loads(r.knobs),
                "label": self.label(r.method, json.loads(r.knobs)),
            }
            for r in first.itertuples()
        }

    @cached_property
    def _varied(self) -> set[tuple[str, str]]:
        """(method, knob) with more than one value in this table: a default beside others must be named too."""
        seen: dict[tuple[str, str], set[str]] = {}
        for row in self.rows[["method", "knobs"]].drop_duplicates().itertuples(index=False):
            for name, value in json.loads(row.knobs).items():
                seen.setdefault((row.method, name), set()).add(json.dumps(value, sort_keys=True))
        return {key for key, values in seen.items() if len(values) > 1}

    def label(self, method: str, knobs: Mapping[str, Any]) -> str:
        """method(knobs that differ from their defaults, or between the cells of this table)."""
        entry = self.scope["methods"].get(method)
        defaults = {knob["name"]: knob["default"] for knob in (entry or {"knobs": []})["knobs"]}
        parts = []
        for name, value in knobs.items():
            if isinstance(value, Mapping) and "method" in value:
                if name == "start" and value["method"] == "baseline":
                    continue
                value = self.label(value["method"], value["knobs"])
            elif value == defaults.get(name) and (method, name) not in self._varied:
                continue
            parts.append(f"{name}={value}")
        return f"{method}({', '.join(parts)})" if parts else method

    def metric(self, task: str, name: str) -> dict[str, Any] | None:
        """A quality metric's unit, direction, chance and band; None for a cost."""
        stem = name.partition("@")[0]
        for entry in self.scope["tasks"].get(task, {}).get("metrics", []):
            if entry["name"] == stem:
                return dict(entry)
        return None

    def items(self, arm: str, metric: str) -> dict[int, np.ndarray]:
        """Seed -> scores per item; a diverged cell scores chance on every item.

        Raises:
            Missing: no seed has the metric.
        """
        part = self._by_metric.get((arm, metric))
        pairs = () if part is None else zip(part["seed"], part["items"], strict=True)
        found = {int(seed): unpack(scores) for seed, scores in pairs if isinstance(scores, str)}
        known = self.metric(self.arms[arm]["task"], metric) if arm in self.arms else None
        for (other, seed), (status, _) in self.status.items():
            if other == arm and status == "diverged" and known:
                length = len(next(iter(found.values()))) if found else self._length(arm, metric)
                found[seed] = np.full(length, known["chance"])
        if not found:
            raise Missing(self.why(arm, metric))
        return dict(sorted(found.items()))

    def _length(self, arm: str, metric: str) -> int:
        task_id = self.arms[arm]["task_id"]
        rows = self.cells[(self.cells["task_id"] == task_id) & (self.cells["metric"] == metric)]
        return int(rows["n"].max()) if len(rows) else 1

    def counted(self, arm: str, metric: str) -> dict[int, float]:
        """Seed -> a counted or modelled number, or a stage's CPU seconds.

        Raises:
            Missing: it is null or was never counted.
        """
        part = self._by_metric.get((arm, metric))
        pairs = () if part is None else zip(part["seed"], part["value"], strict=True)
        found = {int(seed): float(value) for seed, value in pairs if pd.notna(value)}
        if not found:
            raise Missing(self.why(arm, metric))
        return dict(sorted(found.items()))

    def rounds(self, arm: str, metric: str) -> tuple[dict[tuple[int, int], float], str, str, bool]:
        """Log ratios to the baseline by (seed, round), the form they belong to, the baseline, and `contended`.

        The fastest form by the mean over rounds stands for the cell.

        Raises:
            Missing: there is no visit with a ratio.
        """
        part = self._visits_of.get((arm, metric))
        part = part[part["log_ratio"].notna()] if part is not None else part
        if part is None or part.empty:
            raise Missing(self.why(arm, metric))
        best = part.groupby("form")["log_ratio"].mean().idxmin()
        part = part[part["form"] == best]
        clean = part[part["flags"] == ""]
        contended = clean["round"].nunique() < min(CLEAN_ROUNDS, part["round"].nunique())
        chosen = part if contended else clean
        columns = (chosen["seed"], chosen["round"], chosen["log_ratio"])  # itertuples is slow on a wide table
        logs = {(int(seed), int(number)): float(log) for seed, number, log in zip(*columns, strict=True)}
        return logs, str(best), str(part["baseline"].iloc[0]), bool(contended)

    def why(self, arm: str, metric: str) -> str:
        """Why a number is not there, in words."""
        if arm not in self.arms:
            return "its cells are not part of this plan"
        states = {state for (other, _), state in self.status.items() if other == arm}
        bad = sorted(f"{status}: {reason}" for status, reason in states if status not in ("ok", "diverged"))
        if bad:
            return bad[0]
        part = self._by_metric.get((arm, metric))
        if part is not None and len(part) and part["reason"].iloc[0]:
            return f"{metric} is null: {part['reason'].iloc[0]}"
        rows = self.rows[(self.rows["arm"] == arm) & (self.rows["metric"] == metric)]
        if len(rows) and rows["reason"].iloc[0]:
            return f"{metric} is null: {rows['reason'].iloc[0]}"
        return f"{self.arms[arm]['label']} has no {metric}"
