"""Figures by matplotlib and seaborn: the front of a task or family, the noise floor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.drawing import labels, typeset
from reports.drawing.labels import distinct
from reports.drawing.palette import BLUE, COLUMN, INK, log_ticks, pyplot
from reports.judging.effects import BANDS
from reports.judging.fronts import Front, Point
from reports.judging.measuring import Floor
from reports.notation import TIMES, fixed, shorten, words

#: How a point is drawn by its membership: (colour, face, size, in words).
MEMBERS = {
    "surely": (BLUE, BLUE, 4.4, "surely on the front"),
    "possibly": (BLUE, "white", 4.4, "possibly"),
    "?": ("#7b4fa0", "white", 4.4, "no interval yet"),
    "no": ("#8f8f8f", "#c4c4c4", 3.2, "not on it"),
}
BAND = "#ebebeb"
#: Up to so many points all are named, else those on the front.
FEW = 12


def front(front: Front, metric: Mapping[str, Any], context: Sequence[Point] = (), title: str = "") -> Any:
    """Quality against one cost: error bars on both axes, members told apart, the band around no loss.

    `context` are further arms of the task, drawn faintly and without a name (those of other families).
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(COLUMN, 3.15))
    say = words("difference", metric["name"], metric)
    band = _band(front, metric)
    low, high = _window(front, say.factor, band)
    left, right = _sides([*front.points, *context])
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.axhspan(-band * say.factor, band * say.factor, color=BAND, lw=0, zorder=0)
    axes.axhline(0, color="white", lw=0.8, zorder=0.5)
    axes.axvline(1, color="#cfcfcf", lw=0.7, zorder=0.4)
    for point in context:
        if low <= point.gain.effect * say.factor <= high:
            axes.plot(
                [point.cost.effect], [point.gain.effect * say.factor], "o", color="#dcdcdc", ms=2.6, mew=0
            )
    _stairs(axes, front.best, say.factor)
    for point in front.points:
        _cross(axes, point, say.factor)
    log_ticks(axes.xaxis, left, right)
    axes.set_xlabel(f"{front.name}, {TIMES} baseline ({front.basis}; left is cheaper)")
    turned = "" if metric["better"] == "higher" else "\n(turned: up is better)"
    axes.set_ylabel(f"{shorten(metric['name'], 30)} − baseline's, {shorten(say.unit, 20) or 'units'}{turned}")
    _legend(axes, front, title)
    axes.figure.draw_without_rendering()
    texts = _collapsed(axes, front, say.factor) + _chance(axes, front, metric, say.factor)
    _front_names(axes, front, say.factor, texts)
    return figure


def _band(front: Front, metric: Mapping[str, Any]) -> float:
    """Half the band around no difference, in the metric's own unit."""
    base = _baseline(front)
    if not metric["relative"]:
        return float(metric["band"])
    return 0.0 if base is None else float(metric["band"]) * abs(base)


def _baseline(front: Front) -> float | None:
    found = (point.arm.quality for point in front.points if point.arm.baseline)
    quality = next(found, None)
    return None if quality is None else quality.interval.effect


def _window(front: Front, factor: float, band: float) -> tuple[float, float]:
    """The range of gains that is shown: an arm that has collapsed does not squeeze the others into a line."""
    values = sorted(point.gain.effect * factor for point in front.points)
    top = values[-1]
    scale = max(top - values[len(values) // 2], 2 * band * factor, 1e-9)
    shown = [
        value
        for point in front.points
        if (value := point.gain.effect * factor) > top - (12 if point.front else 4) * scale
    ]
    top = max(top, band * factor)
    span = max(top - min(shown), scale)
    return min(shown) - 0.14 * span, top + 0.2 * span


def _sides(points: Sequence[Point]) -> tuple[float, float]:
    """Ends of the cost axis: all estimates, and intervals as far as they are not absurd."""
    costs = [point.cost.effect for point in points]
    ends = [end for point in points for end in (point.cost.low, point.cost.high)]
    low, high = min([1.0, *costs]), max([1.0, *costs])
    near = [end for end in ends if low / 2 <= end <= high * 2]
    low, high = min([low, *near]), max([high, *near])
    span = max(math.log(high / low), 0.2)
    return math.exp(math.log(low) - 0.14 * span), math.exp(math.log(high) + 0.14 * span)


def _stairs(axes: Any, best: Sequence[Point], factor: float) -> None:
    """The best quality that each cost can buy, from the cheapest member to the right edge."""
    if len(best) < 2:
        return
    xs = [point.cost.effect for point in best]
    ys = [point.gain.effect * factor for point in best]
    bottom, right = axes.get_ylim()[0], axes.get_xlim()[1]
    axes.step(
        [xs[0], *xs, right], [bottom, *ys, ys[-1]], where="post", color=BLUE, lw=0.9, alpha=0.4, zorder=1
    )


def _cross(axes: Any, point: Point, factor: float) -> None:
    """One arm with both intervals; one that goes on beyond an edge ends there in an arrow head."""
    color, face, size, _ = MEMBERS[point.member]
    low, high = axes.get_ylim()
    x, y = point.cost.effect, point.gain.effect * factor
    if y < low:
        axes.plot([x], [low], "v", color=color, mfc=face, ms=4.4, mew=0.8, clip_on=False, zorder=3)
        return
    width = 0.9 if point.member in ("surely", "possibly") else 0.6
    _span(axes, (point.cost.low, point.cost.high), axes.get_xlim(), y, "<>", color, width)
    _span(axes, (point.gain.low * factor, point.gain.high * factor), (low, high), x, "v^", color, width)
    shape, size = ("*", 8.5) if point.arm.baseline else ("o", size)
    axes.plot([x], [y], shape, color=color, mfc=face, mew=0.9, ms=size, zorder=5 if point.arm.baseline else 4)


def _collapsed(axes: Any, front: Front, factor: float) -> list[Any]:
    """How far below the window the collapsed arms lie; those that stand together share their words."""
    low = axes.get_ylim()[0]
    left, right = axes.get_xlim()
    below = sorted(
        (p.cost.effect, p.gain.effect * factor) for p in front.points if p.gain.effect * factor < low
    )
    groups: list[list[tuple[float, float]]] = []
    for x, y in below:
        near = groups and math.log(x / groups[-1][-1][0]) < 0.12 * math.log(right / left)
        groups[-1].append((x, y)) if near else groups.append([(x, y)])
    how = {"fontsize": 5.6, "color": "#555555", "ha": "center", "textcoords": "offset points"}
    texts = []
    for group in groups:
        ends = [
            fixed(y, 0 if abs(y) >= 10 else 1) for y in (max(g[1] for g in group), min(g[1] for g in group))
        ]
        told = ends[0] if ends[0] == ends[1] else " to ".join(ends)
        middle = math.exp(sum(math.log(x) for x, _ in group) / len(group))
        texts.append(axes.annotate(told, (middle, low), (0, 5), **how))
    return texts


def _span(
    axes: Any,
    ends: tuple[float, float],
    window: tuple[float, float],
    at: float,
    heads: str,
    color: str,
    lw: float,
) -> None:
    """An interval along one axis, cut at the window's edges with an arrow head there."""
    upright = heads == "v^"
    shown = [min(max(end, window[0]), window[1]) for end in ends]
    line = ([at, at], shown) if upright else (shown, [at, at])
    axes.plot(*line, color=color, lw=lw, solid_capstyle="butt", zorder=2)
    for end, edge, head in zip(ends, shown, heads, strict=True):
        if end != edge:
            where = ([at], [edge]) if upright else ([edge], [at])
            axes.plot(*where, head, color=color, ms=3.4, mew=0, clip_on=False, zorder=3)


def _chance(axes: Any, front: Front, metric: Mapping[str, Any], factor: float) -> list[Any]:
    """What guessing scores: a line where it is in sight, else words at the lower edge."""
    base = _baseline(front)
    if metric.get("chance") is None or base is None:
        return []
    sign = 1.0 if metric["better"] == "higher" else -1.0
    at = sign * (metric["chance"] - base) * factor
    low, high = axes.get_ylim()
    how = {"fontsize": 5.8, "color": "#777777", "textcoords": "offset points", "va": "bottom"}
    right = axes.get_xlim()[1]
    if low <= at <= high:
        axes.axhline(at, color="#999999", lw=0.7, ls=(0, (1, 2)), zorder=0.6)
        return [axes.annotate("chance", (right, at), (-2, 2), ha="right", **how)]
    if at > high:
        return []
    told = f"chance: {fixed(at, 0 if abs(at) >= 10 else 1)} ▾"
    shares = (0.985, 0.5, 0.015)
    share = min(shares, key=lambda share: _crowd(axes, front, factor, share))
    side = {0.985: "right", 0.5: "center", 0.015: "left"}[share]
    up = 4 if _crowd(axes, front, factor, share) == 0 else 15
    where = {"xy": (share, 0.0), "xycoords": axes.transAxes}
    return [axes.annotate(told, xytext=(0, up), ha=side, **where, **how)]


def _crowd(axes: Any, front: Front, factor: float, share: float) -> int:
    """How many points stand in the lowest part of the axes about a share of their width."""
    low, high = axes.get_ylim()
    left, right = (math.log(end) for end in axes.get_xlim())
    near = [p for p in front.points if p.gain.low * factor < low + 0.12 * (high - low)]
    return sum(abs((math.log(p.cost.effect) - left) / (right - left) - share) < 0.27 for p in near)


def _legend(axes: Any, front: Front, title: str) -> None:
    """The members that occur, once, above the axes."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", color=color, mfc=face, mew=0.9, ms=size, ls="none", label=told)
        for key, (color, face, size, told) in MEMBERS.items()
        if any(point.member == key and not point.arm.baseline for point in front.points)
    ]
    base = next((point for point in front.points if point.arm.baseline), None)
    if base is not None:
        color, face, _, _ = MEMBERS[base.member]
        star = Line2D([], [], marker="*", color=color, mfc=face, ms=7, mew=0.8, ls="none", label="baseline")
        handles.append(star)
    if title:
        axes.set_title(typeset.cut(title, 8.0, 72 * COLUMN - 60, bold=True))
    style = {"handletextpad": 0.1, "columnspacing": 0.7, "fontsize": 6.2, "borderaxespad": 0.1}
    axes.figure.legend(handles=handles, loc="outside upper right", ncols=5, **style)


def _front_names(axes: Any, front: Front, factor: float, texts: Sequence[Any]) -> None:
    """Names of the members, and in grey of the others where they are few and have room."""
    low = axes.get_ylim()[0]
    names = distinct([point.arm.label for point in front.points], 36)
    spots = {
        point.arm.id: (point.cost.effect, max(point.gain.effect * factor, low), names[point.arm.label])
        for point in front.points
    }
    lines: list[labels.Segment] = []
    for point in front.points:
        x, y = point.cost.effect, point.gain.effect * factor
        if y >= low:
            lines.append(((x, max(point.gain.low * factor, low)), (x, point.gain.high * factor)))
            lines.append(((max(point.cost.low, 1e-12), y), (point.cost.high, y)))
    lines += [
        ((a.cost.effect, a.gain.effect * factor), (b.cost.effect, a.gain.effect * factor))
        for a, b in zip(front.best, front.best[1:], strict=False)
    ]
    members = [p for p in front.points if p.member in ("surely", "?") or p.front]
    members += [p for p in front.points if p.member == "possibly" and not p.front]
    named = [p for p in members if p.gain.effect * factor >= low and not p.arm.baseline]
    _, room = labels.place(axes, [spots[p.arm.id] for p in named], list(spots.values()), lines, texts)
    if len(front.points) <= FEW:
        rest = [p for p in front.points if p not in named and not p.arm.baseline]
        labels.place(axes, [spots[p.arm.id] for p in rest], [], color="#7a7a7a", room=room)


def noise(floors: Sequence[Floor]) -> Any:
    """Each round's ratio of a copy of the baseline to the baseline: what comes out where nothing differs."""
    plt = pyplot()
    import pandas as pd
    import seaborn as sns

    names = [f"{shorten(floor.task, 24)}\n{shorten(floor.workload, 24)}" for floor in floors]
    rows = [
        {"where": name, "ratio": 100 * math.expm1(log)}
        for name, floor in zip(names, floors, strict=True)
        for log in floor.logs
    ]
    figure, axes = plt.subplots(figsize=(COLUMN, 0.7 + 0.42 * len(floors)))
    far = max([3.0, *(110 * abs(math.expm1(log)) for floor in floors for log in floor.logs)])
    axes.set_xlim(-far, far)
    band = 100 * BANDS["latency_s"]
    axes.axvspan(-band, band, color=BAND, lw=0, zorder=0)
    axes.axvline(0, color=INK, lw=0.8, zorder=1)
    sns.swarmplot(
        pd.DataFrame(rows), x="ratio", y="where", order=names, ax=axes, color=BLUE, size=2.6, alpha=0.75,
        warn_thresh=1.0,
    )  # fmt: skip
    for at, floor in enumerate(floors):
        _mean(axes, floor, at + 0.33, far)
    axes.set_ylim(len(floors) - 0.4, -0.5)
    axes.set_ylabel("")
    axes.set_xlabel("copy of the baseline, % off its twin\n(dot: a round; bar: mean, 95 %; shaded: the band)")
    return figure


def _mean(axes: Any, floor: Floor, y: float, far: float) -> None:
    """The mean of a pair with its interval, below its rounds; an interval that goes on ends in an arrow."""
    low, middle, high = (
        100 * (value - 1.0) for value in (floor.mean.low, floor.mean.effect, floor.mean.high)
    )
    shown = max(low, -far), min(high, far)
    axes.plot(shown, [y, y], color=INK, lw=1.2, solid_capstyle="butt", zorder=3)
    for end, edge, head in zip((low, high), shown, "<>", strict=True):
        if end != edge:
            axes.plot([edge], [y], head, color=INK, ms=3.4, mew=0, clip_on=False, zorder=3)
    axes.plot([middle], [y], "D", color=INK, mfc="white", mew=0.9, ms=3.2, zorder=4)
