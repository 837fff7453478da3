"""Arms of a task side by side: quality, counted cost and time against their baseline."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from reports.judging.effects import TIMED, Effect, compute
from reports.judging.statistics import Interval
from reports.judging.table import Missing, Table
from reports.notation import place, stem

#: Counted costs in the order in which tables show them; others follow by name.
ORDER = (
    "price",
    "tokens",
    "tool_calls",
    "nonzero",
    "stored_bytes",
    "flops",
    "bytes_moved",
    "peak_live_bytes",
    "energy_proxy_j",
    "train_flops",
)
#: Cell metrics that are no cost of the arm: budgets that a task fixes, and clocks of the training job.
NO_COST = ("status", "train_samples", "train_steps", "params", "train_peak_live_bytes")


#: Metrics of a task that say what an answer took.
SPENT = ("price", "tokens", "tool_calls", "mflop")


@dataclass(frozen=True)
class Number:
    """A cost of one arm: its mean over seeds and its ratio to the baseline's, or why there is none.

    Attributes:
        value: mean over seeds, in the metric's own unit.
        ratio: to the baseline, with its interval; None where either side is zero or missing.
        reason: why `value` is None.
    """

    value: float | None
    ratio: Effect | None
    reason: str = ""


@dataclass(frozen=True)
class Arm:
    """One method with its knobs on one task."""

    id: str
    label: str
    method: str
    family: str
    baseline: bool
    quality: Effect | None
    change: Effect | None
    costs: dict[str, Number]
    times: dict[str, Number]
    statuses: dict[str, int]
    reason: str
    flags: tuple[str, ...]


@dataclass
class Section:
    """One task with its knobs, and everything that was held against one baseline there."""

    table: Table
    task: str
    task_id: str
    baseline: str
    arm_ids: list[str] = field(default_factory=list)
    workloads: list[str] = field(default_factory=list)

    @property
    def entry(self) -> Mapping[str, Any]:
        """What the index says of the task."""
        return self.table.scope["tasks"].get(self.task, {})

    @property
    def basis(self) -> str:
        """counted, or modelled for a simulator."""
        return str(self.entry.get("basis", "counted"))

    @property
    def metric(self) -> dict[str, Any] | None:
        """The first quality metric of the task: what its tables and fronts show."""
        metrics = self.entry.get("metrics", [])
        return dict(metrics[0]) if metrics else None

    @property
    def main(self) -> str:
        """The workload that fronts show."""
        main = self.entry.get("main_workload") or ""
        return main if main in self.workloads or not self.workloads else self.workloads[0]

    @property
    def title(self) -> str:
        """The task with its knobs that differ from the defaults."""
        known = {knob["name"]: knob["default"] for knob in self.entry.get("knobs", [])}
        rows = self.table.rows[self.table.rows["task_id"] == self.task_id]
        knobs = json.loads(rows["task_knobs"].iloc[0]) if len(rows) else {}
        parts = [f"{name}={value}" for name, value in sorted(knobs.items()) if value != known.get(name)]
        return f"{self.task}({', '.join(parts)})" if parts else self.task

    @cached_property
    def arms(self) -> list[Arm]:
        """The baseline first, then the others in the order of the cards."""
        return [arm for arm in (self._arm(id) for id in self.arm_ids) if arm is not None]

    @cached_property
    def shown_costs(self) -> list[str]:
        """Counted costs in which some arm differs from the baseline; a column of ones would say nothing."""
        return [name for name in self.cost_names if any(_moved(arm.costs.get(name)) for arm in self.arms)]

    @cached_property
    def equal_costs(self) -> list[str]:
        """Counted costs that are equal for all arms that have them."""
        return [name for name in self.cost_names if name not in self.shown_costs]

    @cached_property
    def cost_names(self) -> list[str]:
        """Counted costs of these cells, at the main workload where they have one."""
        known = self.table.cells[self.table.cells["arm"].isin(self.arm_ids)]
        quality = {entry["name"] for entry in self.entry.get("metrics", [])} - self.spent
        names = [
            name
            for name in known["metric"].unique()
            if stem(name) not in (*quality, *NO_COST)
            and not name.startswith("probe_")
            and not name.endswith("_cpu_s")
            and place(name) in ("", self.main)
        ]
        return sorted(names, key=lambda name: (_rank(name), name))

    @cached_property
    def spent(self) -> set[str]:
        """Metrics that are scored per test item and yet are costs: what an answer took (tokens, price)."""
        metrics = self.entry.get("metrics", [])[1:]
        return {entry["name"] for entry in metrics if entry["name"] in SPENT and entry["better"] == "lower"}

    def _arm(self, id: str) -> Arm | None:
        known = self.table.arms.get(id)
        if known is None:
            return None
        states = [state for (arm, _), state in self.table.status.items() if arm == id]
        metric = self.metric["name"] if self.metric else ""
        method = self.table.scope["methods"].get(known["method"], {})
        return Arm(
            id=id,
            label=known["label"],
            method=known["method"],
            family=str(method.get("family", "")),
            baseline=id == self.baseline,
            quality=self._effect({"metric": metric, "of": id}) if metric else None,
            change=self._effect({"metric": metric, "of": id, "minus": self.baseline}) if metric else None,
            costs={name: self._cost(id, name) for name in self.cost_names},
            times=dict(self._times(id)),
            statuses=dict(Counter(status for status, _ in states)),
            reason="; ".join(sorted({reason for status, reason in states if status != "ok" and reason})),
            flags=tuple(sorted(self._flagged.get(id, ()))),
        )

    def _effect(self, check: Mapping[str, Any]) -> Effect | None:
        try:
            quality = stem(str(check["metric"])) not in TIMED
            return compute(self.table, {"task": self.task, "quality": quality, **check})
        except Missing:
            return None

    def _cost(self, id: str, metric: str) -> Number:
        try:
            values = list(self.table.counted(id, metric).values())
        except Missing as missing:
            return Number(None, None, str(missing))
        check = {"task": self.task, "quality": metric in self.spent, "metric": metric}
        check |= {"of": id, "over": self.baseline}
        try:
            return Number(sum(values) / len(values), compute(self.table, check))
        except Missing as missing:
            return Number(sum(values) / len(values), None, str(missing))

    def _times(self, id: str) -> Iterator[tuple[str, Number]]:
        names = [f"latency_s@{name}" for name in self.workloads if name != "train_step"]
        names += ["train_s"] * ("train_step" in self.workloads) + [f"energy_j@{self.main}"] * self._has_energy
        for metric in names:
            check = {"task": self.task, "quality": False, "metric": metric, "of": id, "over": self.baseline}
            try:
                ratio = compute(self.table, check)
            except Missing as missing:
                yield metric, Number(None, None, str(missing))
                continue
            if id == self.baseline:  # one by definition, however few rounds there are
                ratio = replace(ratio, interval=Interval(1.0, 1.0, 1.0, ratio.interval.n))
            yield metric, Number(self._seconds(id, metric, ratio), ratio)

    @cached_property
    def _has_energy(self) -> bool:
        visits = self.table.visits
        return bool((visits["metric"].str.startswith("energy_j") & (visits["task_id"] == self.task_id)).any())

    def _seconds(self, id: str, metric: str, ratio: Effect) -> float | None:
        found = self._medians.get((id, metric, ratio.note.partition(" form")[0]))
        return found * self._longer(id) if found is not None and metric == "train_s" else found

    def _longer(self, id: str) -> float:
        """Mean training steps of all seeds over those of the seed that was timed, as the ratio has them."""
        try:
            steps = self.table.counted(id, "train_steps")
        except Missing:
            return 1.0
        visits = self.table.visits
        timed = visits.loc[(visits["arm"] == id) & (visits["metric"] == "train_s"), "seed"]
        if timed.nunique() != 1 or not steps.get(int(timed.iloc[0])):
            return 1.0
        return sum(steps.values()) / len(steps) / steps[int(timed.iloc[0])]

    @cached_property
    def _medians(self) -> dict[Any, float]:
        """(arm, metric, form) -> median over visits, in the metric's own unit."""
        visits = self.table.visits[self.table.visits["task_id"] == self.task_id]
        return dict(visits.groupby(["arm", "metric", "form"])["value"].median().items())

    @cached_property
    def _flagged(self) -> dict[Any, set[str]]:
        """Arm -> flags that one of its visits carries."""
        visits = self.table.visits[self.table.visits["flags"].fillna("") != ""]
        found = visits.groupby("arm")["flags"].unique().items()
        return {arm: {flag for text in texts for flag in text.split(",")} for arm, texts in found}


def _rank(name: str) -> int:
    return ORDER.index(stem(name)) if stem(name) in ORDER else len(ORDER)


def _moved(number: Number | None) -> bool:
    if number is None or number.value is None:
        return False
    return number.ratio is None or abs(number.ratio.interval.effect - 1.0) > 1e-9


def sections(table: Table) -> list[Section]:
    """One section a task setting and baseline, over all cards of the scope, in their order."""
    found: dict[tuple[str, str], Section] = {}
    for card in table.scope["cards"]:
        for run in card["runs"]:
            if not run["arms"]:
                continue
            key = (run["task_id"], run["baseline"])
            section = found.setdefault(key, Section(table, run["task"], run["task_id"], run["baseline"]))
            for arm in (run["baseline"], *run["arms"]):
                if arm not in section.arm_ids:
                    section.arm_ids.append(arm)
            section.workloads += [name for name in run["workloads"] if name not in section.workloads]
    return list(found.values())
