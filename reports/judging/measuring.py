"""How the numbers were measured: noise floor of baseline pairs, flags, failures, nulls, machines."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.judging.arms import Arm, Section
from reports.judging.statistics import Interval, student
from reports.judging.table import Table
from reports.notation import long_name, stem, words

#: A/A pairs from which a false-positive rate means something (MEASUREMENT: aim 5 %).
ENOUGH_PAIRS = 200


@dataclass(frozen=True)
class Floor:
    """A copy of the baseline timed beside it, one workload of one task.

    Attributes:
        logs: log ratio of the copy to the baseline, one a round.
        mean: their mean as a ratio with its interval.
        spread: standard deviation of one round, as a share.
        worst: the largest distance from 1, as a share.
    """

    task: str
    workload: str
    logs: tuple[float, ...]
    mean: Interval
    spread: float | None
    worst: float


@dataclass(frozen=True)
class Failure:
    """Cells without a number, or numbers that are null, with the reason they gave."""

    label: str
    task: str
    status: str
    count: str
    reason: str


def floors(table: Table) -> list[Floor]:
    """The noise floor: what comes out where nothing differs."""
    rows = table.rows
    pairs = rows[
        (rows["form"] == "aa") & rows["log_ratio"].notna() & rows["metric"].map(stem).eq("latency_s")
    ]
    found = []
    for (task, workload), part in pairs.groupby(["task", "workload"], sort=True):
        logs = part.sort_values("round")["log_ratio"].to_numpy(dtype=float)
        spread = float(logs.std(ddof=1)) if len(logs) > 1 else None
        worst = float(np.abs(np.expm1(logs)).max())
        found.append(
            Floor(str(task), str(workload), tuple(logs.tolist()), student(logs).exp(), spread, worst)
        )
    return found


def flags(table: Table) -> list[tuple[str, int, int]]:
    """(flag, visits that carry it, all visits)."""
    rows = table.rows[(table.rows["kind"] == "visit") & (table.rows["metric"].map(stem) == "latency_s")]
    visits = rows.groupby(["system", "workload", "round"], dropna=False)["flags"].agg(
        lambda part: ",".join(part.fillna(""))
    )
    count = Counter(flag for text in visits for flag in {flag for flag in text.split(",") if flag})
    return [(flag, number, len(visits)) for flag, number in count.most_common()]


def failures(table: Table) -> list[Failure]:
    """Cells that are not `ok`, grouped by arm and reason; final `diverged` ones among them."""
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for (arm, seed), (status, reason) in table.status.items():
        if status != "ok":
            groups[arm, status, reason].append(seed)
    found = []
    for (arm, status, reason), seeds in groups.items():
        known = table.arms[arm]
        shown = ", ".join(map(str, sorted(seeds)))
        found.append(
            Failure(known["label"], known["task"], status, f"seed{'s' * (len(seeds) > 1)} {shown}", reason)
        )
    return sorted(found, key=lambda failure: (failure.task, failure.status, failure.label))


def nulls(table: Table) -> list[Failure]:
    """Numbers that are null although their cell is there: the reason, and the metrics it took away.

    Energy is told once for the machine (`sensors`), not once an arm.
    """
    rows = table.rows[
        table.rows["value"].isna()
        & ~table.rows["metric"].map(stem).isin(["status", "energy_j"])
        & (table.rows["reason"].fillna("") != "")
    ]
    groups: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in rows.itertuples():
        groups[row.arm, row.reason, row.task].add(str(row.metric))
    return [
        Failure(table.arms[arm]["label"], task, "null", ", ".join(sorted(metrics)), reason)
        for (arm, reason, task), metrics in groups.items()
    ]


def machines(table: Table) -> list[tuple[dict[str, str], int]]:
    """Every machine and software that a record names, with how many records name it."""
    rows = table.rows.drop_duplicates(["kind", "system", "workload", "round", "seed"])
    counts = rows["env"].value_counts()
    return [
        ({key: str(value) for key, value in sorted(json.loads(text).items())}, int(n))
        for text, n in counts.items()
    ]


@dataclass(frozen=True)
class Realised:
    """What an arm saves on paper, and what of it the clock sees.

    Attributes:
        nominal: how many times less it counts (FLOPs or non-zero weights; stored bytes where neither moved).
        by: which of them.
        saving: how many times less time it takes, with its interval.
        quality: what it costs in quality, in words; empty where the task has none.
    """

    label: str
    task: str
    family: str
    workload: str
    nominal: float
    by: str
    saving: Interval
    note: str
    quality: str = ""


def realised(sections: Sequence[Section]) -> list[Realised]:
    """Nominal against realised saving at the main workload; arms that promise nothing are left out.

    An operator on matrices that nobody trained is, too: its quality is nobody's. It has its crossover instead.
    """
    found = []
    for section in sections:
        if not section.entry.get("trains", True):
            continue
        for arm in section.arms:
            time = arm.times.get(f"latency_s@{section.main}")
            if arm.baseline or time is None or time.ratio is None:
                continue
            by, nominal = _nominal(
                {name: n.ratio.interval.effect for name, n in arm.costs.items() if n.ratio}
            )
            if nominal <= 1.02:
                continue
            at = time.ratio.interval
            saving = Interval(1 / at.effect, 1 / at.high, 1 / at.low if at.low else float("inf"), at.n, at.df)
            found.append(
                Realised(
                    arm.label,
                    section.title,
                    arm.family,
                    section.main,
                    nominal,
                    by,
                    saving,
                    time.ratio.note,
                    _quality(section, arm),
                )  # fmt: skip
            )
    return found


def _quality(section: Section, arm: Arm) -> str:
    """`−9 points [−13, −6] of accuracy`."""
    if section.metric is None or arm.change is None:
        return ""
    say, at = words("difference", section.metric["name"], section.metric), arm.change.interval
    return f"{say.effect(at.effect, at.low, at.high, sign=True)} of {long_name(section.metric['name'])}"


def _nominal(ratios: dict[str, float]) -> tuple[str, float]:
    """The larger of the savings in FLOPs and in non-zero weights; stored bytes only where neither moved."""
    savings = {stem(name): 1.0 / ratio for name, ratio in ratios.items() if ratio > 0}
    by = max(("flops", "nonzero"), key=lambda name: savings.get(name, 0.0))
    if savings.get(by, 0.0) <= 1.02:
        by = "stored_bytes"
    return by, savings.get(by, 0.0)


def rounds_of(table: Table) -> tuple[int, int]:
    """(fewest, most) rounds of a timed arm and workload; (0, 0) where nothing was timed."""
    part = table.visits[table.visits["metric"].map(stem) == "latency_s"]
    if part.empty:
        return 0, 0
    counts = part.groupby(["arm", "metric"])["round"].nunique()
    return int(counts.min()), int(counts.max())


def seeds_of(table: Table) -> tuple[int, int]:
    """(fewest, most) seeds of an arm."""
    counts = table.cells.groupby("arm")["seed"].nunique()
    return (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)


def sensors(table: Table) -> str:
    """What energy was read from, or why it is null; and that no modelled joule enters a claim or a front."""
    rows = table.rows[table.rows["metric"].map(stem).eq("energy_j")]
    told = rows["sensor"] if "sensor" in rows else rows["metric"].map(lambda _: None)
    read = sorted(
        {str(name) for name, value in zip(told, rows["value"], strict=True) if value == value and name}
    )
    reasons = sorted({str(why) for why in rows[rows["value"].isna()]["reason"].dropna() if why})
    if read:
        lost = f" Some readings are null: {'; '.join(reasons)}." if reasons else ""
        return f"Energy was read from a sensor of the machine ({', '.join(read)}); numbers without one are null.{lost}"
    return (
        "No energy sensor answered on this machine: energy is null everywhere, "
        "and no claim or front uses a modelled one." + (f" Why: {'; '.join(reasons)}." if reasons else "")
    )
