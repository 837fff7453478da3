"""Where a method begins to pay: realised speed-up against sparsity, length or batch, and where it crosses 1.

A curve is one method, a point of it one setting with the interval of its speed-up over rounds. Between settings
log speed-up is taken to be linear in log x (or in x on a linear axis). The crossing is where the estimates' line
meets 1 (a curve that stays within the indifference band on both sides wavers and crosses nothing), its interval
the values of x at which the lines through the ends of the intervals meet 1: within it no setting is surely faster
or slower. An end that is not reached among the settings is open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.drawing import labels
from reports.drawing.linenames import is_number
from reports.drawing.palette import COLUMN, INK, log_ticks, marks_of, pyplot, setting_ticks
from reports.judging.arms import Section
from reports.judging.effects import BANDS
from reports.judging.statistics import Interval
from reports.notation import TIMES, place, significant


@dataclass(frozen=True)
class At:
    """One setting: how many times faster it is than what it is held against."""

    x: float
    speedup: Interval


@dataclass(frozen=True)
class Curve:
    """A method over its settings, x ascending.

    Attributes:
        emulated: x of settings that promise something and have no kernel here, so no time.
        log: whether its axis is logarithmic, as for lengths and batches; shares have a linear one.
    """

    name: str
    family: str
    points: tuple[At, ...]
    emulated: tuple[float, ...] = ()
    log: bool = True


@dataclass(frozen=True)
class Crossing:
    """Where a curve meets 1.

    Attributes:
        x: by the estimates.
        low, high: where an end of the interval meets 1; None where that lies beyond the settings.
        rising: whether it becomes faster with x.
    """

    x: float
    low: float | None
    high: float | None
    rising: bool


def crossings(curve: Curve) -> list[Crossing]:
    """All places where the line through the estimates meets 1 and leaves the indifference band, by x."""
    xs = [point.x for point in curve.points]
    middle = [point.speedup.effect for point in curve.points]
    lows = _meets(xs, [point.speedup.low for point in curve.points], curve.log)
    highs = _meets(xs, [point.speedup.high for point in curve.points], curve.log)
    found = []
    for x, rising in _leaves(xs, middle, _meets(xs, middle, curve.log)):
        # where it rises, the upper ends meet 1 before the estimate does and the lower ones after it
        early, late = (highs, lows) if rising else (lows, highs)
        before = [at for at, up in early if up is rising and at <= x]
        after = [at for at, up in late if up is rising and at >= x]
        found.append(Crossing(x, max(before, default=None), min(after, default=None), rising))
    return found


def _meets(xs: Sequence[float], ys: Sequence[float], log: bool) -> list[tuple[float, bool]]:
    """(x, rising) where a line through points meets y = 1; infinite ends bound nothing."""
    found = []
    points = [(x, math.log(y)) for x, y in zip(xs, ys, strict=True) if y > 0 and math.isfinite(y)]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if (y0 < 0 <= y1) or (y0 >= 0 > y1):
            share = y0 / (y0 - y1)
            x = x0 * (x1 / x0) ** share if log else x0 + (x1 - x0) * share
            found.append((x, y1 > y0))
    return found


def _leaves(
    xs: Sequence[float], ys: Sequence[float], meets: Sequence[tuple[float, bool]]
) -> Iterator[tuple[float, bool]]:
    """Those meetings between which and the next ones, on one side at least, a point is outside the band."""
    ends = [-math.inf, *(x for x, _ in meets), math.inf]
    outside = [x for x, y in zip(xs, ys, strict=True) if abs(math.log(y)) > math.log1p(BANDS["latency_s"])]
    for at, meeting in enumerate(meets):
        if any(ends[at] <= x <= ends[at + 2] for x in outside):
            yield meeting


def by_knob(section: Section, knob: str, metric: str = "", log: bool = False) -> list[Curve]:
    """Curves over a knob of methods (`sparsity`): one a method and its other knobs, at one workload.

    The axis is linear unless `log` is asked for: a knob may be 0.
    """
    metric = metric or f"latency_s@{section.main}"
    found = _curves(section, lambda arm, name: _number(_knobs(section, arm).get(knob)), [metric], knob)
    return [replace(curve, log=log) for curve in found]


def by_workload(section: Section, metric: str = "latency_s", pattern: str = r"(\d+)$") -> list[Curve]:
    """Curves over the number in a workload's name (`batch64`, `prefill@4096`): one an arm."""
    names = [f"{metric}@{workload}" for workload in section.workloads]

    def number(arm: str, name: str) -> float | None:
        found = re.search(pattern, place(name))
        return float(found.group(1)) if found else None

    return _curves(section, number, names, "")


def _curves(
    section: Section, at: Callable[[str, str], float | None], metrics: Sequence[str], knob: str
) -> list[Curve]:
    """Measured arms as curves; settings without a kernel are kept apart."""
    points: dict[tuple[str, str], list[At]] = {}
    emulated: dict[tuple[str, str], list[float]] = {}
    for arm in section.arms:
        key = (_name(section, arm.id, arm.label, knob), arm.family)
        for metric in metrics:
            number, x = arm.times.get(metric), at(arm.id, metric)
            if arm.baseline or number is None or x is None:
                continue
            if number.ratio is not None:
                points.setdefault(key, []).append(At(x, inverse(number.ratio.interval)))
            elif "emulated" in number.reason:
                emulated.setdefault(key, []).append(x)
    keys = [
        key for key in dict.fromkeys([*points, *emulated]) if len(points.get(key, ())) > 1 or key in emulated
    ]
    methods = [name.partition("(")[0] for name, _ in keys]
    return [
        Curve(
            method if methods.count(method) == 1 else name,  # as little as tells curves apart
            family,
            tuple(sorted(points.get((name, family), ()), key=lambda p: p.x)),
            tuple(sorted(emulated.get((name, family), ()))),
        )
        for (name, family), method in zip(keys, methods, strict=True)
    ]


def inverse(ratio: Interval) -> Interval:
    """From a ratio of times to a speed-up."""
    low = 1 / ratio.high if ratio.high > 0 else math.inf
    high = 1 / ratio.low if ratio.low > 0 else math.inf
    return Interval(
        1 / ratio.effect, low, high, ratio.n, ratio.df, tuple(1 / v for v in ratio.replicates if v)
    )


def _knobs(section: Section, arm: str) -> Mapping[str, Any]:
    known: Mapping[str, Any] = section.table.arms.get(arm, {}).get("knobs", {})
    return known


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _name(section: Section, arm: str, label: str, knob: str) -> str:
    """The arm's label without the knob that is the axis."""
    if not knob:
        return label
    value = _knobs(section, arm).get(knob)
    short = re.sub(rf"(?<=[(\s]){re.escape(knob)}={re.escape(str(value))}(, )?", "", label)
    return short.replace("()", "").replace(", )", ")")


def figure(curves: Sequence[Curve], xlabel: str, families: Sequence[str] = ()) -> Any:
    """Speed-up with intervals over the settings, the line at 1, and where each curve crosses it."""
    plt = pyplot()
    log = any(curve.log for curve in curves)
    drawn, axes = plt.subplots(figsize=(COLUMN, 2.9))
    if log:
        axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = _window(curves)
    axes.set_ylim(low, high)
    xs = [point.x for curve in curves for point in curve.points] + [x for c in curves for x in c.emulated]
    axes.set_xlim(*_ends(xs, log))
    axes.axhspan(low, 1.0, color="#f6ece4", lw=0, zorder=0)
    axes.axhline(1.0, color=INK, lw=0.8, zorder=1)
    # a family's own mark where that tells the curves apart
    alone = len({curve.family for curve in curves}) == len(curves)
    names = [curve.family if alone else curve.name for curve in curves]
    marks = marks_of([*(families if alone else ()), *names])
    for curve, name in zip(curves, names, strict=True):
        _curve(axes, curve, marks[name])
    if not setting_ticks(axes, xs, log) and log:
        log_ticks(axes.xaxis, *axes.get_xlim())
    log_ticks(axes.yaxis, low, high)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(f"realised speed-up, {TIMES} (measured)")
    if any(curve.emulated for curve in curves):
        axes.text(0.01, 0.02, "| emulated (no kernel here): not timed", transform=axes.transAxes, va="bottom",
                  fontsize=6.0, color="#555555")  # fmt: skip
    axes.text(0.99, 0.02, "slower", transform=axes.transAxes, ha="right", va="bottom",
              fontsize=6.0, color="#7a4a25")  # fmt: skip
    _label(axes, curves)
    return drawn


def _window(curves: Sequence[Curve]) -> tuple[float, float]:
    """From the slowest to the fastest estimate and what of the intervals is not absurd, 1 within."""
    middles = [point.speedup.effect for curve in curves for point in curve.points]
    ends = [e for c in curves for p in c.points for e in (p.speedup.low, p.speedup.high)]
    low, high = min([0.85, *middles]), max([1.15, *middles])
    near = [end for end in ends if low / 1.6 <= end <= high * 1.6]
    return min([low, *near]) / 1.12, max([high, *near]) * 1.18


def _ends(xs: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = min(xs), max(xs)
    if log:
        span = max(math.log(high / low), 0.3)
        return low * math.exp(-0.06 * span), high * math.exp(0.06 * span)
    span = (high - low) or 1.0
    return low - 0.06 * span, high + 0.06 * span


def _curve(axes: Any, curve: Curve, mark: tuple[str, str]) -> None:
    shape, color = mark
    low, high = axes.get_ylim()
    xs = [point.x for point in curve.points]
    axes.plot(xs, [point.speedup.effect for point in curve.points], color=color, lw=0.9, alpha=0.6, zorder=2)
    for point in curve.points:
        at = point.speedup
        ends = max(at.low, low), min(at.high, high)
        axes.plot([point.x] * 2, ends, color=color, lw=1.1, solid_capstyle="butt", zorder=3)
        for end, edge, head in ((at.low, ends[0], "v"), (at.high, ends[1], "^")):
            if end != edge:
                axes.plot([point.x], [edge], head, color=color, ms=3.4, mew=0, clip_on=False, zorder=3)
        axes.plot([point.x], [at.effect], shape, color=color, mfc="white", mew=1.0, ms=4.2, zorder=4)
    for x in curve.emulated:  # no kernel, no time: a tick at the axis and nothing that looks measured
        axes.plot([x], [low], "|", color=color, ms=7, mew=1.2, clip_on=False, zorder=3)
    for crossing in crossings(curve):
        _crossing(axes, crossing, color)


def _crossing(axes: Any, crossing: Crossing, color: str) -> None:
    """A cross on the line at 1 with its interval along it; an open end goes to the edge with an arrow."""
    left, right = axes.get_xlim()
    a = left if crossing.low is None else crossing.low
    b = right if crossing.high is None else crossing.high
    axes.plot([a, b], [1.0, 1.0], color=color, lw=3.2, alpha=0.45, solid_capstyle="butt", zorder=2.5)
    for end, edge, head in ((crossing.low, left, "<"), (crossing.high, right, ">")):
        if end is None:
            axes.plot([edge], [1.0], head, color=color, ms=4, mew=0, clip_on=False, zorder=3)
    axes.plot([crossing.x], [1.0], "x", color=color, ms=5, mew=1.4, zorder=5)


def _label(axes: Any, curves: Sequence[Curve]) -> None:
    """A curve's name at its right end, and its crossings by their value."""
    short = labels.distinct([curve.name for curve in curves], 30)
    if len({curve.name.partition("(")[0] for curve in curves}) == 1:  # one method: its knobs tell them apart
        short = {name: told.partition("(")[2].removesuffix(")") or told for name, told in short.items()}
    spots = [(p.x, p.speedup.effect, "") for curve in curves for p in curve.points]
    found = [(c.x, 1.0, told(c)) for curve in curves for c in crossings(curve)]
    names = [(c.points[-1].x, c.points[-1].speedup.effect, short[c.name]) for c in curves if c.points]
    lines = [
        ((a.x, a.speedup.effect), (b.x, b.speedup.effect))
        for curve in curves
        for a, b in zip(curve.points, curve.points[1:], strict=False)
    ]
    left, right = axes.get_xlim()
    labels.place(axes, [*found, *names], [*spots, *found], [*lines, ((left, 1.0), (right, 1.0))])


def told(crossing: Crossing) -> str:
    """`512 [430, 610]`; an open end says so."""
    low, high = (None if end is None else significant(end) for end in (crossing.low, crossing.high))
    return f"{significant(crossing.x)} [{low or 'open'}, {high or 'open'}]"
