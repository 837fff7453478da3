"""The tables of a task: every arm against the baseline, and all costs in their own units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.arms import Arm, Number, Section
from reports.effects import Effect
from reports.fronts import Front
from reports.grids import DASH, Cell, Grid, Head
from reports.notation import TIMES, Words, absolute, per_cent, place, short_name, significant, stem, words

#: Counted costs that stand in a task's table; the others are in the folded one below it.
MOST_COSTS = 4
#: Counted of the reference form, so they say little of a compressed layer: only in the folded table.
FOLDED = ("bytes_moved", "peak_live_bytes")


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
    for arm in section.arms:
        row = [
            Cell(arm.label, arm.label, title=arm.id),
            quality_cell(arm, value),
            change_cell(arm.change, change, metric["better"]),
        ]
        row += [ratio_cell(arm.times.get(metric)) for metric in times]
        row += [ratio_cell(arm.costs.get(metric)) for metric in costs]
        row += [_member(points.get(arm.id)) for points in members]
        grid.rows.append([*row, _flags(arm)])
    grid.notes = _notes(section, times)
    return grid


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
            "Every number of this task is modelled: from a simulator with stated ranges, not from a clock."
        )
    if section.equal_costs:
        notes.append(f"Equal for all arms: {', '.join(section.equal_costs)}.")
    notes.append("Bold: the whole interval is better than the baseline by more than the indifference band.")
    return notes


def costs_grid(section: Section, name: str) -> Grid:
    """Every counted and timed number of a task in its own unit."""
    costs, times = section.cost_names, _times(section)
    heads = [Head("arm"), *(Head(metric, True) for metric in [*costs, *times])]
    grid = Grid(name, f"{section.title}: costs in their own units", heads)
    for arm in section.arms:
        numbers = [arm.costs.get(metric) for metric in costs] + [arm.times.get(metric) for metric in times]
        cells = [_own(metric, number) for metric, number in zip([*costs, *times], numbers, strict=True)]
        grid.rows.append([Cell(arm.label, arm.label), *cells])
    return grid


def _own(metric: str, number: Number | None) -> Cell:
    if number is None or number.value is None:
        return DASH
    return Cell(absolute(metric, number.value), number.value, title=number.ratio.note if number.ratio else "")
