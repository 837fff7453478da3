"""The forest plot as a figure for papers; reports/tracks.py draws the page's from the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.drawing import typeset
from reports.drawing.forestlayout import (
    COLUMN,
    PAGE,
    SHAPES,
    Block,
    Layout,
    Placed,
    block_of,
    key_rows,
    off_axis,
    spaced,
    tick_label,
)
from reports.judging.forest import Forest, Row
from reports.judging.verdicts import HOLDS, SHORT, UNCLEAR, UNTESTED

#: Colour of a verdict: told apart with every common colour blindness, and always named beside.
COLORS = {HOLDS: "#0072B2", SHORT: "#D55E00", UNCLEAR: "#5c5c5c", UNTESTED: "#767676"}
INK, SOFT, FAINT, GRID, ASKED, ZONE = "#222222", "#555555", "#6f6f6f", "#ececec", "#e6f1f8", "#c9c9c9"


def figure(forest: Forest, layout: Layout = PAGE) -> Any:
    """The whole forest."""
    from reports.drawing.palette import pyplot

    plt = pyplot()
    blocks = [block_of(forest, group, layout) for group in forest.groups]
    key = key_rows(forest, layout)
    top = 15.0
    height = top + sum(block.height for block in blocks) + 34.0 + 9.5 * len(key)
    drawn = plt.figure(figsize=(layout.width / 72, height / 72))
    drawn.set_layout_engine("none")
    axes = drawn.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(-1.0, layout.width)
    axes.set_ylim(height, 0)
    pen = Pen(axes, forest, layout)
    pen.head(top - 4.0)
    y = top
    for block in blocks:
        pen.block(block, y)
        y += block.height
    pen.axis(y)
    pen.key(key, y + 36.0)
    return drawn


def column(forest: Forest) -> Any:
    """The same as wide as a column."""
    return figure(forest, COLUMN)


@dataclass(frozen=True)
class Pen:
    """Draws on axes whose units are points."""

    axes: Any
    forest: Forest
    layout: Layout

    def x(self, value: float) -> float:
        """Where a number of units stands."""
        left, right = self.layout.track
        return left + (right - left) * self.forest.at(value)

    def text(self, x: float, y: float, told: str, **how: Any) -> None:
        """A line of small text, its middle at y."""
        style = {"fontsize": self.layout.small, "color": SOFT, "va": "center_baseline"} | how
        self.axes.text(x, y, told, **style)

    def line(self, x0: float, x1: float, y0: float, y1: float, color: str, lw: float, z: float) -> None:
        """A straight line with ends as they are."""
        self.axes.plot([x0, x1], [y0, y1], color=color, lw=lw, solid_capstyle="butt", zorder=z)

    def head(self, y: float) -> None:
        """What the sides of the line and the columns are."""
        line, layout = self.x(0.0), self.layout
        left = "falls short ◂"
        if line - typeset.width(left, layout.small) - 4 < 0:
            left = "short ◂"
        self.text(line - 4, y, left, ha="right", color=FAINT)
        self.text(line + 4, y, "▸ holds", ha="left", color=FAINT)
        self.text(
            layout.numbers, y, "effect [95 %]" if layout.above else "effect, 95 % interval", color=FAINT
        )
        if layout.asked is not None:
            self.text(layout.asked, y, "asked", ha="right", color=FAINT)

    def block(self, block: Block, y: float) -> None:
        """A claim's words and its checks."""
        layout, control = self.layout, bool(block.group.rows) and block.group.rows[0].control
        self.line(0, layout.width, y, y, "#d9d9d9", 0.5, 0)
        ink = {"fontsize": layout.head, "color": FAINT if control else INK}
        for number, told in enumerate(block.says):
            self.text(0.0, y + 4.0 + 1.25 * layout.head * (number + 0.5), told, **ink)
        strong = {"fontsize": layout.head, "fontweight": "bold", "color": COLORS[block.group.verdict]}
        self.text(layout.width, y + 4.0 + 0.625 * layout.head, block.end, ha="right", **strong)
        y += block.head
        for check in block.checks:
            self.check(check, y)
            y += check.height

    def check(self, check: Placed, y: float) -> None:
        """A check: its name, its track, its numbers; or why there are none."""
        layout, row = self.layout, check.row
        lines = check.lines
        begin = y + 2.0 if layout.above else y + (check.height - layout.step * len(lines)) / 2
        for number, told in enumerate(lines):
            self.text(layout.label[0], begin + layout.step * (number + 0.5), told)
        if row.effect is None:
            x = layout.label[0] if layout.above or not lines else layout.track[0]
            below = layout.step * len(lines) if layout.above else 0.0
            for number, told in enumerate(check.reason):
                self.text(
                    x, y + 2.0 + below + layout.step * (number + 0.5), told, style="italic", color=FAINT
                )
            return
        top = y + layout.step * len(lines) + 2.0 if layout.above else y
        self.track(row, top, y + check.height)
        self.numbers(row, (top + y + check.height) / 2)

    def numbers(self, row: Row, y: float) -> None:
        """Effect and interval, and what was asked, in the metric's own unit; made small where long."""
        layout = self.layout
        right = layout.width if layout.asked is None else layout.asked
        told = f"asked {row.asked}" if layout.asked is None else row.asked
        taken = 0.0 if layout.asked is None else typeset.width(told, layout.small) + 6.0
        room = right - layout.numbers - taken
        size = min(layout.small, layout.small * room / typeset.width(row.text, layout.small))
        text = row.text if size >= 4.8 else typeset.cut(row.text, 4.8, room)
        up = 0.5 * layout.step if layout.asked is None else 0.0
        self.text(layout.numbers, y - up, text, fontsize=max(size, 4.8), color=INK)
        if layout.asked is None:
            self.text(layout.numbers, y + up, typeset.cut(told, layout.small, right - layout.numbers))
        else:
            self.text(right, y, told, ha="right")

    def track(self, row: Row, top: float, bottom: float) -> None:
        """What was asked, the band around no difference, the estimate with its interval."""
        assert row.effect is not None
        forest, y = self.forest, (top + bottom) / 2 + 1.5
        left, right = self.layout.track
        edge = right if row.limit is None else self.x(row.limit)
        self.axes.fill_between([self.x(0.0), edge], top, bottom, color=ASKED, lw=0, zorder=0)
        for tick in spaced(forest):
            self.line(
                self.x(tick), self.x(tick), top, bottom, GRID if tick else INK, 0.5 if tick else 0.9, 0.5
            )
        if row.limit is not None:
            self.line(edge, edge, top, bottom, INK, 0.9, 2)
        if row.zone and not (off_axis(forest, row.zone[0]) and off_axis(forest, row.zone[1])):
            self._zone(row.zone, y)
        color = COLORS[row.verdict]
        for value in row.replicates:
            self.axes.plot([self.x(value)], [y - 5.2], "o", color=color, ms=1.5, alpha=0.6, mew=0, zorder=3)
        self.line(self.x(row.low), self.x(row.high), y, y, color, 1.5, 3)
        for end, shape in ((row.low, "<"), (row.high, ">")):
            if off_axis(forest, end):
                self.axes.plot([self.x(end)], [y], shape, color=color, ms=3.4, mew=0, zorder=3, clip_on=False)
        if not off_axis(forest, row.effect):
            face = color if row.verdict in (HOLDS, SHORT) else "white"
            shape = SHAPES[row.direction]
            size = 4.2 if shape == "s" else 4.8
            self.axes.plot(
                [self.x(row.effect)], [y], shape, color=color, mfc=face, mew=0.9, ms=size, zorder=4
            )

    def _zone(self, zone: tuple[float, float], y: float) -> None:
        """The band around no difference, its middle marked; a line where it has no width."""
        a, b = (self.x(end) for end in zone)
        self.axes.fill_between([a, max(b, a + 0.6)], y - 3.0, y + 3.0, color=ZONE, lw=0, zorder=1)
        if zone[1] > zone[0]:
            middle = self.x((zone[0] + zone[1]) / 2)
            self.line(middle, middle, y - 3.0, y + 3.0, "white", 0.8, 1.5)

    def axis(self, y: float) -> None:
        """Ticks and what they count."""
        left, right = self.layout.track
        self.line(left, right, y, y, "#888888", 0.6, 1)
        for tick in spaced(self.forest, 0.085 if not self.layout.above else 0.1):
            x = self.x(tick)
            self.line(x, x, y, y + 2.6, "#888888", 0.6, 1)
            self.text(x, y + 8.0, tick_label(tick), ha="center")
        told = "indifference bands from the threshold (asinh scale)"
        middle = (left + right) / 2
        half = typeset.width(told, self.layout.small) / 2
        self.text(max(half, middle), y + 17.5, told, ha="center")

    def key(self, rows: Sequence[Sequence[tuple[str, str]]], y: float) -> None:
        """What shapes and colours mean, once."""
        size = self.layout.small - 0.3
        for row in rows:
            x = 0.0
            for kind, told in row:
                x = self._sample(kind, x, y)
                self.text(x, y, told, fontsize=size, color=FAINT)
                x += typeset.width(told, size) + 9.0
            y += 9.5

    def _sample(self, kind: str, x: float, y: float) -> float:
        """A sample of a mark; returns where its words begin."""
        y -= 0.4
        if kind == "zone":
            self.axes.fill_between([x, x + 11], y - 2.6, y + 2.6, color=ZONE, lw=0)
            self.line(x + 5.5, x + 5.5, y - 2.6, y + 2.6, "white", 0.8, 1.5)
            return x + 14.0
        if kind == "dots":
            for at in (1.0, 4.0, 8.0):
                self.axes.plot([x + at], [y], "o", color=FAINT, ms=1.5, mew=0)
            return x + 12.0
        if kind == "arrow":
            self.line(x, x + 9, y, y, FAINT, 1.5, 3)
            self.axes.plot([x + 9], [y], ">", color=FAINT, ms=3.4, mew=0)
            return x + 14.0
        if not kind:
            return x
        face = "white" if kind == "hollow" else FAINT
        shape = "o" if kind == "hollow" else kind
        self.axes.plot([x + 2.5], [y], shape, color=FAINT, mfc=face, mew=0.9, ms=4.2)
        return x + 8.0
