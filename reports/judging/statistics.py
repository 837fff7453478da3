"""Intervals: seeds and items for quality, rounds for cost. Student's t throughout; no bootstrap for single effects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An effect with its 95 % interval.

    Attributes:
        effect, low, high: on the scale of the effect (a difference, or a ratio).
        n: replicates behind it (seeds, or rounds).
        df: degrees of freedom; infinite for exact numbers, 0 where no interval can be given.
        replicates: one number a replicate, on the effect's scale.
    """

    effect: float
    low: float
    high: float
    n: int
    df: float = math.inf
    replicates: tuple[float, ...] = ()

    def exp(self) -> Interval:
        """From logs to ratios."""
        return Interval(
            math.exp(self.effect),
            _exp(self.low),
            _exp(self.high),
            self.n,
            self.df,
            tuple(_exp(value) for value in self.replicates),
        )

    def log(self) -> Interval:
        """From ratios to logs."""
        return Interval(
            _log(self.effect),
            _log(self.low),
            _log(self.high),
            self.n,
            self.df,
            tuple(_log(value) for value in self.replicates),
        )


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def exact(values: Sequence[float]) -> Interval:
    """A counted number: width zero where all replicates agree, else Student's t over them."""
    numbers = np.asarray(values, dtype=float)
    if len(numbers) and np.ptp(numbers) == 0:
        one = float(numbers[0])
        return Interval(one, one, one, len(numbers), math.inf, tuple(numbers.tolist()))
    return student(numbers)


def student(values: Sequence[float] | np.ndarray) -> Interval:
    """Mean and t interval of independent replicates; a single one has an infinite interval."""
    numbers = np.asarray(values, dtype=float)
    mean = float(numbers.mean())
    spread = numbers.std(ddof=1) / math.sqrt(len(numbers)) if len(numbers) > 1 else math.inf
    return _around(mean, float(spread), len(numbers) - 1, len(numbers), tuple(numbers.tolist()))


def _around(mean: float, error: float, df: float, n: int, replicates: tuple[float, ...]) -> Interval:
    if df < 1 or not math.isfinite(error):
        return Interval(mean, -math.inf, math.inf, n, 0.0, replicates)
    half = float(stats.t.ppf(0.5 + LEVEL / 2, df)) * error
    return Interval(mean, mean - half, mean + half, n, df, replicates)


def sum_of(one: Interval, other: Interval) -> Interval:
    """The sum of two independent means (logs of a product): errors add in squares, degrees of freedom by Satterthwaite.

    The replicates are those of `one`, moved by the other mean.
    """
    mean, parts = one.effect + other.effect, (one, other)
    replicates = tuple(value + other.effect for value in one.replicates)
    n = min(one.n, other.n)
    if any(part.df == 0.0 for part in parts):
        return Interval(mean, -math.inf, math.inf, n, 0.0, replicates)
    errors = [
        (part.high - part.low) / 2 / float(stats.t.ppf(0.5 + LEVEL / 2, min(part.df, 1e6))) for part in parts
    ]
    squares = [error**2 for error in errors]
    weights = sum(
        square**2 / part.df for square, part in zip(squares, parts, strict=True) if math.isfinite(part.df)
    )
    df = sum(squares) ** 2 / weights if weights else math.inf
    if not sum(squares):
        return Interval(mean, mean, mean, n, math.inf, replicates)
    return _around(mean, math.sqrt(sum(squares)), df if math.isfinite(df) else 1e6, n, replicates)


def crossed(differences: np.ndarray) -> Interval:
    """Mean of paired differences [seeds, items] with an interval over both: other seeds, other test items.

    Seeds and items are crossed random effects: V = MS_seeds / SI + MS_items / SI - MS_rest / SI, which counts the
    residual once; degrees of freedom by Satterthwaite. One seed alone gives an interval over items only.
    """
    differences = np.atleast_2d(np.asarray(differences, dtype=float))
    seeds, items = differences.shape
    by_seed, by_item = differences.mean(1), differences.mean(0)
    mean = float(by_seed.mean())
    over_seeds = float(by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    over_items = float(by_item.var(ddof=1)) / items if items > 1 else 0.0
    twice = 0.0
    if seeds > 1 and items > 1:
        rest = differences - by_seed[:, None] - by_item[None, :] + mean
        twice = float((rest**2).sum()) / ((seeds - 1) * (items - 1)) / (seeds * items)
    variance = max(over_seeds + over_items - twice, over_seeds, over_items)
    weights = over_seeds**2 / max(seeds - 1, 1) + over_items**2 / max(items - 1, 1)
    df = variance**2 / weights if weights else math.inf
    if variance == 0.0:
        return Interval(mean, mean, mean, seeds, math.inf, tuple(by_seed.tolist()))
    return _around(mean, math.sqrt(variance), max(df, 1.0), seeds, tuple(by_seed.tolist()))


def log_ratio_of_means(above: np.ndarray, below: np.ndarray) -> Interval:
    """log(mean above / mean below) over seeds and items, both [seeds, items], by the delta method."""
    above, below = np.atleast_2d(above), np.atleast_2d(below)
    top, bottom = above.mean(1, keepdims=True), below.mean(1, keepdims=True)
    logs = np.log(top / bottom)
    return crossed(logs + (above / top - 1.0) - (below / bottom - 1.0))


def benjamini_hochberg(p_values: Sequence[float], rate: float = 0.10) -> list[bool]:
    """Which of a family's tests stay discoveries at a false-discovery rate (Benjamini and Hochberg, 1995)."""
    count = len(p_values)
    order = np.argsort(p_values)
    keep = [False] * count
    last = 0
    for rank, at in enumerate(order, start=1):
        if p_values[at] <= rate * rank / count:
            last = rank
    for at in order[:last]:
        keep[at] = True
    return keep


def p_value(interval: Interval, threshold: float, above: bool, log: bool = False) -> float:
    """One-sided p value that the effect lies on the wrong side of the threshold.

    The error is that of the interval's near side, so an interval that is open on the far side (censored) has a p value
    too; where all n replicates were censored at one number, it is that of the sign test, 2^-n.
    """
    found = interval.log() if log else interval
    line = _log(threshold) if log else threshold
    gap, near = (found.effect - line, found.low) if above else (line - found.effect, found.high)
    if interval.df == 0.0 or not math.isfinite(near):
        return 1.0
    error = abs(found.effect - near)
    if error == 0.0:
        is_open = not math.isfinite(found.high if above else found.low)
        return (0.5**interval.n if is_open else 0.0) if gap > 0 else 1.0
    df = min(interval.df, 1e6)
    return float(stats.t.sf(gap / error * float(stats.t.ppf(0.5 + LEVEL / 2, df)), df))
