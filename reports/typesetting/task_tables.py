"""The tables of a task: every arm against the baseline, and all costs in their own units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reports.judging.arms import Arm, Number, Section
from reports.judging.costs import FOLDED
from reports.judging.effects import Effect
from reports.judging.fronts import Front
from reports.judging.statistics import Interval
from reports.notation import TIMES, Words, per_cent, place, short_name, significant, stem, words
from reports.typesetting.grids import DASH, Cell, Grid, Head

#: Counted costs that stand in a task's table; the others are in the folded one below it.
MOST_COSTS = 4
#: Stands at whatever comes from a simulator instead of a clock or a count.
MODELLED = "†"


def change_cell(effect: Effect | None, say: Words, better: str) -> Cell:
    """A difference of quality; strong where the interval leaves the band around zero on the better side."""
    if effect is None:
        return DASH
    at = effect.interval
    good = at.low > effect.band if better == "higher" else at.high < -effect.band
    return Cell(_bare(say.effect(at.effect, at.low, at.high, sign=True), say), at.effect, strong=good)


def _bare(text: str, say: Words) -> str:
    """A number without its unit, which stands in the head of the column."""
    return text.replace(say.unit, "", 1).replace("  ", " ").strip() if say.unit else text


def ratio_cell(number: Number | None) -> Cell:
    """A cost as a ratio to the baseline; strong where its interval lies below 1 by more than the band."""
    if number is None or (number.value is None and number.ratio is None):
        return Cell("–", None, tone="dim", title=number.reason if number else "")
    if number.ratio is None:
        return Cell(significant(number.value or 0.0), number.value, title=number.reason, tone="dim")
    at, effect = number.ratio.interval, number.ratio
    say = Words("ratio", "")
    return Cell(
        _bare(say.effect(at.effect, at.low, at.high), say),
        at.effect,
        strong=at.high < 1.0 - effect.band and at.high < 1.0,
        title=effect.note,
    )


def arms_grid(section: Section, fronts: Sequence[Front], name: str) -> Grid:
    """All arms of a task: quality, change to the baseline, counted costs, times, front, flags."""
    metric = section.metric or {"name": "quality", "unit": "", "better": "higher"}
    value, change = words("value", metric["name"], metric), words("difference", metric["name"], metric)
    costs, times = (
        [name for name in section.shown_costs if stem(name) not in FOLDED][:MOST_COSTS],
        _times(section),
    )
    grid = Grid(
        name,
        f"{section.title}: every arm against {_baseline(section)}",
        [Head("arm"), Head(_unit(metric["name"], value.unit), True)],
    )
    grid.heads.append(
        Head(_unit("change", change.unit), True, "difference to the baseline, paired by seed and test item")
    )
    grid.heads += [Head(_timed(metric), True, metric) for metric in times]
    grid.heads += [
        Head(f"{short_name(metric)} {TIMES}", True, metric, at > 2) for at, metric in enumerate(costs)
    ]
    told = "share of draws in which nothing beats it in both"
    grid.heads += [Head(f"front: {short_name(front.metric)}", title=told, extra=True) for front in fronts]
    grid.heads.append(Head("flags", extra=True))
    members = [{point.arm.id: point for point in front.points} for front in fronts]
    best = _best(section, times, costs, metric["better"])
    for at, arm in enumerate(section.arms):
        row = [
            Cell(arm.label, arm.label, title=arm.id),
            quality_cell(arm, value),
            change_cell(arm.change, change, metric["better"]),
        ]
        row += [ratio_cell(arm.times.get(metric)) for metric in times]
        row += [ratio_cell(arm.costs.get(metric)) for metric in costs]
        row[2:] = [
            replace(cell, strong=cell.strong and column[at])
            for cell, column in zip(row[2:], best, strict=True)
        ]
        row += [_member(points.get(arm.id)) for points in members]
        grid.rows.append([*row, _flags(arm)])
    if section.basis == "modelled":
        grid.heads[1:] = [
            head if head.extra else replace(head, text=head.text + MODELLED) for head in grid.heads[1:]
        ]
    grid.notes = _notes(section, times)
    return grid


def _best(section: Section, times: Sequence[str], costs: Sequence[str], better: str) -> list[list[bool]]:
    """A column each (change, times, costs): which arms no other one surely beats in it."""
    sign = -1.0 if better == "higher" else 1.0
    found = [unbeaten([arm.change.interval if arm.change else None for arm in section.arms], sign)]
    for metric in times:
        numbers = [arm.times.get(metric) for arm in section.arms]
        found.append(unbeaten([n.ratio.interval if n and n.ratio else None for n in numbers]))
    for metric in costs:
        numbers = [arm.costs.get(metric) for arm in section.arms]
        found.append(unbeaten([n.ratio.interval if n and n.ratio else None for n in numbers]))
    return found


def unbeaten(intervals: Sequence[Interval | None], sign: float = 1.0) -> list[bool]:
    """Which of them no other interval lies wholly below (`sign` -1: above): the best by interval, not by point."""
    ends = [None if at is None else sorted((sign * at.low, sign * at.high)) for at in intervals]
    least = min((end[1] for end in ends if end is not None), default=0.0)
    return [end is not None and end[0] <= least for end in ends]


def _unit(name: str, unit: str) -> str:
    return f"{name}, {unit}" if unit else name


def _timed(metric: str) -> str:
    return f"{short_name(metric)} {TIMES}" + (f" {place(metric)}" if place(metric) else "")


def _times(section: Section) -> list[str]:
    """Timed metrics that some arm has."""
    names = dict.fromkeys(name for arm in section.arms for name in arm.times)
    found = [
        name for name in names if any(arm.times.get(name) and arm.times[name].ratio for arm in section.arms)
    ]
    return sorted(found, key=lambda name: place(name) != section.main)


def _baseline(section: Section) -> str:
    return next((arm.label for arm in section.arms if arm.baseline), "its baseline")


def quality_cell(arm: Arm, say: Words) -> Cell:
    """Quality with its interval, or the status of cells that have none."""
    if arm.quality is None:
        bad = next((status for status in arm.statuses if status != "ok"), "no quality")
        return Cell(bad, None, tone="bad", title=arm.reason)
    at = arm.quality.interval
    note = (
        f"{arm.statuses.get('diverged', 0)} seeds diverged and count at chance"
        if arm.statuses.get("diverged")
        else ""
    )
    low, high = (max(0.0, at.low), min(1.0, at.high)) if say.unit == "%" else (at.low, at.high)
    return Cell(_bare(say.effect(at.effect, low, high), say), at.effect, title=note)


def _member(point: Any) -> Cell:
    if point is None:
        return DASH
    if point.share is None:
        return Cell(
            "on it, no interval yet" if point.front else "no",
            float(point.front),
            tone="" if point.front else "dim",
        )
    return Cell(
        f"{point.member}, {per_cent(point.share)}" if point.member != "no" else "no",
        point.share,
        point.member == "surely",
        "dim" * (point.member == "no"),
    )


def _flags(arm: Arm) -> Cell:
    contended = any(number.ratio and "contended" in number.ratio.note for number in arm.times.values())
    parts = [*(["contended"] if contended else []), *arm.flags]
    diverged = arm.statuses.get("diverged", 0)
    return Cell(", ".join([f"{diverged} diverged"] * bool(diverged) + parts), ", ".join(parts), tone="dim")


def _notes(section: Section, times: Sequence[str]) -> list[str]:
    notes = [f"{TIMES}: ratio to the baseline; below 1 is cheaper. Counted numbers are exact: no interval."]
    if times:
        notes.append(
            "Time: the fastest form of each cell, beside the baseline in one process; interval over rounds."
        )
        if any(_flags(arm).text.startswith("contended") for arm in section.arms):
            notes.append(
                "Contended: fewer than five rounds were free of flags, so flagged ones are in it too."
            )
    if any(stem(name) in ("train_flops",) for name in section.shown_costs):
        notes.append("Training is the arm's own; what it starts from is not counted in it.")
    if section.basis == "modelled":
        notes.append(
            f"{MODELLED} Every number of this task is modelled: from a simulator with stated ranges, "
            "not from a clock."
        )
    if section.equal_costs:
        notes.append(f"Equal for all arms: {', '.join(section.equal_costs)}.")
    notes.append(
        "Bold: the whole interval is better than the baseline by more than the indifference band, "
        "and no other arm's whole interval is better still."
    )
    return notes


def costs_grid(section: Section, name: str) -> Grid:
    """Every counted and timed number of a task; units stand in the heads."""
    costs, times = section.cost_names, _times(section)
    mark = MODELLED if section.basis == "modelled" else ""
    heads, columns = [Head("arm")], []
    for metric in [*costs, *times]:
        numbers = [
            arm.times.get(metric) if metric in times else arm.costs.get(metric) for arm in section.arms
        ]
        values = [number.value for number in numbers if number is not None and number.value is not None]
        factor, unit = scale(metric, values)
        where = f" at {place(metric)}" if place(metric) else ""
        heads.append(Head(_unit(f"{short_name(metric)}{where}", unit) + mark, True, metric))
        columns.append([_own(number, factor) for number in numbers])
    rows = [
        [Cell(arm.label, arm.label), *(column[at] for column in columns)]
        for at, arm in enumerate(section.arms)
    ]
    grid = Grid(name, f"{section.title}: costs in their own units", heads, rows)
    if mark:
        grid.notes = [f"{MODELLED} modelled"]
    return grid


def scale(metric: str, values: Sequence[float]) -> tuple[float, str]:
    """What a column's numbers are divided by and the unit that this gives, by the middle of the column."""
    name = stem(metric)
    sizes = sorted(abs(value) for value in values if value)
    middle = sizes[len(sizes) // 2] if sizes else 1.0
    if name.endswith("_s"):
        steps: tuple[tuple[float, str], ...] = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
    elif name.endswith("bytes") or name == "bytes_moved":
        steps = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
    else:
        steps = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e5, "k"), (0.0, ""))
    found = next((step for step in steps if middle >= step[0]), steps[-1])
    return {"k": 1e3, "": 1.0}.get(found[1], found[0]), found[1]


def _own(number: Number | None, factor: float) -> Cell:
    if number is None or number.value is None:
        return DASH
    note = number.ratio.note if number.ratio else ""
    return Cell(significant(number.value / factor), number.value, title=note)
