"""Where everything of a forest plot stands, before anything is drawn: two layouts of the same marks.

As wide as a page's text, with a check's name beside its track, and as wide as a column, with the name above.
All lengths are points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from reports.drawing import typeset
from reports.judging.forest import Forest, Group, Row
from reports.judging.verdicts import UNCLEAR
from reports.notation import fixed

#: Shape of the estimate by direction: which way the effect went from `no difference`.
SHAPES = {"as claimed": ">", "reversed": "<", "none": "s", "": "o"}


@dataclass(frozen=True)
class Layout:
    """Where things stand, in points.

    Attributes:
        width: of the figure.
        track: left and right end of the axis.
        label: left end and room of a check's name, `above` its track or beside it.
        numbers, asked: left end of effect with interval; right end of what was asked, None below the effect.
        head, small: font sizes of claims and of checks.
        lines: lines that a claim and a check's name may take.
    """

    width: float
    track: tuple[float, float]
    label: tuple[float, float]
    above: bool
    numbers: float
    asked: float | None
    head: float
    small: float
    lines: tuple[int, int]

    @property
    def step(self) -> float:
        """From one line of small text to the next."""
        return self.small * 1.28


PAGE = Layout(504.0, (186.0, 330.0), (9.0, 170.0), False, 338.0, 504.0, 7.4, 6.5, (2, 2))
COLUMN = Layout(245.0, (2.0, 138.0), (0.0, 243.0), True, 145.0, None, 6.8, 6.0, (3, 2))


@dataclass(frozen=True)
class Placed:
    """A check with its name in lines and the height that it takes."""

    row: Row
    lines: list[str]
    reason: list[str]
    height: float


@dataclass(frozen=True)
class Block:
    """A claim with its words in lines."""

    group: Group
    says: list[str]
    end: str
    head: float
    checks: list[Placed]

    @property
    def height(self) -> float:
        """Of the claim and its checks together."""
        return self.head + sum(check.height for check in self.checks) + 3.0


def tick_label(tick: float) -> str:
    """`−10`, `0`, `+3`."""
    return ("+" if tick > 0 else "") + fixed(tick, 0)


def block_of(forest: Forest, group: Group, layout: Layout) -> Block:
    """A claim broken into lines."""
    control = bool(group.rows) and group.rows[0].control
    says = group.says if not group.own or control else f"{group.says} (our own question)"
    end = group.verdict if control else f"{group.verdict}, {forest.grade}"
    room = layout.width - typeset.width(end, layout.head, bold=True) - 12.0
    lines = typeset.wrap(says, layout.head, room, layout.lines[0])
    checks = [_placed(row, layout) for row in group.rows]
    return Block(group, lines, end, 6.0 + 1.25 * layout.head * len(lines), checks)


def _placed(row: Row, layout: Layout) -> Placed:
    left, room = layout.label
    text = row.short
    if row.effect is None:
        reason = row.reason or "no numbers"
        start = left if layout.above or not text else layout.track[0]
        told = typeset.wrap(reason, layout.small, layout.width - start - 2.0, 2)
        names = _names(text, layout, room) if text else []
        count = len(names) + len(told) if layout.above else max(len(names), len(told))
        return Placed(row, names, told, 4.0 + layout.step * count)
    names = _names(text, layout, room)
    if layout.above:
        return Placed(row, names, [], layout.step * len(names) + 20.0)
    return Placed(row, names, [], max(17.0, 6.0 + layout.step * len(names)))


def _names(text: str, layout: Layout, room: float) -> list[str]:
    """Who against whom in what: broken between these where they do not fit on one line, else within names."""
    metric, colon, rest = text.partition(": ")
    of, against, other = rest.partition(" against ")
    parts = [part for part in (metric + colon.rstrip(), of, f"against {other}" if against else "") if part]
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]} {part}" if lines else part
        if lines and typeset.width(joined, layout.small) <= room:
            lines[-1] = joined
        else:
            lines += typeset.wrap(part, layout.small, room, layout.lines[1])
    return lines


def off_axis(forest: Forest, value: float) -> bool:
    """Whether a number lies beyond the ends of the axis: it is told by an arrow, never drawn as if it were there."""
    return math.isinf(value) or not -forest.left * 1.0001 <= value <= forest.right * 1.0001


def key_rows(forest: Forest, layout: Layout) -> list[list[tuple[str, str]]]:
    """Samples that this forest needs, in rows that fit."""
    drawn = [row for group in forest.groups for row in group.rows if row.effect is not None]
    shapes = {"as claimed": "as claimed", "reversed": "reversed", "none": "no difference", "": "no direction"}
    samples = [(SHAPES[key], told) for key, told in shapes.items() if any(r.direction == key for r in drawn)]
    samples += [("hollow", "unclear")] * any(row.verdict == UNCLEAR for row in drawn)
    samples += [("zone", "band around no difference")] * any(row.zone for row in drawn)
    samples += [("dots", "seeds or rounds")] * any(row.replicates for row in drawn)
    beyond = any(off_axis(forest, end) for row in drawn for end in (row.low, row.high))
    samples += [("arrow", "goes on beyond the axis")] * beyond
    bare = any("no band" in row.unit for row in drawn)
    samples += [("", "without a band one step is 2 % (ratios), else 1 % of the threshold")] * bare
    rows: list[list[tuple[str, str]]] = [[]]
    x = 0.0
    for kind, told in samples:
        wide = typeset.width(told, layout.small - 0.3) + (23.0 if kind else 9.0)
        if rows[-1] and x + wide > layout.width:
            rows.append([])
            x = 0.0
        rows[-1].append((kind, told))
        x += wide
    return rows if samples else []


def spaced(forest: Forest, least: float = 0.085) -> list[float]:
    """Ticks that do not run into each other; 0 and the outer ones first."""
    kept: list[float] = []
    for tick in sorted(forest.ticks, key=lambda tick: (tick != 0, -abs(tick) if abs(tick) != 1 else -1e9)):
        if all(abs(forest.at(tick) - forest.at(other)) >= least for other in kept):
            kept.append(tick)
    return sorted(kept)
