"""The forest plot as a figure for papers; reports/tracks.py draws the page's from the same numbers."""

from __future__ import annotations

import math
from typing import Any

from reports.forest import Forest, Group, Row
from reports.notation import fixed, shorten
from reports.verdicts import HOLDS, SHORT, UNCLEAR, UNTESTED

#: Colour of a verdict: told apart with every common colour blindness, and always named beside.
COLORS = {HOLDS: "#0072B2", SHORT: "#D55E00", UNCLEAR: "#6b6b6b", UNTESTED: "#a3a3a3"}
#: Shape of the estimate by direction: which way the effect went from `no difference`.
SHAPES = {"as claimed": ">", "reversed": "<", "none": "s", "": "o"}
#: Heights of a claim's line and of a check's, and of the axis, inches.
HEAD, LINE, AXIS = 0.24, 0.235, 0.5
WIDTH = 7.0
#: Where the track lies, and where the texts on its right begin, as shares of the width.
TRACK, NUMBERS, ASKED = (0.375, 0.675), 0.69, 0.862


def tick_label(tick: float) -> str:
    """`−10`, `0`, `+3`."""
    return ("+" if tick > 0 else "") + fixed(tick, 0)


def figure(forest: Forest) -> Any:
    """The whole forest as a figure as wide as a page's text."""
    from reports.figures import pyplot

    plt = pyplot()
    height = AXIS + 0.2 + sum(HEAD + LINE * len(group.rows) for group in forest.groups)
    drawn = plt.figure(figsize=(WIDTH, height))
    drawn.set_layout_engine("none")
    axes = drawn.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, height)
    y = height - 0.2
    _head(axes, forest, y)
    top = y
    for group in forest.groups:
        y = _group(axes, forest, group, y)
    _axis(axes, forest, top, y)
    return drawn


def _x(forest: Forest, value: float) -> float:
    return TRACK[0] + (TRACK[1] - TRACK[0]) * forest.at(value)


def _head(axes: Any, forest: Forest, y: float) -> None:
    small = {"fontsize": 6.3, "color": "#777777", "va": "bottom"}
    line = _x(forest, 0.0)
    axes.text(line - 0.008, y + 0.03, "falls short ◂", ha="right", **small)
    axes.text(line + 0.008, y + 0.03, "▸ holds", ha="left", **small)
    axes.text(NUMBERS, y + 0.03, "effect, 95 % interval", **small)
    axes.text(ASKED, y + 0.03, "asked", **small)
    axes.text(1.0, y + 0.03, "verdict, grade", ha="right", **small)


def _group(axes: Any, forest: Forest, group: Group, y: float) -> float:
    """A claim's line and its checks; returns the height below them."""
    color = COLORS[group.verdict]
    control = group.rows[0].control if group.rows else False
    axes.plot([0, 1], [y, y], color="#dddddd", lw=0.5, zorder=0)
    says = group.says if not group.own or control else f"{group.says} (our own question)"
    middle = y - HEAD / 2 - 0.01
    axes.text(
        0, middle, shorten(says, 92), fontsize=7.2, va="center", color="#777777" if control else "#222222"
    )
    end = group.verdict if control else f"{group.verdict}, {forest.grade}"
    axes.text(1.0, middle, end, fontsize=7.2, va="center", ha="right", color=color, fontweight="bold")
    y -= HEAD
    for row in group.rows:
        _row(axes, forest, row, y - LINE / 2)
        y -= LINE
    return y


def _row(axes: Any, forest: Forest, row: Row, y: float) -> None:
    small = {"fontsize": 6.3, "va": "center"}
    axes.text(0.012, y, shorten(row.short, 60), color="#666666", **small)
    if row.effect is None:
        told = shorten(row.reason or "no numbers", 60)
        axes.text((TRACK[0] + TRACK[1]) / 2, y, told, color="#999999", ha="center", style="italic", **small)
        return
    color = COLORS[row.verdict]
    edge = _x(forest, forest.right) if row.limit is None else _x(forest, row.limit)
    axes.fill_between([_x(forest, 0.0), edge], y - LINE / 2, y + LINE / 2, color="#eef5fa", lw=0, zorder=0)
    if row.limit is not None:
        axes.plot([edge] * 2, [y - LINE / 2, y + LINE / 2], color="#222222", lw=0.8, zorder=2)
    if row.zone:
        a, b = (_x(forest, end) for end in row.zone)
        axes.plot([a, max(b, a + 0.0015)], [y, y], color="#d4d4d4", lw=6.5, solid_capstyle="butt", zorder=1)
    for value in row.replicates:
        axes.plot([_x(forest, value)], [y + 0.068], ".", color=color, ms=2.2, alpha=0.55, mew=0, zorder=3)
    low, high = _x(forest, row.low), _x(forest, row.high)
    axes.plot([low, high], [y, y], color=color, lw=1.5, solid_capstyle="butt", zorder=3)
    for end, at, shape in ((row.low, low, "<"), (row.high, high, ">")):
        if math.isinf(end) or not -forest.left <= end <= forest.right * 1.0001:
            axes.plot([at], [y], shape, color=color, ms=3, mew=0, zorder=3)
    face = color if row.verdict in (HOLDS, SHORT) else "white"
    axes.plot(
        [_x(forest, row.effect)], [y], SHAPES[row.direction], color=color, mfc=face, mew=0.9, ms=5, zorder=4
    )
    axes.text(NUMBERS, y, shorten(row.text, 36), color="#222222", **small)
    axes.text(ASKED, y, shorten(row.asked, 30), color="#666666", **small)


def _axis(axes: Any, forest: Forest, top: float, y: float) -> None:
    axes.plot([_x(forest, 0.0)] * 2, [y, top], color="#222222", lw=0.9, zorder=2)
    axes.plot([TRACK[0], TRACK[1]], [y, y], color="#888888", lw=0.6)
    for tick in spaced(forest):
        x = _x(forest, tick)
        axes.plot([x, x], [y, y - 0.035], color="#888888", lw=0.6)
        if tick:
            axes.plot([x, x], [y, top], color="#f0f0f0", lw=0.5, zorder=0)
        axes.text(x, y - 0.05, tick_label(tick), fontsize=6.5, ha="center", va="top", color="#444444")
    told = "distance from the threshold, in indifference bands"
    axes.text((TRACK[0] + TRACK[1]) / 2, y - 0.19, told, fontsize=6.5, ha="center", va="top", color="#444444")
    key = (
        "▸ as claimed  ◂ reversed  ■ no difference  ● no direction     hollow: unclear     "
        "grey: the band around no difference     dots: seeds or rounds"
    )
    axes.text(0.0, y - 0.36, key, fontsize=6.0, ha="left", va="top", color="#777777")


def spaced(forest: Forest, least: float = 0.085) -> list[float]:
    """Ticks that do not run into each other; 0 and the outer ones first."""
    kept: list[float] = []
    for tick in sorted(forest.ticks, key=lambda tick: (tick != 0, -abs(tick) if abs(tick) != 1 else -1e9)):
        if all(abs(forest.at(tick) - forest.at(other)) >= least for other in kept):
            kept.append(tick)
    return sorted(kept)
