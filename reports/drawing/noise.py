"""One run's noise, told honestly: A/A ratios of every round by two clocks, and the interval that a second buys.

Reads what `joulemark doctor --noise` wrote (benchmarks/measure/noise.py). The truth is known in every row: a copy
of the baseline has ratio 1, the same call made twice has ratio 2.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from reports.drawing.palette import BLUE, GREY, INK, ORANGE, log_ticks, pyplot
from reports.judging.statistics import LEVEL, Interval, student

TITLES = {"quiet": "quiet", "busy": "every core busy", "memory": "a neighbour streams memory"}
#: Rounds whose width is told; 8 is the protocol's.
ROUNDS = (5, 8, 15)
#: An effect on time inside this share is none (docs/measurement.md).
BAND = 0.02
#: Entries of a round that share its fixed cost: the baseline and seven cells.
SHARED_BY = 8


@dataclass(frozen=True)
class Condition:
    """What came out under one condition; logs of ratios, one a round.

    Attributes:
        name: `quiet`, `busy`, `memory`.
        wall: copy over baseline by wall time of all samples, paired by cycle.
        cpu: the same by the thread's CPU time, 10th percentiles.
        verdict: the same by the protocol (clean wall time, else CPU time).
        blocks: the same by the common practice: one block, then the other, wall medians.
        twice: the same call made twice, by the protocol; the truth is log 2.
        clean: share of the samples that nothing pre-empted.
        others: cores that other processes took, mean over rounds; None where the system does not tell.
        turn_s: seconds of turns for one entry of a round.
        fixed_s: seconds before a round times anything.
        timer: ours over torch's Timer for the same call, one a round.
        overhead: the harness's largest share of a sample.
    """

    name: str
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    verdict: tuple[float, ...]
    blocks: tuple[float, ...]
    twice: tuple[float, ...]
    clean: float
    others: float | None
    turn_s: float
    fixed_s: float
    timer: tuple[float, ...]
    overhead: float

    @property
    def interval(self) -> Interval:
        """The A/A ratio over all rounds by the protocol."""
        return student(self.verdict).exp()


def read(path: Path) -> dict[str, Any]:
    """A study's file."""
    found: dict[str, Any] = json.loads(path.read_text())
    if found.get("kind") != "noise":
        raise ValueError(f"{path}: is no noise study (kind: {found.get('kind')!r})")
    return found


def conditions(study: Mapping[str, Any]) -> list[Condition]:
    """The conditions of a study in their order."""
    names = list(dict.fromkeys(made["condition"] for made in study["rounds"]))
    return [
        _condition(name, [made for made in study["rounds"] if made["condition"] == name]) for name in names
    ]


def _condition(name: str, rounds: Sequence[Mapping[str, Any]]) -> Condition:
    others = [made["state"]["others_cores"] for made in rounds if made["state"]["others_cores"] is not None]
    return Condition(
        name=name,
        wall=tuple(_wall(made["samples"]) for made in rounds),
        cpu=tuple(_cpu(made["samples"]) for made in rounds),
        verdict=tuple(made["verdict"]["copy"]["log_ratio"] for made in rounds),
        blocks=tuple(math.log(made["blocks_s"][1][0] / made["blocks_s"][0][0]) for made in rounds),
        twice=tuple(made["verdict"]["twice"]["log_ratio"] for made in rounds),
        clean=statistics.fmean(made["clean"] for made in rounds),
        others=statistics.fmean(others) if others else None,
        turn_s=statistics.fmean(made["turns_s"] / len(made["samples"]) for made in rounds),
        fixed_s=statistics.fmean(made["fixed_s"] for made in rounds),
        timer=tuple(made["timer"]["ours_s"] / made["timer"]["timer_s"] for made in rounds if "timer" in made),
        overhead=max(max(made["overhead_share"]) for made in rounds),
    )


def _wall(samples: Mapping[str, Sequence[Sequence[float]]]) -> float:
    """Median over cycles of log(copy / base) by wall time, pre-empted samples and all."""
    bases = {row[0]: row[1] for row in samples["base"]}
    return statistics.median(math.log(row[1] / bases[row[0]]) for row in samples["copy"] if row[0] in bases)


def _cpu(samples: Mapping[str, Sequence[Sequence[float]]]) -> float:
    """Log ratio of the 10th percentiles of the thread's CPU time."""
    low = [float(np.quantile([row[2] for row in samples[name]], 0.1)) for name in ("copy", "base")]
    return math.log(low[0] / low[1])


def half_width(logs: Sequence[float], rounds: int) -> float:
    """Half of the 95 % interval that so many rounds give, as a share, when rounds spread as these do."""
    if len(logs) < 2 or rounds < 2:
        return math.inf
    spread = float(np.std(logs, ddof=1))
    return math.expm1(float(stats.t.ppf(0.5 + LEVEL / 2, rounds - 1)) * spread / math.sqrt(rounds))


def false_positives(logs: Sequence[float], rounds: int = 5, draws: int = 2000) -> float | None:
    """Share of draws of so many rounds whose interval leaves 1 out; None with too few rounds to draw from."""
    if len(logs) < rounds + 2:
        return None
    rng, numbers = np.random.default_rng(5), np.asarray(logs, dtype=float)
    chosen = np.stack([numbers[rng.permutation(len(numbers))[:rounds]] for _ in range(draws)])
    half = stats.t.ppf(0.5 + LEVEL / 2, rounds - 1) * chosen.std(1, ddof=1) / math.sqrt(rounds)
    return float((np.abs(chosen.mean(1)) > half).mean())


def lines(study: Mapping[str, Any]) -> list[list[str]]:
    """A table for the terminal, heads first: one line a condition."""
    widths = [f"+- {rounds} rounds" for rounds in ROUNDS]
    found = [
        ["condition", "rounds", "A/A", "sd wall", "sd CPU", "sd blocks", *widths, "twice", "clean", "others"]
    ]
    for one in conditions(study):
        at, two = one.interval, student(one.twice).exp()
        found.append(
            [
                one.name,
                str(len(one.verdict)),
                f"{at.effect:.4f} [{at.low:.4f}, {at.high:.4f}]",
                *(f"{spread(logs):.2%}" for logs in (one.wall, one.cpu, one.blocks)),
                *(f"{half_width(one.verdict, rounds):.2%}" for rounds in ROUNDS),
                f"{two.effect:.3f} [{two.low:.3f}, {two.high:.3f}]",
                f"{one.clean:.0%}",
                "unknown" if one.others is None else f"{one.others:.2f} cores",
            ]
        )
    return found


def spread(logs: Sequence[float]) -> float:
    """Standard deviation over rounds; NaN for a single one."""
    return float(np.std(logs, ddof=1)) if len(logs) > 1 else math.nan


def middle(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else math.nan


# -------------------------------------------------------------------- the figure


def figure(study: Mapping[str, Any]) -> Any:
    """Above: every round's A/A ratio by wall and by CPU time. Below: what an interval costs in seconds."""
    found = conditions(study)
    plt = pyplot()
    made = plt.figure(figsize=(7.0, 4.6))
    grid = made.add_gridspec(2, len(found), height_ratios=[1.25, 1.0])
    low, high = _window(found)
    first = None
    for at, one in enumerate(found):
        axes = made.add_subplot(grid[0, at], sharey=first)
        first = first or axes
        _rounds(axes, one, low, high, left=at == 0)
    _costs(made.add_subplot(grid[1, :]), found)
    return made


def _window(found: Sequence[Condition]) -> tuple[float, float]:
    """Percent: holds every CPU ratio and four fifths of the wall ratios; the rest is marked at the edge."""
    cpu = [math.expm1(log) for one in found for log in (*one.cpu, *one.verdict)]
    wall = [abs(math.expm1(log)) for one in found for log in one.wall]
    reach = max(0.03, 1.15 * max(abs(value) for value in cpu), 1.15 * float(np.quantile(wall, 0.8)))
    return -100 * reach, 100 * reach


def _rounds(axes: Any, one: Condition, low: float, high: float, left: bool) -> None:
    axes.axhspan(-100 * BAND, 100 * BAND, color="#ebebeb", lw=0, zorder=0)
    axes.axhline(0, color=INK, lw=0.7, zorder=1)
    numbers = np.arange(1, len(one.wall) + 1)
    for logs, color, face, name, shift in (
        (one.wall, ORANGE, "white", "wall time", -0.17),
        (one.cpu, BLUE, BLUE, "CPU time", 0.17),
    ):
        values = 100 * np.expm1(logs)
        inside = np.clip(values, low * 0.97, high * 0.97)
        axes.plot(numbers + shift, inside, "o", ms=3.2, mfc=face, mec=color, mew=0.9, label=name, zorder=3)
        for x, value, shown in zip(numbers + shift, values, inside, strict=True):
            axes.plot([x, x], [0, shown], color=color, lw=0.6, alpha=0.45, zorder=2)
            if value != shown:  # outside of the window: said, not hidden
                axes.annotate(
                    f"{value:+.0f}",
                    (x, shown),
                    xytext=(4, -2),
                    textcoords="offset points",
                    fontsize=5.5,
                    color=color,
                )
    at = one.interval
    x = len(numbers) + 1.4
    axes.plot(
        [x, x], [100 * (at.low - 1), 100 * (at.high - 1)], color=INK, lw=1.6, solid_capstyle="butt", zorder=4
    )
    axes.plot([x], [100 * (at.effect - 1)], "_", color=INK, ms=7, mew=1.6, zorder=4)
    axes.set_title(TITLES.get(one.name, one.name), fontsize=8, pad=13)
    told = f"{one.clean:.0%} of samples clean" + (
        "" if one.others is None else f"; others took {one.others:.1f} cores"
    )
    axes.annotate(
        told, (0, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points", fontsize=6
    )
    axes.set_xlim(0, len(numbers) + 2.2)
    axes.set_ylim(low, high)
    step = max(1, math.ceil(len(numbers) / 8))
    axes.set_xticks(
        [*range(step, len(numbers) + 1, step), x], [*map(str, range(step, len(numbers) + 1, step)), "95 %"]
    )
    axes.set_xlabel("round")
    if left:
        axes.set_ylabel("a copy of the baseline,\n% slower than itself")
        axes.legend(loc="upper left", fontsize=6, ncols=2, handletextpad=0.2, columnspacing=0.8)
    else:
        axes.tick_params(labelleft=False)


def _costs(axes: Any, found: Sequence[Condition]) -> None:
    """Half-widths over seconds of turns for one cell, at 3 to 30 rounds."""
    counts = np.arange(3, 31)
    colors = {"quiet": BLUE, "busy": ORANGE, "memory": INK}
    ys: list[float] = [100 * BAND]
    xs: list[float] = []
    for one in found:
        color = colors.get(one.name, GREY)
        x = counts * one.turn_s
        for logs, style, name in ((one.verdict, "-", "in turn"), (one.blocks, ":", "in blocks")):
            y = [100 * half_width(logs, int(count)) for count in counts]
            axes.plot(x, y, style, color=color, lw=1.3 if style == "-" else 1.0, label=f"{one.name}, {name}")
            ys += y
        marked = [100 * half_width(one.verdict, rounds) for rounds in ROUNDS]
        axes.plot([rounds * one.turn_s for rounds in ROUNDS], marked, "o", color=color, ms=3.4)
        for rounds, y_mark in zip(ROUNDS, marked, strict=True):
            axes.annotate(
                f"{rounds}",
                (rounds * one.turn_s, y_mark),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=6,
                color=color,
            )
        xs += x.tolist()
    axes.axhline(100 * BAND, color=GREY, lw=0.8, zorder=0)
    axes.annotate(
        "indifference band", (1, 100 * BAND), xycoords=("axes fraction", "data"), xytext=(-2, 2),
        textcoords="offset points", ha="right", fontsize=6, color="#5c5c5c",
    )  # fmt: skip
    able = [y for y in ys if math.isfinite(y) and y > 0]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(min(xs) * 0.9, max(xs) * 1.1)
    axes.set_ylim(min(able) * 0.8, min(100.0, max(able) * 1.25))
    log_ticks(axes.xaxis, *axes.get_xlim())
    log_ticks(axes.yaxis, *axes.get_ylim())
    axes.set_xlabel("seconds of turns spent on one cell (the mark's number: rounds)")
    axes.set_ylabel("half of the 95 %\ninterval, %")
    axes.legend(loc="upper right", fontsize=6, ncols=len(found))


def draw(study: Mapping[str, Any], folder: Path, name: str = "noise") -> str:
    """The figure as SVG and PDF in a folder; returns the SVG for a page."""
    from reports.drawing.svg import save

    folder.mkdir(parents=True, exist_ok=True)
    return save(figure(study), folder, name)
