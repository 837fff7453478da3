"""Figures by matplotlib and seaborn: fronts, realised against nominal saving, noise floor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports import labels
from reports.fronts import Front, Point
from reports.measuring import Floor, Realised
from reports.notation import TIMES, compact, shorten, words

STYLE = Path(__file__).with_name("style.mplstyle")
#: Okabe and Ito's palette: told apart with every common kind of colour blindness.
BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, INK, GREY = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#8a8a8a",
)  # fmt: skip
#: Width of a column, inches.
COLUMN = 3.4
BY = {
    "nonzero": ("o", BLUE, "fewer non-zero weights"),
    "flops": ("s", GREEN, "fewer FLOPs"),
    "stored_bytes": ("D", AMBER, "fewer stored bytes"),
}


def pyplot() -> Any:
    """Pyplot with our style and without a display."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcdefaults()
    plt.style.use(STYLE)
    return plt


def front(front: Front, metric: dict[str, Any]) -> Any:
    """Quality against one cost: all arms with error bars on both axes, the front by name."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(COLUMN, 3.0))
    say = words("difference", metric["name"], metric)
    low, high = _window(front, say.factor, 0.0 if metric["relative"] else metric["band"])
    best = front.best
    _stairs(axes, best, say.factor, low)
    for point in front.points:
        _cross(axes, point, say.factor, (low, high))
    axes.axhline(0, color="#bbbbbb", lw=0.6, zorder=0)
    axes.axvline(1, color="#bbbbbb", lw=0.6, zorder=0)
    axes.set_xscale("log")
    axes.set_ylim(low, high)
    axes.fill_between([1e-9, 1.0], 0.0, high, color="#f0f6fa", lw=0, zorder=0)  # cheaper and no worse
    _log_ticks(axes.xaxis, [point.cost.effect for point in front.points])
    _pad_log(axes, [point.cost.effect for point in front.points])
    axes.set_xlabel(f"{front.name}, {TIMES} baseline ({front.basis}; left is cheaper)")
    better = "" if metric["better"] == "higher" else ", turned: up is better"
    axes.set_ylabel(f"{metric['name']} − baseline's, {say.unit or 'units'}{better}")
    spot = {
        point.arm.id: (point.cost.effect, point.gain.effect * say.factor, compact(point.arm.label, 36))
        for point in front.points
    }
    labels.place(axes, [spot[p.arm.id] for p in best if spot[p.arm.id][1] >= low], list(spot.values()))
    return figure


def _window(front: Front, factor: float, band: float) -> tuple[float, float]:
    """The range of gains that is shown: an arm that has collapsed does not squeeze the others into a line."""
    values = sorted(point.gain.effect * factor for point in front.points)
    top = values[-1]
    scale = max(top - values[len(values) // 2], 2 * band * factor, 1e-9)
    near = [point.gain.effect * factor for point in front.points]
    shown = [v for v, p in zip(near, front.points, strict=True) if v > top - (12 if p.front else 4) * scale]
    span = max(top - min(shown), scale)
    return min(shown) - 0.12 * span, top + 0.22 * span


def _stairs(axes: Any, best: Sequence[Point], factor: float, floor: float) -> None:
    if len(best) < 2:
        return
    xs = [point.cost.effect for point in best]
    ys = [point.gain.effect * factor for point in best]
    axes.step(xs, ys, where="post", color=BLUE, lw=0.9, alpha=0.45, zorder=1)


def _cross(axes: Any, point: Point, factor: float, window: tuple[float, float]) -> None:
    x, y = point.cost, point.gain
    color = BLUE if point.front else SKY if point.member == "possibly" else GREY
    if y.effect * factor < window[0]:  # a collapsed arm: told at the lower edge
        axes.plot([x.effect], [window[0]], marker="v", color=color, ms=4, clip_on=False, zorder=3)
        return
    if math.isfinite(x.high) and x.low > 0:
        axes.plot([x.low, x.high], [y.effect * factor] * 2, color=color, lw=0.8, zorder=2)
    if math.isfinite(y.high):
        axes.plot([x.effect] * 2, [y.low * factor, y.high * factor], color=color, lw=0.8, zorder=2)
    face = "white" if not point.front else color
    marker = "*" if point.arm.baseline else "o"
    size = 8 if point.arm.baseline else 4.2
    axes.plot([x.effect], [y.effect * factor], marker, color=color, mfc=face, mew=0.9, ms=size, zorder=4)


def realised(points: Sequence[Realised], names: int = 14) -> Any:
    """What the count promises against what the clock sees; on the diagonal a promise is kept."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(COLUMN * 1.35, 3.9))
    most = max([2.0, *(point.nominal for point in points), *(point.saving.effect for point in points)]) * 1.5
    least = min([0.7, *(point.saving.effect / 1.2 for point in points)])
    axes.fill_between([0.9, most], 1.0, least, color="#f3ece6", lw=0, zorder=0)
    axes.plot([1, most], [1, most], color=INK, lw=0.9, zorder=1)
    for share in (0.5, 0.1):
        axes.plot([1 / share, most], [1, most * share], color="#c4c4c4", lw=0.6, zorder=1)
    axes.axhline(1.0, color=INK, lw=0.8, ls=(0, (3, 2)), zorder=1)
    faint = 0.28 if len(points) < 25 else 0.12
    for point in points:
        marker, color, _ = BY[point.by]
        axes.plot(
            [point.nominal] * 2,
            [point.saving.effect, point.nominal],
            color=color,
            lw=0.7,
            alpha=faint,
            zorder=1,
        )
        if math.isfinite(point.saving.high) and point.saving.low > 0:
            axes.plot(
                [point.nominal] * 2, [point.saving.low, point.saving.high], color=color, lw=0.9, zorder=2
            )
        axes.plot(
            [point.nominal],
            [point.saving.effect],
            marker,
            color=color,
            mfc="white",
            mew=1.1,
            ms=4.6,
            zorder=3,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.9, most)
    axes.set_ylim(least, most)
    for axis in (axes.xaxis, axes.yaxis):
        _log_ticks(axis, [least, most])
    axes.set_xlabel(f"nominal saving, {TIMES} (counted)")
    axes.set_ylabel(f"realised saving of time, {TIMES} (measured)")
    _notes(axes, most, least)
    for by in dict.fromkeys(point.by for point in points):
        marker, color, told = BY[by]
        axes.plot([], [], marker, color=color, mfc="white", mew=1.1, ms=4.6, label=told)
    axes.legend(loc="upper left", title="nominal by", title_fontsize=7, alignment="left")
    spots = [(point.nominal, point.saving.effect, compact(point.label, 36)) for point in points]
    labels.place(axes, sorted(spots, key=lambda spot: -spot[0] / spot[1])[:names], spots)
    return figure


def _notes(axes: Any, most: float, least: float) -> None:
    """Names of the lines of a kept promise; a line's angle on the page follows from the size of the axes."""
    axes.figure.draw_without_rendering()
    box = axes.get_window_extent()
    angle = math.degrees(math.atan2(box.height / math.log(most / least), box.width / math.log(most / 0.9)))
    along = {"rotation": angle, "rotation_mode": "anchor", "fontsize": 6.3, "va": "bottom", "ha": "right"}
    for share, told in ((1.0, "as promised"), (0.5, "half of it"), (0.1, "a tenth of it")):
        at = most * 0.93
        if at * share > 1.5:
            axes.text(at, at * share * 1.02, told, color="#555555" if share == 1.0 else "#8a8a8a", **along)
    axes.text(
        most * 0.97,
        least * 1.02,
        "slower than the baseline",
        fontsize=6.3,
        color="#8a5a33",
        va="bottom",
        ha="right",
    )


def noise(floors: Sequence[Floor]) -> Any:
    """Each round's ratio of a copy of the baseline to the baseline: what comes out where nothing differs."""
    plt = pyplot()
    import pandas as pd
    import seaborn as sns

    rows = [
        {"where": f"{shorten(floor.task, 24)}\n{shorten(floor.workload, 24)}", "ratio": 100 * math.expm1(log)}
        for floor in floors
        for log in floor.logs
    ]
    figure, axes = plt.subplots(figsize=(COLUMN, 0.62 + 0.36 * len(floors)))
    axes.axvspan(-2, 2, color="#eef3f7", lw=0, zorder=0)
    axes.axvline(0, color=INK, lw=0.8, zorder=1)
    sns.swarmplot(pd.DataFrame(rows), x="ratio", y="where", ax=axes, color=BLUE, size=3.2, warn_thresh=1.0)
    axes.set_ylabel("")
    axes.set_xlabel("copy of the baseline, % off (shaded: the band)")
    far = max([3.0, *(110 * abs(math.expm1(log)) for floor in floors for log in floor.logs)])
    axes.set_xlim(-far, far)
    return figure


def _log_ticks(axis: Any, values: Sequence[float]) -> None:
    """Ticks at 1, 2, 5 of each decade, as plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = min([1.0, *values]) / 1.25, max([1.0, *values]) * 1.25
    spread = high / low / 1.5625
    steps: Sequence[float] = (1, 2, 5) if spread < 100 else (1, 3) if spread < 3000 else (1,)
    ticks = [step * 10.0**power for power in range(-9, 10) for step in steps]
    if spread < 4:  # less than a decade: even steps, of which six fit
        step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / step < 6.5)
        ticks = [round(number * step, 2) for number in range(1, int(high / step) + 1)]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _pad_log(axes: Any, values: Sequence[float]) -> None:
    low, high = min([1.0, *values]), max([1.0, *values])
    span = max(math.log(high / low), 0.2)
    axes.set_xlim(math.exp(math.log(low) - 0.12 * span), math.exp(math.log(high) + 0.16 * span))
