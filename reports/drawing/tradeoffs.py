"""Trade-offs as a study draws them: one number against another, a line a method, intervals on both axes.

A card says which: `x` and `y` are effects as in a check (a metric, minus or over the baseline), or x is a knob
of the method or of the task.
Points of one method that differ in numbers alone are joined; every point is a cell of the card.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.drawing import labels
from reports.drawing.linenames import line_name
from reports.drawing.palette import COLUMN, INK, log_ticks, marks_of, pyplot, setting_ticks
from reports.judging.effects import TIMED, Effect, compute
from reports.judging.statistics import Interval, exact
from reports.judging.table import Missing, Table
from reports.notation import MINUS, TIMES, fixed, long_name, shorten, stem, words

#: Names from so many letters on stand in one column of a legend.
LONG = 34


@dataclass(frozen=True)
class Dot:
    """One cell: both numbers with their intervals."""

    x: Interval
    y: Interval
    label: str


@dataclass(frozen=True)
class Line:
    """A method over its settings, by x."""

    name: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class TradeOff:
    """What a figure of a study shows.

    Attributes:
        says: the card's caption.
        xlabel, ylabel: with units and basis.
        log: of the axes, `x`, `y`, both or neither.
        level: the y of no difference; None where y is a plain value.
        band: half the indifference band around it, in the unit of y (a share where y is a ratio).
        absent: label -> why a cell is not drawn.
        knob: whether x is a knob; a few settings of it are then the ticks.
    """

    says: str
    lines: tuple[Line, ...]
    xlabel: str
    ylabel: str
    log: str
    level: float | None
    band: float
    absent: Mapping[str, str]
    knob: bool = False


def trade_off(table: Table, spec: Mapping[str, Any]) -> TradeOff:
    """The lines of a card's figure, from rows.

    Args:
        table: the scope's.
        spec: an entry of the card's `figures` with `task`, `arms` and `settings` filled in.
    """
    found: dict[str, list[Dot]] = {}
    absent: dict[str, str] = {}
    band, basis = 0.0, ""
    known = table.metric(spec["task"], spec["y"]["metric"])
    factor = words(_scale(spec["y"]), spec["y"]["metric"], known).factor * float(spec["y"].get("times", 1.0))
    for one, arm in _places(table, spec):
        label = table.arms[arm]["label"]
        try:
            x, y = _x(table, one, arm), _effect(table, one, spec["y"], arm)
        except Missing as missing:
            absent[label] = str(missing)
            continue
        band, basis = max(band, y.band), y.basis
        found.setdefault(line_name(table, spec, arm), []).append(Dot(x, _scaled(y.interval, factor), label))
    level = _level(spec["y"])
    return TradeOff(
        says=spec["says"],
        lines=tuple(
            Line(name, tuple(sorted(dots, key=lambda dot: dot.x.effect))) for name, dots in found.items()
        ),
        xlabel=_axis(table, spec, "x", "counted"),
        ylabel=_axis(table, spec, "y", basis),
        log=spec.get("log", ""),
        level=level,
        band=band * (factor if level == 0.0 else 1.0),
        absent=absent,
        knob="knob" in spec["x"] or "task" in spec["x"],
    )


def _places(table: Table, spec: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Every cell with the setting of the task in which it stands: (the figure there, arm)."""
    for setting in spec["settings"]:
        for arm in setting["arms"]:
            if arm in table.arms and (arm != setting["baseline"] or _has_place(spec, setting)):
                yield {**spec, **setting}, arm


def _has_place(spec: Mapping[str, Any], setting: Mapping[str, Any]) -> bool:
    """Whether a baseline is drawn: not where it is its own level, nor where it lacks the knob of the axis."""
    if "metric" in spec["x"]:
        return True
    return _level(spec["y"]) is None and setting["baseline"] in setting["xs"]


def _x(table: Table, spec: Mapping[str, Any], arm: str) -> Interval:
    if "metric" in spec["x"]:
        return _scaled(_effect(table, spec, spec["x"], arm).interval, float(spec["x"].get("times", 1.0)))
    if arm not in spec["xs"]:
        raise Missing(f"has no number for the knob {spec['x'].get('knob')}")
    return exact([spec["xs"][arm]])


def _effect(table: Table, spec: Mapping[str, Any], axis: Mapping[str, Any], arm: str) -> Effect:
    metric = axis["metric"]
    check = {"task": spec["task"], "metric": metric, "of": arm}
    check["quality"] = table.metric(spec["task"], metric) is not None
    against = next((key for key in ("minus", "over") if key in axis), None)
    if against:
        check[against] = spec["baseline"]
    elif stem(metric) in TIMED:
        raise Missing(f"{metric} is known as a ratio within a round: say over: baseline")
    return compute(table, check)


def _scaled(interval: Interval, factor: float) -> Interval:
    ends = (interval.effect * factor, interval.low * factor, interval.high * factor)
    return Interval(*ends, interval.n, interval.df, interval.replicates)


def _level(axis: Mapping[str, Any]) -> float | None:
    return 0.0 if "minus" in axis else 1.0 if "over" in axis else None


def _scale(axis: Mapping[str, Any]) -> str:
    return "difference" if "minus" in axis else "ratio" if "over" in axis else "value"


def _axis(table: Table, spec: Mapping[str, Any], axis: str, basis: str) -> str:
    given = spec[axis]
    if given.get("label"):
        return str(given["label"])
    if "knob" in given or "task" in given:
        return str(given.get("knob") or given["task"]).replace("_", " ")
    name = shorten(long_name(given["metric"]), 34)
    if "over" in given:
        return f"{name}, {TIMES} baseline ({basis})"
    say = words(_scale(given), given["metric"], table.metric(spec["task"], given["metric"]))
    unit = shorten(say.unit, 20) or "units"
    return f"{name} {MINUS} baseline's, {unit}" if "minus" in given else f"{name}, {unit}"


def caption(drawn: TradeOff) -> str:
    """What the card says, and what is not drawn and why."""
    lost = list(drawn.absent.items())
    told = "; ".join(f"{label}: {why}" for label, why in lost[:6])
    more = f" and {len(lost) - 6} more" if len(lost) > 6 else ""
    says = drawn.says if drawn.says.endswith(".") else f"{drawn.says}."
    return says + (f" Not drawn: {told}{more}." if lost else "")


def summary(drawn: TradeOff) -> str:
    """For readers without the picture: each line from its first to its last point."""
    parts = []
    for line in drawn.lines:
        first, last = line.dots[0], line.dots[-1]
        parts.append(f"{line.name}: {fixed(first.y.effect, 3)} at {first.x.effect:.3g}")
        if len(line.dots) > 1:
            parts[-1] += f", {fixed(last.y.effect, 3)} at {last.x.effect:.3g}"
    return "; ".join(parts)


# ------------------------------------------------------------------ the figure


def figure(drawn: TradeOff, order: Sequence[str] = ()) -> Any:
    """Lines with intervals on both axes, the level of no difference with its band, names at their lines.

    `order` are the names of all lines that share a page, so that a method looks alike on each figure.
    """
    plt = pyplot()
    made, axes = plt.subplots(figsize=(COLUMN, 3.0))
    dots = [dot for line in drawn.lines for dot in line.dots]
    wide = _ends([dot.x for dot in dots], "x" in drawn.log, None)
    high = _ends([dot.y for dot in dots], "y" in drawn.log, drawn.level)
    axes.set_xscale("log" if "x" in drawn.log else "linear")
    axes.set_yscale("log" if "y" in drawn.log else "linear")
    axes.set_xlim(*wide)
    axes.set_ylim(*high)
    _draw_level(axes, drawn)
    marks = marks_of([*order, *(line.name for line in drawn.lines)])
    for line in drawn.lines:
        _draw_line(axes, line, marks[line.name], high)
    for letter, axis, ends in (("x", axes.xaxis, wide), ("y", axes.yaxis, high)):
        if letter in drawn.log:
            log_ticks(axis, *ends)
    if drawn.knob:
        setting_ticks(axes, [dot.x.effect for dot in dots], "x" in drawn.log)
    axes.set_xlabel(drawn.xlabel)
    axes.set_ylabel(drawn.ylabel)
    _name_lines(axes, drawn, marks)
    return made


def _draw_level(axes: Any, drawn: TradeOff) -> None:
    if drawn.level is None:
        return
    ends = (-drawn.band, drawn.band) if drawn.level == 0.0 else (1 / (1 + drawn.band), 1 + drawn.band)
    axes.axhspan(*ends, color="#ebebeb", lw=0, zorder=0)
    axes.axhline(drawn.level, color=INK, lw=0.6, zorder=1)


def _ends(intervals: Sequence[Interval], log: bool, level: float | None) -> tuple[float, float]:
    """All estimates, and of the intervals what does not squeeze them into a corner."""
    turn, back = (math.log, math.exp) if log else (float, float)
    middles = [one.effect for one in intervals] + ([] if level is None else [level])
    values = [turn(value) for value in middles if not log or value > 0]
    if not values:
        return (0.5, 2.0) if log else (0.0, 1.0)
    low, high = min(values), max(values)
    span = max(high - low, 0.2 if log else 0.05 * abs(high), 1e-9)
    ends = [
        turn(e) for one in intervals for e in (one.low, one.high) if math.isfinite(e) and (not log or e > 0)
    ]
    near = [end for end in ends if low - 0.5 * span <= end <= high + 0.5 * span]
    low, high = min([low, *near]), max([high, *near])
    span = max(high - low, span)
    return back(low - 0.07 * span), back(high + 0.09 * span)


def _draw_line(axes: Any, line: Line, mark: tuple[str, str], window: tuple[float, float]) -> None:
    shape, color = mark
    axes.plot(
        [d.x.effect for d in line.dots], [d.y.effect for d in line.dots], color=color, lw=0.9, alpha=0.6
    )
    for dot in line.dots:
        ends = [min(max(end, window[0]), window[1]) for end in (dot.y.low, dot.y.high)]
        axes.plot([dot.x.effect] * 2, ends, color=color, lw=1.0, solid_capstyle="butt", zorder=3)
        for end, edge, head in zip((dot.y.low, dot.y.high), ends, "v^", strict=True):
            if end != edge:  # an interval that leaves the figure says so
                axes.plot([dot.x.effect], [edge], head, color=color, ms=3.4, mew=0, clip_on=False, zorder=3)
        if dot.x.high > dot.x.low and math.isfinite(dot.x.high - dot.x.low):
            axes.plot([dot.x.low, dot.x.high], [dot.y.effect] * 2, color=color, lw=1.0, zorder=3)
        axes.plot([dot.x.effect], [dot.y.effect], shape, color=color, mfc="white", mew=1.0, ms=4.0, zorder=4)


def _name_lines(axes: Any, drawn: TradeOff, marks: Mapping[str, tuple[str, str]]) -> None:
    """Names beside the end of a line that lies furthest from the level; what finds no room stands in a legend."""
    short = labels.distinct([line.name for line in drawn.lines], 32)
    spots = [(dot.x.effect, dot.y.effect, "") for line in drawn.lines for dot in line.dots]
    segments = [
        ((a.x.effect, a.y.effect), (b.x.effect, b.y.effect))
        for line in drawn.lines
        for a, b in zip(line.dots, line.dots[1:], strict=False)
    ]
    room, left_out = None, []
    for line in drawn.lines:
        last = max(line.dots, key=lambda dot: abs(dot.y.effect - (drawn.level or 0.0)))
        wanted = [(last.x.effect, last.y.effect, short[line.name])]
        missing, room = labels.place(axes, wanted, spots, segments, color=marks[line.name][1], room=room)
        left_out += [line.name] * bool(missing)
    for name in left_out:
        shape, color = marks[name]
        axes.plot([], [], f"{shape}-", color=color, mfc="white", ms=4, lw=0.9, label=short[name])
    if left_out:  # below the axes, where it hides nothing
        columns = 1 + (max(len(short[name]) for name in left_out) < LONG)
        axes.figure.legend(
            loc="outside lower center", fontsize=6.0, frameon=False, ncols=columns, columnspacing=1.2
        )
