"""The table of a scope as arms, seeds and rounds: what effects are computed from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.doubles import refuse_doubles
from benchmarks.records import unpack
from reports.judging.parts import Parts

#: Rounds without a flag below which flagged ones enter too, and the row says `contended`.
CLEAN_ROUNDS = 5


#: Items of so many cells and metrics are kept unpacked: a baseline is asked for by every check of its task.
KEPT = 64


class Kind(NamedTuple):
    """What rows of visits were measured with."""

    protocol: Any
    basis: Any
    sensor: Any
    device: Any
    env: Any


class Missing(Exception):
    """A number that a check needs is not there; the message says why."""


class Table:
    """Rows of one scope, with what the plan says about it (cards, tasks, methods)."""

    def __init__(self, rows: pd.DataFrame, scope: Mapping[str, Any]) -> None:
        self.rows, self.scope = rows, scope

    @classmethod
    def read(cls, path: Path, scope: Mapping[str, Any]) -> Table:
        """The table that `collect` wrote.

        Raises:
            SystemExit: rows of it come from a test double of hardware.
        """
        rows = pd.read_parquet(path)
        refuse_doubles(rows["env"].unique())
        return cls(rows, scope)

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
    def _seeds_of(self) -> dict[str, dict[int, tuple[str, str]]]:
        """Arm -> seed -> (status, reason)."""
        found: dict[str, dict[int, tuple[str, str]]] = {}
        for (arm, seed), state in self.status.items():
            found.setdefault(arm, {})[seed] = state
        return found

    @cached_property
    def _cell_parts(self) -> Parts:
        return Parts(self.cells, ("seed", "value", "items", "valid"))

    @cached_property
    def _visit_parts(self) -> Parts:
        return Parts(self.visits, ("seed", "round", "form", "log_ratio", "flags", "baseline", *Kind._fields))

    @cached_property
    def _reasons(self) -> dict[tuple[str, str], str]:
        """(arm, metric) -> the reason of its first row, where that has one."""
        first = self.rows.drop_duplicates(["arm", "metric"])[["arm", "metric", "reason"]]
        return {
            (arm, metric): reason
            for arm, metric, reason in first.itertuples(index=False)
            if isinstance(reason, str) and reason
        }

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
                value = self.label(value["method"], value["knobs"])
                if name == "start" and value == "baseline":
                    continue
            elif value == defaults.get(name) and (method, name) not in self._varied:
                continue
            parts.append(f"{name}={value}")
        return f"{method}({', '.join(parts)})" if parts else method

    def setting(self, task: str, task_id: str, card: Mapping[str, Any] | None = None) -> str:
        """What tells this setting from others of the card or table; empty where there is one.

        Knobs of the task, and its name where the card has several tasks.
        """
        mine = {run["task_id"] for run in (card or {}).get("runs", ())}
        known = {id: knobs for id, knobs in self._settings.get(task, {}).items() if not mine or id in mine}
        others = {run["task"] for run in (card or {}).get("runs", ())} - {task}
        name = [task] if others else []
        if len(known) < 2 or task_id not in known:
            return ", ".join(name)
        this = known[task_id]
        told = [
            knob for knob, value in this.items() if any(other.get(knob) != value for other in known.values())
        ]
        return ", ".join([*name, *(f"{knob}={this[knob]}" for knob in told)])

    @cached_property
    def _settings(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Task -> task_id -> its knobs."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for row in (
            self.rows[["task", "task_id", "task_knobs"]].drop_duplicates("task_id").itertuples(index=False)
        ):
            found.setdefault(row.task, {})[row.task_id] = json.loads(row.task_knobs)
        return found

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
        found = dict(self._scores(arm, metric))
        known = self.metric(self.arms[arm]["task"], metric) if arm in self.arms else None
        for seed, (status, _) in self._seeds_of.get(arm, {}).items():
            if status == "diverged" and known:
                length = len(next(iter(found.values()))) if found else self._length(arm, metric)
                found[seed] = np.full(length, known["chance"])
        if not found:
            raise Missing(self.why(arm, metric))
        return dict(sorted(found.items()))

    @cached_property
    def _scores(self) -> Any:
        return lru_cache(KEPT)(self._unpacked)

    def _unpacked(self, arm: str, metric: str) -> dict[int, np.ndarray]:
        part = self._cell_parts
        rows = part.rows(arm, metric)
        pairs = zip(part.column("seed", rows), part.column("items", rows), strict=True)
        return {int(seed): unpack(scores) for seed, scores in pairs if isinstance(scores, str)}

    def _length(self, arm: str, metric: str) -> int:
        """How many items other cells of the arm's task have."""
        return self._lengths.get((self.arms[arm]["task_id"], metric), 1)

    @cached_property
    def _lengths(self) -> dict[tuple[str, str], int]:
        counts = self.cells[self.cells["n"].notna()].groupby(["task_id", "metric"])["n"].max()
        return {key: int(count) for key, count in counts.items()}

    def counted(self, arm: str, metric: str) -> dict[int, float]:
        """Seed -> a counted or modelled number, or a stage's CPU seconds.

        Raises:
            Missing: it is null or was never counted.
        """
        part = self._cell_parts
        rows = part.rows(arm, metric)
        pairs = zip(part.column("seed", rows), part.floats("value", rows), strict=True)
        found = {int(seed): float(value) for seed, value in pairs if value == value}
        if not found:
            raise Missing(self.why(arm, metric))
        return dict(sorted(found.items()))

    def _timed(self, arm: str, metric: str) -> np.ndarray:
        """Positions of the visits of a cell that have a ratio."""
        part = self._visit_parts
        rows = part.rows(arm, metric)
        rows = rows[~np.isnan(part.floats("log_ratio", rows))]
        if not len(rows):
            raise Missing(self.why(arm, metric))
        return rows

    def met(self, arm: str, metric: str) -> set[str]:
        """All baseline cells beside which a cell was timed; Missing, where there is none."""
        return set(self._visit_parts.column("baseline", self._timed(arm, metric)))

    def beside(self, arm: str, metric: str, among: Container[str] | None = None) -> set[str]:
        """Of each seed the baseline cell beside which it was timed; the commoner where two cards had it beside two."""
        part, rows = self._visit_parts, self._timed(arm, metric)
        pairs = zip(part.column("seed", rows), part.column("baseline", rows), strict=True)
        counts = Counter((int(seed), str(base)) for seed, base in pairs if among is None or base in among)
        return set({seed: base for (seed, base), _ in reversed(counts.most_common())}.values())

    def rounds(
        self, arm: str, metric: str, among: Container[str] | None = None
    ) -> tuple[dict[tuple[int, int], float], str, str, bool]:
        """Log ratios to the baseline by (seed, round), the form they belong to, the baseline, and `contended`.

        The fastest form by the mean over rounds stands for the cell; baselines that are not `among` do not count.

        Raises:
            Missing: there is no visit with a ratio.
        """
        part, bases, rows = self._visit_parts, self.beside(arm, metric, among), self._timed(arm, metric)
        rows = rows[np.array([one in bases for one in part.column("baseline", rows)], dtype=bool)]
        if not len(rows):
            raise Missing(self.why(arm, metric))
        forms, logs = np.array(part.column("form", rows)), part.floats("log_ratio", rows)
        best = min(sorted(set(forms)), key=lambda form: logs[forms == form].mean())
        rows = rows[forms == best]
        clean = rows[[not flag for flag in part.column("flags", rows)]]
        few = min(CLEAN_ROUNDS, len(set(part.column("round", rows))))
        contended = len(set(part.column("round", clean))) < few
        chosen = rows if contended else clean
        columns = (part.column(name, chosen) for name in ("seed", "round", "log_ratio"))
        found = {(int(seed), int(number)): float(log) for seed, number, log in zip(*columns, strict=True)}
        return found, str(best), str(part.column("baseline", rows)[0]), contended

    def kinds(self, arm: str, metric: str) -> frozenset[Kind]:
        """What the visits of a cell and metric were measured with; one kind, where all went well."""
        part = self._visit_parts
        rows = part.rows(arm, metric)
        columns = (part.column(name, rows) for name in Kind._fields)
        return frozenset(Kind(*values) for values in zip(*columns, strict=True))

    def valid(self, arm: str, metric: str) -> list[float]:
        """Validation scores of the seeds that have one."""
        part = self._cell_parts
        scores = part.floats("valid", part.rows(arm, metric))
        return [float(score) for score in scores if score == score]

    def diverged(self, arm: str) -> int:
        """How many seeds diverged."""
        return sum(status == "diverged" for status, _ in self._seeds_of.get(arm, {}).values())

    def why(self, arm: str, metric: str) -> str:
        """Why a number is not there, in words."""
        if arm not in self.arms:
            return "its cells have not been run in this scope"
        states = set(self._seeds_of.get(arm, {}).values())
        bad = sorted(f"{status}: {reason}" for status, reason in states if status not in ("ok", "diverged"))
        if bad:
            return bad[0]
        reason = self._reasons.get((arm, metric))
        return f"{metric} is null: {reason}" if reason else f"{self.arms[arm]['label']} has no {metric}"
