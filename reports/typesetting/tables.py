"""The tables of a page: verdicts, scoreboard, realised saving, noise, failures, machines."""

from __future__ import annotations

from collections.abc import Sequence

from reports.judging.forest import Forest
from reports.judging.measuring import Failure, Floor, Realised
from reports.judging.scoreboard import GRADES, Chance
from reports.judging.verdicts import HOLDS, SHORT
from reports.notation import TIMES, Words, per_cent, short_name
from reports.typesetting.grids import Cell, Grid, Head
from reports.typesetting.task_tables import MODELLED

#: What flags of visits mean.
FLAGS = {
    "neighbour": "other processes took more than a tenth of the CPU meanwhile",
    "preempted": "fewer than eight samples had the CPU to themselves, so CPU time stands in for wall time",
    "clocks disagree": "wall and CPU time differ by more than noise explains",
}
EMULATED = (
    "Emulated: this device has no kernel for the compressed form, so its time would say nothing and is null."
)


def verdicts_grid(forest: Forest, name: str) -> Grid:
    """The checks of a card with numbers, thresholds and verdicts."""
    heads = [
        Head("claim"),
        Head("check"),
        Head("effect, 95 % interval", True),
        Head("asked", True),
        Head("n", True),
        Head("direction"),
        Head("verdict"),
    ]
    grid = Grid(name, f"Verdicts of {forest.key} (grade {forest.grade})", heads)
    for group in forest.groups:
        for number, row in enumerate(group.rows):
            verdict = row.verdict if row.control else group.verdict
            shown = "" if number and verdict == group.verdict else verdict
            modelled = row.basis == "modelled"
            sure = verdict in (HOLDS, SHORT)
            grid.rows.append([
                Cell(group.claim if number == 0 else "", group.claim), Cell(row.label),
                Cell(row.text + MODELLED * modelled if row.text else "–", row.effect), Cell(row.asked or "–"),
                Cell(str(row.n) if row.n else "–", row.n),
                Cell(row.direction or "–"), Cell(shown, tone=_tone(verdict), strong=sure),
            ])  # fmt: skip
    grid.notes = ["A claim holds when all of its checks hold; its verdict stands in its first row."]
    if any(row.basis == "modelled" for group in forest.groups for row in group.rows):
        grid.notes.append(f"{MODELLED} modelled: from a simulator with stated ranges, not from a clock.")
    return grid


def _tone(verdict: str) -> str:
    return f"v-{verdict.replace(' ', '-')}"


def scoreboard_grid(
    lines: Sequence[tuple[str, list[int]]],
    name: str = "scoreboard",
    title: str = "Claims of papers, by outcome and grade",
) -> Grid:
    """Outcome by grade."""
    heads = [Head("outcome"), *(Head(f"grade {grade}", True) for grade in GRADES), Head("all", True)]
    grid = Grid(name, title, heads)
    for outcome, counts in lines:
        inner = outcome.startswith("of which")
        cells = [Cell(str(count) if count else "·", count, tone="" if count else "dim") for count in counts]
        grid.rows.append(
            [
                Cell(
                    f"– {outcome}" if inner else outcome,
                    tone="dim" if inner else _tone(outcome),
                ),
                *cells,
            ]
        )
    return grid


def chance_grid(found: Sequence[Chance]) -> Grid:
    """What chance may have done, a family each."""
    heads = [
        Head("family"),
        Head("tested claims", True),
        Head("hold", True),
        Head("false ones expected, at most", True),
        Head("stay at a false-discovery rate of 10 %", True),
        Head("do not stay"),
    ]
    grid = Grid("chance", "What chance may have done (claims with an interval of some width)", heads)
    for entry in found:
        grid.rows.append([
            Cell(entry.family), Cell(str(entry.tested), entry.tested), Cell(str(entry.holds), entry.holds),
            Cell(f"{entry.expected:.2f}", entry.expected), Cell(str(entry.kept), entry.kept),
            Cell(", ".join(entry.lost) or "–"),
        ])  # fmt: skip
    return grid


def realised_grid(points: Sequence[Realised]) -> Grid:
    """Nominal against realised saving in numbers."""
    heads = [
        Head("arm"),
        Head("task"),
        Head("nominal saving", True),
        Head("by"),
        Head("realised saving of time", True),
        Head("kept", True),
        Head("form"),
    ]
    grid = Grid("realised", "Nominal against realised saving", heads)
    for point in sorted(points, key=lambda point: -point.nominal):
        kept = point.saving.effect / point.nominal
        text = Words("ratio", "").effect(point.saving.effect, point.saving.low, point.saving.high)
        grid.rows.append([
            Cell(point.label, point.label), Cell(f"{point.task}, {point.workload}"),
            Cell(f"{point.nominal:.3g}{TIMES}", point.nominal), Cell(short_name(point.by)),
            Cell(text, point.saving.effect, strong=point.saving.low > 1.02), Cell(per_cent(kept), kept),
            Cell(point.note),
        ])  # fmt: skip
    grid.notes = [
        "Kept: realised saving / nominal saving; 100 % is the diagonal of the figure. "
        "Bold: the whole interval is faster than the baseline by more than 2 %."
    ]
    return grid


def floors_grid(floors: Sequence[Floor]) -> Grid:
    """The noise floor in numbers."""
    heads = [
        Head("task"),
        Head("workload"),
        Head("pairs", True),
        Head("mean ratio, 95 % interval", True),
        Head("sd of a round", True),
        Head("worst", True),
    ]
    grid = Grid("noise", "A copy of the baseline timed beside it", heads)
    for floor in floors:
        at = floor.mean
        spread = "–" if floor.spread is None else per_cent(floor.spread, 1)
        grid.rows.append([
            Cell(floor.task), Cell(floor.workload), Cell(str(len(floor.logs)), len(floor.logs)),
            Cell(Words("ratio", "").effect(at.effect, at.low, at.high), at.effect),
            Cell(spread, floor.spread),
            Cell(per_cent(floor.worst, 1), floor.worst),
        ])  # fmt: skip
    return grid


def failures_grid(found: Sequence[Failure], name: str, caption: str) -> Grid:
    """Cells without results, or null numbers, with the reason."""
    heads = [Head("arm"), Head("task"), Head("status"), Head("which"), Head("reason")]
    rows = [
        [Cell(f.label), Cell(f.task), Cell(f.status, tone="bad"), Cell(f.count), Cell(f.reason)]
        for f in found
    ]
    notes = [EMULATED] if any(f.reason == "emulated" for f in found) else []
    return Grid(name, caption, heads, rows, notes)


def flags_grid(found: Sequence[tuple[str, int, int]]) -> Grid:
    """How many visits carry which flag."""
    heads = [Head("flag"), Head("visits", True), Head("of", True), Head("what it means")]
    rows = [
        [Cell(flag), Cell(str(n), n), Cell(str(total), total), Cell(FLAGS.get(flag, ""))]
        for flag, n, total in found
    ]
    return Grid("flags", "Flags of visits", heads, rows)


def machines_grid(found: Sequence[tuple[dict[str, str], int]]) -> Grid:
    """Machines and software that records name."""
    keys = list(dict.fromkeys(key for env, _ in found for key in env))
    heads = [*(Head(key) for key in keys), Head("records", True)]
    return Grid(
        "machines",
        "Machines and software",
        heads,
        [[*(Cell(env.get(key, "–")) for key in keys), Cell(str(n), n)] for env, n in found],
    )
