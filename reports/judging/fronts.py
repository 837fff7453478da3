"""Fronts: which arms nothing else beats in both quality and cost, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.judging.arms import Arm, Section
from reports.judging.effects import Effect
from reports.judging.statistics import LEVEL, Interval
from reports.notation import long_name, stem

#: Draws for the share in which an arm is on the front; the seed is fixed so that a page is made twice alike.
DRAWS = 2000
#: Shares of draws from which an arm is called surely, and possibly, on the front.
SURELY, POSSIBLY = 0.95, 0.05


@dataclass(frozen=True)
class Point:
    """One arm on a front.

    Attributes:
        cost: ratio to the baseline; less is better.
        gain: quality minus the baseline's, turned so that more is better.
        front: on the front by the two estimates.
        share: of draws in which it is on the front; None where an axis has no interval yet.
    """

    arm: Arm
    cost: Interval
    gain: Interval
    front: bool
    share: float | None

    @property
    def member(self) -> str:
        """`surely`, `possibly`, `no`, or `?` where an interval is missing."""
        if self.share is None:
            return "?"
        return "surely" if self.share >= SURELY else "possibly" if self.share >= POSSIBLY else "no"


@dataclass(frozen=True)
class Front:
    """Quality against one cost on one task.

    Attributes:
        basis: of the cost axis.
        absent: label -> why an arm is not on it.
    """

    metric: str
    basis: str
    points: tuple[Point, ...]
    absent: dict[str, str]

    @property
    def name(self) -> str:
        """The cost in words."""
        return long_name(self.metric)

    @property
    def apart(self) -> bool:
        """Whether costs differ by more than one per cent: otherwise there is nothing to trade."""
        costs = [point.cost.effect for point in self.points]
        return max(costs) > 1.01 * min(costs)

    @property
    def best(self) -> list[Point]:
        """The front by estimates, cheapest first."""
        return sorted((point for point in self.points if point.front), key=lambda point: point.cost.effect)


def fronts(section: Section, most: int = 4) -> list[Front]:
    """The fronts of a task: time or energy where they were measured, then counted costs that differ."""
    if section.metric is None:
        return []
    timed = [
        name for name in (f"latency_s@{section.main}", f"energy_j@{section.main}") if _has(section, name)
    ]
    counted = [
        name for name in section.shown_costs if stem(name) in ("stored_bytes", "flops", "tokens", "price")
    ]
    found = [make(section, name) for name in [*timed, *counted]]
    return [front for front in found if len(front.points) > 1 and front.apart][:most]


def _has(section: Section, metric: str) -> bool:
    return any(metric in arm.times and arm.times[metric].ratio for arm in section.arms)


def make(section: Section, metric: str) -> Front:
    """The front of one cost."""
    assert section.metric is not None
    sign = 1.0 if section.metric["better"] == "higher" else -1.0
    found, absent, basis = [], {}, "counted"
    for arm in section.arms:
        number = arm.times.get(metric) or arm.costs.get(metric)
        if arm.change is None:
            absent[arm.label] = arm.reason or "it has no quality"
        elif number is None or number.ratio is None:
            absent[arm.label] = number.reason if number else f"it has no {long_name(metric)}"
        else:
            basis = number.ratio.basis
            found.append((arm, number.ratio.interval, turned(arm.change, sign)))
    costs, gains = [cost for _, cost, _ in found], [gain for _, _, gain in found]
    best = (
        _undominated(np.array([[c.effect for c in costs]]), np.array([[g.effect for g in gains]]))[0]
        if found
        else []
    )
    shares = membership(costs, gains)
    points = tuple(
        Point(arm, cost, gain, bool(on), share)
        for (arm, cost, gain), on, share in zip(found, best, shares, strict=True)
    )
    return Front(metric, basis, points, absent)


def turned(change: Effect, sign: float) -> Interval:
    """An interval with its sign turned where less is better."""
    at = change.interval
    if sign > 0:
        return at
    return Interval(-at.effect, -at.high, -at.low, at.n, at.df, tuple(-value for value in at.replicates))


def _undominated(costs: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Which arms nothing beats, a row a draw: costs and gains [draws, arms] -> bool [draws, arms].

    An arm is beaten by one that is at least as good in both and better in one.
    """
    worse_cost = costs[:, :, None] >= costs[:, None, :]
    worse_gain = gains[:, :, None] <= gains[:, None, :]
    strictly = (costs[:, :, None] > costs[:, None, :]) | (gains[:, :, None] < gains[:, None, :])
    return np.asarray(~(worse_cost & worse_gain & strictly).any(axis=2))


def membership(costs: list[Interval], gains: list[Interval], draws: int = DRAWS) -> list[float | None]:
    """The share of draws from the fitted t distributions of both axes in which an arm is on the front.

    Costs are drawn on logs. Arms without an interval stay at their estimate and have no share of their own.
    """
    rng = np.random.default_rng(20)
    x = (
        np.stack([_draws(cost, rng, draws, log=True) for cost in costs], axis=1)
        if costs
        else np.zeros((draws, 0))
    )
    y = (
        np.stack([_draws(gain, rng, draws, log=False) for gain in gains], axis=1)
        if gains
        else np.zeros((draws, 0))
    )
    counts = np.zeros(len(costs))
    for at in range(
        0, draws, 200
    ):  # a block at a time: draws x arms x arms would be large for a hundred arms
        counts += _undominated(x[at : at + 200], y[at : at + 200]).sum(axis=0)
    pairs = zip(costs, gains, strict=True)
    return [
        None if _open(c) or _open(g) else float(n / draws) for (c, g), n in zip(pairs, counts, strict=True)
    ]


def _open(interval: Interval) -> bool:
    return interval.df == 0.0 or math.isinf(interval.high)


def _draws(interval: Interval, rng: np.random.Generator, count: int, log: bool) -> np.ndarray:
    middle, low, high = interval.effect, interval.low, interval.high
    if log:
        middle, low, high = (math.log(value) if value > 0 else -math.inf for value in (middle, low, high))
    if _open(interval) or high == low:
        return np.full(count, middle)
    df = min(interval.df, 1e6)
    error = (high - low) / 2 / float(stats.t.ppf(0.5 + LEVEL / 2, df))
    return middle + error * rng.standard_t(df, size=count)
