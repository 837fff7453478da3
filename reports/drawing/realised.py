"""Nominal against realised saving: what a count promises and what the clock sees, a point an arm.

Nominal is counted (FLOPs or non-zero weights; stored bytes where neither moved), realised is the time of the
fastest form against the baseline of the same rounds. An arm whose compressed form has no kernel on this machine
was not timed: it stands in a strip of its own at what it promises, and has no height.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.drawing import labels
from reports.drawing.palette import COLUMN, INK, log_ticks, marks_of, pyplot
from reports.judging.arms import Arm, Section
from reports.judging.measuring import Realised, _nominal
from reports.notation import TIMES, words

#: Smallest promise that is one (as in reports/judging/measuring.py).
LEAST = 1.02
#: How a mark is filled by what was counted: (fillstyle, in words).
BY = {
    "nonzero": ("none", "non-zero weights"),
    "flops": ("full", "FLOPs"),
    "stored_bytes": ("bottom", "stored bytes"),
}
SLOW = "#f6ece4"


@dataclass(frozen=True)
class Promise:
    """What an arm saves by count where no clock could see it, and why not."""

    label: str
    task: str
    family: str
    nominal: float
    by: str
    reason: str


def promises(sections: Sequence[Section]) -> list[Promise]:
    """Arms that promise a saving and run here only as an emulation, so that their time would say nothing."""
    found = []
    for section in sections:
        for arm in section.arms:
            time = arm.times.get(f"latency_s@{section.main}")
            if arm.baseline or time is None or time.ratio is not None or "emulated" not in time.reason:
                continue
            by, nominal = _nominal(
                {name: n.ratio.interval.effect for name, n in arm.costs.items() if n.ratio}
            )
            if nominal > LEAST:
                found.append(Promise(arm.label, section.title, arm.family, nominal, by, time.reason))
    return found


def prices(sections: Sequence[Section]) -> dict[tuple[str, str], str]:
    """(task, arm) -> what the saving costs in quality: `−1.1 pt`, `output error +3.3 pt`."""
    return {
        (section.title, arm.label): _price(section, arm)
        for section in sections
        if section.metric is not None
        for arm in section.arms
        if arm.change is not None and not arm.baseline
    }


def _price(section: Section, arm: Arm) -> str:
    metric = section.metric or {}
    say = words("difference", metric["name"], metric)
    assert arm.change is not None
    at = arm.change.interval
    told = say.effect(at.effect, at.low, at.high, sign=True).partition(" [")[0].replace(" points", " pt")
    # a plus reads as a gain unless the thing is named of which there is more
    return f"{metric['name'].replace('_', ' ')} {told}" if metric["better"] == "lower" else told


def figure(
    points: Sequence[Realised],
    emulated: Sequence[Promise] = (),
    families: Sequence[str] = (),
    price: Mapping[tuple[str, str], str] | None = None,
    names: int = 16,
) -> Any:
    """The figure; `families` fix marks and colours, `price` says what a saving costs in quality."""
    plt = pyplot()
    extra = 0.5 if emulated else 0.0
    drawn, both = plt.subplots(
        2 if emulated else 1,
        1,
        squeeze=False,
        sharex=True,
        figsize=(COLUMN, 3.8 + extra),
        gridspec_kw={"height_ratios": [3.8, 0.42], "hspace": 0.04} if emulated else None,
    )
    axes = both[0][0]
    savings = [point.saving for point in points]
    most = 1.35 * max(
        [2.0, *(p.nominal for p in points), *(p.nominal for p in emulated), *(s.effect for s in savings)]
    )
    least = min([0.75, *(saving.effect / 1.3 for saving in savings)])
    _ground(axes, most, least)
    marks = marks_of([*families, *_families(points, emulated)])
    for point in points:
        _point(axes, point, marks[point.family], (least, most))
    axes.set_ylabel(f"realised saving of time, {TIMES} (measured)")
    where = {(point.task, point.workload) for point in points}
    if len(where) == 1:  # a saving at one batch says nothing of another
        task, workload = where.pop()
        axes.set_title(f"{task}, {workload}, one thread", loc="left", fontsize=7)
    log_ticks(axes.yaxis, least, most)
    below = both[-1][0]
    if emulated:
        _strip(below, emulated, marks)
    below.set_xlabel(f"nominal saving, {TIMES} (counted)")
    log_ticks(below.xaxis, 0.9, most)
    notes = [_legends(axes, points, emulated, marks), *_notes(axes, most, least)]
    _names(axes, points, price or {}, names, notes)
    return drawn


def _families(points: Sequence[Realised], emulated: Sequence[Promise]) -> set[str]:
    return {point.family for point in points} | {promise.family for promise in emulated}


def _ground(axes: Any, most: float, least: float) -> None:
    """The lines of a kept promise, and where an arm is slower than what it wants to replace."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.9, most)
    axes.set_ylim(least, most)
    axes.fill_between([0.9, most], 1.0, least, color=SLOW, lw=0, zorder=0)
    axes.axhline(1.0, color=INK, lw=0.7, zorder=1)
    axes.plot([1, most], [1, most], color=INK, lw=0.9, zorder=1)
    for share in (0.5, 0.1):
        axes.plot([1 / share, most], [1, most * share], color="#bdbdbd", lw=0.6, ls=(0, (4, 2)), zorder=1)


def _notes(axes: Any, most: float, least: float) -> list[Any]:
    """Names of the lines; a line's angle on the page follows from the axes, so these come when all else stands."""
    axes.figure.draw_without_rendering()
    box = axes.get_window_extent()
    angle = math.degrees(math.atan2(box.height / math.log(most / least), box.width / math.log(most / 0.9)))
    along = {"rotation": angle, "rotation_mode": "anchor", "fontsize": 6.3, "va": "bottom", "ha": "right"}
    notes = []
    for share, told in ((1.0, "realised = nominal"), (0.5, "half of it"), (0.1, "a tenth of it")):
        if most * 0.93 * share > 2.0:
            color = "#444444" if share == 1.0 else "#7a7a7a"
            notes.append(axes.text(most * 0.93, most * 0.93 * share * 1.03, told, color=color, **along))
    how = {"fontsize": 6.3, "color": "#7a4a25", "va": "center", "ha": "right"}
    middle = math.sqrt(least)
    notes.append(axes.text(most * 0.96, middle, "slower than the model it replaces", **how))
    return notes


def _point(axes: Any, point: Realised, mark: tuple[str, str], window: tuple[float, float]) -> None:
    shape, color = mark
    x, at = point.nominal, point.saving
    axes.plot([x, x], [at.effect, x], color=color, lw=0.6, alpha=0.22, zorder=1.2)
    low, high = max(at.low, window[0]), min(at.high, window[1])
    axes.plot([x, x], [low, high], color=color, lw=1.0, solid_capstyle="butt", zorder=2)
    for end, edge, head in ((at.low, low, "v"), (at.high, high, "^")):
        if end != edge:  # the interval goes on: an arrow at the edge
            axes.plot([x], [edge], head, color=color, ms=3.4, mew=0, zorder=3, clip_on=False)
    _mark(axes, x, at.effect, shape, color, point.by)


def _mark(axes: Any, x: float, y: float, shape: str, color: str, by: str, size: float = 5.0) -> Any:
    fill = BY[by][0]
    style = {"color": color, "mew": 1.0, "ms": size, "ls": "none", "zorder": 4}
    if fill == "none":
        return axes.plot([x], [y], shape, mfc="white", **style)[0]
    return axes.plot([x], [y], shape, fillstyle=fill, markerfacecoloralt="white", **style)[0]


def _strip(axes: Any, emulated: Sequence[Promise], marks: Mapping[str, tuple[str, str]]) -> None:
    """Promises without a clock: at what they count, with no height that could be taken for a measurement."""
    axes.set_ylim(-1, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.axhspan(-1, 1, color="#f3f3f3", lw=0, zorder=0)
    for promise in emulated:
        color = marks[promise.family][1]
        axes.plot([promise.nominal] * 2, [-0.75, 0.1], color=color, lw=1.2, zorder=2)
    told = f"not timed: {len(emulated)} arms are emulated (no kernel here)"
    if len({promise.label for promise in emulated}) == 1:
        told = "not timed: emulated (no kernel here)"
    axes.text(0.92, 0.55, told, fontsize=6.0, color="#555555", va="center", ha="left")


def _legends(
    axes: Any, points: Sequence[Realised], emulated: Sequence[Promise], marks: Mapping[str, tuple[str, str]]
) -> Any:
    """Families by mark and colour, counts by filling; each told once."""
    from matplotlib.lines import Line2D

    families = sorted(_families(points, emulated))
    handles = [
        Line2D([], [], marker=marks[f][0], color=marks[f][1], mew=1.0, ms=4.6, ls="none", label=f)
        for f in families
    ]
    for by in [by for by in BY if any(point.by == by for point in points)]:
        fill, told = BY[by]
        style: dict[str, Any] = {"marker": "o", "color": "#666666", "mew": 1.0, "ms": 4.6, "ls": "none"}
        fills: dict[str, Any] = (
            {"mfc": "white"} if fill == "none" else {"fillstyle": fill, "markerfacecoloralt": "white"}
        )
        handles.append(Line2D([], [], label=f"by {told}", **style, **fills))
    look = {"handletextpad": 0.2, "labelspacing": 0.3, "borderaxespad": 0.1, "fontsize": 6.2}
    return axes.legend(handles=handles, loc="upper left", **look)


def _names(
    axes: Any,
    points: Sequence[Realised],
    price: Mapping[tuple[str, str], str],
    names: int,
    notes: Sequence[Any],
) -> None:
    """Names with what the saving costs in quality; the largest gaps between promise and clock first."""
    spots = []
    short = labels.distinct([point.label for point in points], 36)
    for point in sorted(points, key=lambda point: -point.nominal / point.saving.effect):
        cost = price.get((point.task, point.label), "")
        name = short[point.label]
        spots.append((point.nominal, point.saving.effect, f"{name}\n{cost}" if cost else name))
    most = axes.get_xlim()[1]
    lines: list[labels.Segment] = [((1.0, 1.0), (most, most)), ((0.9, 1.0), (most, 1.0))]
    lines += [((p.nominal, max(p.saving.low, 0.1)), (p.nominal, min(p.saving.high, most))) for p in points]
    labels.place(axes, spots[:names], spots, lines, notes)
