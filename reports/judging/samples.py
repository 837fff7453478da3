"""Scores of several cells side by side: one array a replicate, and intervals of numbers that are read off them.

A number may be read off a whole curve (where two curves cross, say), so that no item has a value of its own.
Its interval over seeds and test items then comes from groups of items that are left out in turn (the jackknife of
Quenouille and Tukey, by groups), whose pseudo-values [seeds, groups] go through the same formula as differences
[seeds, items].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.judging.effects import TIMED
from reports.judging.joins import agree_of
from reports.judging.statistics import Interval, crossed, exact, student
from reports.judging.table import Missing, Table

#: A replicate: seed and round (0 where there are no rounds).
Key = tuple[int, int]
#: Scores per item of one cell and metric, one array a replicate; times are log ratios to the baseline, one a round.
Scores = Mapping[Key, np.ndarray]
#: Groups of test items that are left out in turn.
GROUPS = 20


@dataclass(frozen=True)
class Reading:
    """One number of one replicate, and whether the truth may lie below or above it (it was censored there)."""

    value: float
    below: bool = False
    above: bool = False

    def minus(self, other: Reading) -> Reading:
        """The difference; what is open on one side of `other` is open on the other side of it."""
        return Reading(self.value - other.value, self.below or other.above, self.above or other.below)


#: From the means of some points, one array a curve, to a number; None where there is none.
Statistic = Callable[[Sequence[np.ndarray]], Reading | None]


def kind(check: Mapping[str, Any]) -> str:
    """Where a check's numbers come from: `timed`, `quality` or `counted`."""
    if check["metric"].partition("@")[0] in TIMED:
        return "timed"
    return "quality" if check["quality"] else "counted"


def scores(table: Table, arm: str, metric: str, source: str) -> Scores:
    """The scores of one cell, by replicate.

    Raises:
        Missing: there is none.
    """
    if source == "quality":
        return {(seed, 0): items for seed, items in table.items(arm, metric).items()}
    if source == "counted":
        return {(seed, 0): np.array([value]) for seed, value in table.counted(arm, metric).items()}
    logs = table.rounds(arm, metric)[0]
    seeds = sorted({seed for seed, _ in logs})
    if len(seeds) == 1:
        return {key: np.array([value]) for key, value in logs.items()}
    by_seed = {seed: [value for (other, _), value in logs.items() if other == seed] for seed in seeds}
    return {(seed, 0): np.array([np.mean(values)]) for seed, values in by_seed.items()}


def met(table: Table, points: Sequence[tuple[str, str]]) -> None:
    """Refuse times that were not taken beside one baseline, or not measured alike.

    Raises:
        Missing: what differs.
    """
    if len({table.rounds(arm, metric)[2] for arm, metric in points}) > 1:
        raise Missing("the cells never met: they were timed beside different baselines")
    for metric in sorted({metric for _, metric in points}):
        agree_of(table, [arm for arm, other in points if other == metric], metric)


def aligned(*curves: Sequence[Scores]) -> tuple[list[Key], list[list[list[np.ndarray]]]]:
    """What all points of all curves have: replicates, and scores as [curve][replicate][point].

    Raises:
        Missing: they have no replicate in common.
    """
    keys = sorted(set.intersection(*(set(point) for curve in curves for point in curve)))
    if not keys:
        raise Missing("the sides have no seed in common")
    return keys, [[[point[key] for point in curve] for key in keys] for curve in curves]


def interval(
    statistic: Statistic, curves: Sequence[Sequence[Sequence[np.ndarray]]], source: str
) -> tuple[Interval, list[Reading | None]]:
    """The mean of a statistic over replicates with its interval, and what each replicate gave.

    Args:
        statistic: of the means of the points of each curve.
        curves: [curve][replicate][point] -> scores per item.
        source: `quality` (seeds and items), `counted` (seeds, exact where they agree) or `timed` (rounds).

    Returns:
        An interval, whose end is infinite on a side on which a replicate was censored: the mean of what is
        cut off at x lies on the near side of the mean itself, so the other end stays true.
    """
    count = len(curves[0])
    parts = [[curve[at] for curve in curves] for at in range(count)]
    found = [statistic([np.array([items.mean() for items in points]) for points in part]) for part in parts]
    there = [reading for reading in found if reading is not None]
    if len(there) < count:
        return Interval(math.nan, -math.inf, math.inf, count, 0.0), found
    values = [reading.value for reading in there]
    if source == "quality":
        groups = min(GROUPS, *(len(items) for part in parts for points in part for items in points))
        made = crossed(
            np.stack(
                [_pseudo(statistic, part, value, groups) for part, value in zip(parts, values, strict=True)]
            )
        )
        made = replace(made, replicates=tuple(values))
    else:
        made = exact(values) if source == "counted" else student(values)
    low = -math.inf if any(reading.below for reading in there) else made.low
    high = math.inf if any(reading.above for reading in there) else made.high
    return replace(made, low=low, high=high), found


def _pseudo(
    statistic: Statistic, part: Sequence[Sequence[np.ndarray]], value: float, groups: int
) -> np.ndarray:
    """Pseudo-values [groups] of one replicate, moved so that their mean is the statistic of all items."""
    if groups < 2:
        return np.array([value])
    without = [np.stack([_without(items, groups) for items in points]) for points in part]
    left = [statistic([curve[:, group] for curve in without]) for group in range(groups)]
    values = np.array([value if reading is None else reading.value for reading in left])
    pseudo = groups * value - (groups - 1) * values
    return pseudo + value - pseudo.mean()


def _without(items: np.ndarray, groups: int) -> np.ndarray:
    """Means of the items without every g-th of them, [groups]."""
    group = np.arange(len(items)) % groups
    sums, sizes = np.bincount(group, items, groups), np.bincount(group, minlength=groups)
    return (items.sum() - sums) / (len(items) - sizes)
