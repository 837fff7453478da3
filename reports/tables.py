"""Tables once, for HTML, Markdown and LaTeX alike: a grid of cells with what each needs to be shown, sorted and stressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from reports.arms import Arm, Number, Section
from reports.effects import Effect
from reports.forest import Forest
from reports.fronts import Front
from reports.measuring import Failure, Floor, Realised
from reports.notation import TIMES, Words, absolute, per_cent, place, short_name, significant, stem, words
from reports.scoreboard import GRADES, Chance

#: Counted costs that stand in a task's table; the others are in the folded one below it.
MOST_COSTS = 4


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        sort: what a column is sorted by; None goes last.
        strong: stressed, because its interval says so.
        tone: a class of the page's style (a verdict, `dim`).
        title: shown when pointed at.
    """

    text: str
    sort: float | str | None = None
    strong: bool = False
    tone: str = ""
    title: str = ""


@dataclass(frozen=True)
class Head:
    """The head of a column; `number` columns are set right."""

    text: str
    number: bool = False
    title: str = ""


@dataclass
class Grid:
    """A table with its caption and notes."""

    name: str
    caption: str
    heads: list[Head]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


DASH = Cell("–", None, tone="dim")


def markdown(grid: Grid) -> str:
    """The table in GitHub's Markdown, with its caption and notes."""
    from tabulate import tabulate

    body = [[f"**{escape_md(cell.text)}**" if cell.strong and cell.text else escape_md(cell.text) for cell in row] for row in grid.rows]
    heads = [escape_md(head.text) for head in grid.heads]
    aligned = ["right" if head.number else "left" for head in grid.heads]
    table = tabulate(body, heads, tablefmt="github", disable_numparse=True, colalign=aligned if body else None)
    notes = "".join(f"\n{escape_md(note)}\n" for note in grid.notes)
    return f"{escape_md(grid.caption)}\n\n{table}\n{notes}"


def escape_md(text: str) -> str:
    """Text that stays text: Markdown may carry HTML, and a bar would end a cell."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for letter in "\\`*_[]#|~$":
        text = text.replace(letter, f"\\{letter}")
    return text


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
    """A cost as a ratio to the baseline; strong where its whole interval lies below 1 by more than the band."""
    if number is None or (number.value is None and number.ratio is None):
        return Cell("–", None, tone="dim", title=number.reason if number else "")
    if number.ratio is None:
        return Cell(significant(number.value or 0.0), number.value, title=number.reason, tone="dim")
    at, effect = number.ratio.interval, number.ratio
    text = Words("ratio", "").effect(at.effect, at.low, at.high)
    return Cell(text, at.effect, strong=at.high < 1.0 - effect.band and at.high < 1.0, title=effect.note)


def arms_grid(section: Section, fronts: Sequence[Front], name: str) -> Grid:
    """All arms of a task: quality, change to the baseline, counted costs, times, front, flags."""
    metric = section.metric or {"name": "quality", "unit": "", "better": "higher"}
    value, change = words("value", metric["name"], metric), words("difference", metric["name"], metric)
    costs, times = section.shown_costs[:MOST_COSTS], _times(section)
    grid = Grid(name, f"{section.title}: every arm against {_baseline(section)}", [Head("arm"), Head(_unit(metric["name"], value.unit), True)])
    grid.heads.append(Head(_unit("change", change.unit), True, "difference to the baseline, paired by seed and test item"))
    grid.heads += [Head(f"{short_name(metric)} {TIMES}", True, metric) for metric in costs]
    grid.heads += [Head(_timed(metric), True, metric) for metric in times]
    grid.heads += [Head(f"front: {short_name(front.metric)}", title="share of draws in which nothing beats it in both") for front in fronts]
    grid.heads.append(Head("flags"))
    members = [{point.arm.id: point for point in front.points} for front in fronts]
    for arm in section.arms:
        row = [Cell(arm.label, arm.label, title=arm.id), quality_cell(arm, value), change_cell(arm.change, change, metric["better"])]
        row += [ratio_cell(arm.costs.get(metric)) for metric in costs]
        row += [ratio_cell(arm.times.get(metric)) for metric in times]
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
    return [name for name in names if any(arm.times.get(name) and arm.times[name].ratio for arm in section.arms)]


def _baseline(section: Section) -> str:
    return next((arm.label for arm in section.arms if arm.baseline), "its baseline")


def quality_cell(arm: Arm, say: Words) -> Cell:
    """Quality with its interval, or the status of cells that have none."""
    if arm.quality is None:
        bad = next((status for status in arm.statuses if status != "ok"), "no quality")
        return Cell(bad, None, tone="bad", title=arm.reason)
    at = arm.quality.interval
    note = f"{arm.statuses.get('diverged', 0)} seeds diverged and count at chance" if arm.statuses.get("diverged") else ""
    low, high = (max(0.0, at.low), min(1.0, at.high)) if say.unit == "%" else (at.low, at.high)
    return Cell(_bare(say.effect(at.effect, low, high), say), at.effect, title=note)


def _member(point: Any) -> Cell:
    if point is None:
        return DASH
    if point.share is None:
        return Cell("on it, no interval yet" if point.front else "no", float(point.front), tone="" if point.front else "dim")
    return Cell(f"{point.member}, {per_cent(point.share)}" if point.member != "no" else "no", point.share, point.member == "surely", "dim" * (point.member == "no"))


def _flags(arm: Arm) -> Cell:
    contended = any(number.ratio and "contended" in number.ratio.note for number in arm.times.values())
    parts = [*(["contended"] if contended else []), *arm.flags]
    diverged = arm.statuses.get("diverged", 0)
    return Cell(", ".join([f"{diverged} diverged"] * bool(diverged) + parts), ", ".join(parts), tone="dim")


def _notes(section: Section, times: Sequence[str]) -> list[str]:
    notes = [f"{TIMES}: ratio to the baseline; below 1 is cheaper. Counted numbers are exact and carry no interval."]
    if times:
        notes.append("Time: the fastest form of each cell, beside the baseline in the same process, interval over rounds.")
    if any(stem(name) in ("train_flops",) for name in section.shown_costs):
        notes.append("Training is the arm's own; what it starts from is not counted in it.")
    if section.basis == "modelled":
        notes.append("Every number of this task is modelled: it comes from a simulator with stated ranges, not from a clock.")
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
        cells = [DASH if n is None or n.value is None else Cell(absolute(m, n.value), n.value, title=n.ratio.note if n.ratio else "") for m, n in zip([*costs, *times], numbers, strict=True)]  # fmt: skip
        grid.rows.append([Cell(arm.label, arm.label), *cells])
    return grid


def verdicts_grid(forest: Forest, name: str) -> Grid:
    """The checks of a card with numbers, thresholds and verdicts."""
    heads = [Head("claim"), Head("check"), Head("effect, 95 % interval", True), Head("asked", True), Head("n", True), Head("direction"), Head("verdict")]
    grid = Grid(name, f"Verdicts of {forest.key} (grade {forest.grade})", heads)
    for group in forest.groups:
        for number, row in enumerate(group.rows):
            verdict = row.verdict if row.control else group.verdict
            shown = "" if number and verdict == group.verdict else verdict
            grid.rows.append([
                Cell(group.claim if number == 0 else "", group.claim), Cell(row.label), Cell(row.text or "–", row.effect),
                Cell(row.asked or "–"), Cell(str(row.n) if row.n else "–", row.n), Cell(row.direction or "–"), Cell(shown, tone=_tone(verdict), strong=True),
            ])  # fmt: skip
    grid.notes = ["A claim holds when all of its checks hold; its verdict stands in its first row."]
    return grid


def _tone(verdict: str) -> str:
    return f"v-{verdict.replace(' ', '-')}"


def scoreboard_grid(lines: Sequence[tuple[str, list[int]]]) -> Grid:
    """Outcome by grade."""
    heads = [Head("outcome"), *(Head(f"grade {grade}", True) for grade in GRADES), Head("all", True)]
    grid = Grid("scoreboard", "Claims by outcome and grade", heads)
    for outcome, counts in lines:
        inner = outcome.startswith("of which")
        cells = [Cell(str(count) if count else "·", count, tone="" if count else "dim") for count in counts]
        grid.rows.append([Cell(outcome, tone="dim" if inner else _tone(outcome), strong=not inner), *cells])
    return grid


def chance_grid(found: Sequence[Chance]) -> Grid:
    """What chance may have done, a family each."""
    heads = [Head("family"), Head("tested claims", True), Head("hold", True), Head("false ones expected, at most", True), Head("stay at a false-discovery rate of 10 %", True), Head("do not stay")]
    grid = Grid("chance", "What chance may have done (claims with an interval of some width)", heads)
    for entry in found:
        grid.rows.append([
            Cell(entry.family), Cell(str(entry.tested), entry.tested), Cell(str(entry.holds), entry.holds),
            Cell(f"{entry.expected:.2f}", entry.expected), Cell(str(entry.kept), entry.kept), Cell(", ".join(entry.lost) or "–"),
        ])  # fmt: skip
    return grid


def realised_grid(points: Sequence[Realised]) -> Grid:
    """Nominal against realised saving in numbers."""
    heads = [Head("arm"), Head("task"), Head("nominal saving", True), Head("by"), Head("realised saving of time", True), Head("kept", True), Head("form")]
    grid = Grid("realised", "Nominal against realised saving", heads)
    for point in sorted(points, key=lambda point: -point.nominal):
        kept = point.saving.effect / point.nominal
        text = Words("ratio", "").effect(point.saving.effect, point.saving.low, point.saving.high)
        grid.rows.append([
            Cell(point.label, point.label), Cell(f"{point.task}, {point.workload}"), Cell(f"{point.nominal:.3g}{TIMES}", point.nominal),
            Cell(short_name(point.by)), Cell(text, point.saving.effect, strong=point.saving.low > 1.02), Cell(per_cent(kept), kept), Cell(point.note),
        ])  # fmt: skip
    grid.notes = ["Kept: realised saving / nominal saving; 100 % is the diagonal of the figure."]
    return grid


def floors_grid(floors: Sequence[Floor]) -> Grid:
    """The noise floor in numbers."""
    heads = [Head("task"), Head("workload"), Head("pairs", True), Head("mean ratio, 95 % interval", True), Head("sd of a round", True), Head("worst", True)]
    grid = Grid("noise", "A copy of the baseline timed beside it", heads)
    for floor in floors:
        at = floor.mean
        spread = "–" if floor.spread is None else per_cent(floor.spread, 1)
        grid.rows.append([
            Cell(floor.task), Cell(floor.workload), Cell(str(len(floor.logs)), len(floor.logs)),
            Cell(Words("ratio", "").effect(at.effect, at.low, at.high), at.effect), Cell(spread, floor.spread), Cell(per_cent(floor.worst, 1), floor.worst),
        ])  # fmt: skip
    return grid


def failures_grid(found: Sequence[Failure], name: str, caption: str) -> Grid:
    """Cells without results, or null numbers, with the reason."""
    heads = [Head("arm"), Head("task"), Head("status"), Head("which"), Head("reason")]
    rows = [[Cell(f.label), Cell(f.task), Cell(f.status, tone="bad"), Cell(f.count), Cell(f.reason)] for f in found]
    return Grid(name, caption, heads, rows)


def flags_grid(found: Sequence[tuple[str, int, int]]) -> Grid:
    """How many visits carry which flag."""
    heads = [Head("flag"), Head("visits", True), Head("of", True)]
    return Grid("flags", "Flags of visits", heads, [[Cell(flag), Cell(str(n), n), Cell(str(total), total)] for flag, n, total in found])


def machines_grid(found: Sequence[tuple[dict[str, str], int]]) -> Grid:
    """Machines and software that records name."""
    keys = list(dict.fromkeys(key for env, _ in found for key in env))
    heads = [*(Head(key) for key in keys), Head("records", True)]
    return Grid("machines", "Machines and software", heads, [[*(Cell(env.get(key, "–")) for key in keys), Cell(str(n), n)] for env, n in found])
