"""What is read off one curve: where it passes a level, where it crosses another, where it is best."""

from __future__ import annotations

import numpy as np

from reports.judging.samples import Reading


def first_passage(x: np.ndarray, gap: np.ndarray, rising: bool) -> Reading:
    """The smallest x at which a curve meets its level.

    Args:
        x: rising, [points].
        gap: the curve less the level, [points].
        rising: met where gap >= 0; else where gap <= 0.

    Returns:
        x between the last point that misses and the first that meets, on the straight line between them. Met at
        the first point: that point, open below. Never met: the last point, open above.
    """
    gap = gap if rising else -gap
    met = np.flatnonzero(gap >= 0)
    if not len(met):
        return Reading(float(x[-1]), above=True)
    at = int(met[0])
    if at == 0:
        return Reading(float(x[0]), below=True)
    share = gap[at - 1] / (gap[at - 1] - gap[at])
    return Reading(float(x[at - 1] + share * (x[at] - x[at - 1])))


def last_passage(x: np.ndarray, gap: np.ndarray, rising: bool) -> Reading:
    """The largest x at which a curve still meets its level; `first_passage` from the other end."""
    mirrored = first_passage(-x[::-1], gap[::-1], rising)
    return Reading(-mirrored.value, below=mirrored.above, above=mirrored.below)


def crossing(x: np.ndarray, gap: np.ndarray) -> float | None:
    """The first x at which the gap changes its sign, on the straight line between two points; None where it never does.

    Where it is zero at a point between two signs, the crossing is that point (the first, where it stays zero).
    """
    signs = np.sign(gap)
    there = np.flatnonzero(signs)
    for before, after in zip(there, there[1:], strict=False):
        if signs[before] == signs[after]:
            continue
        if after - before > 1:
            return float(x[before + 1])
        share = gap[before] / (gap[before] - gap[after])
        return float(x[before] + share * (x[after] - x[before]))
    return None


def best(x: np.ndarray, y: np.ndarray) -> Reading:
    """The x of the largest y, by the parabola through it and its neighbours (the first, of several equal ones).

    The best at an end: that end, open outwards.
    """
    at = int(np.argmax(y))
    if at in (0, len(x) - 1):
        return Reading(float(x[at]), below=at == 0, above=at > 0)
    left, right = x[at] - x[at - 1], x[at] - x[at + 1]
    down, up = y[at] - y[at + 1], y[at] - y[at - 1]
    bottom = left * down - right * up
    if bottom == 0:  # all three are equal
        return Reading(float(x[at]))
    return Reading(float(x[at] - 0.5 * (left**2 * down - right**2 * up) / bottom))
