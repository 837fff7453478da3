"""What would settle an unclear check: more seeds, rounds or test items, estimated from the spread that was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from reports.judging.effects import Effect
from reports.judging.statistics import LEVEL

#: More seeds or rounds than this are not worth asking for.
MOST = 60
#: Seeds or rounds that show a spread to begin with.
USUAL = 5


@dataclass(frozen=True)
class Settling:
    """What it would take.

    Attributes:
        what: `seeds`, `rounds`, `test items`, `points`, or empty where nothing of these would do.
        n: how many in all; None where that cannot be told.
        told: in words.
    """

    what: str
    n: int | None
    told: str


def settling(found: Effect, lines: Sequence[float], items: str = "test items") -> Settling:
    """The least number of replicates whose expected interval leaves the threshold alone, if the estimate stays.

    The variance of the mean is split as it was seen: V = s^2 / n + rest, where s is the spread over replicates and
    the rest (test items, steps of other seeds) does not shrink with n. So n is the smallest with
    t(n - 1) sqrt(s^2 / n + rest) < |effect - threshold|, on logs for ratios.

    Args:
        found: the effect; its interval crosses one of the lines.
        lines: thresholds.
        items: what a test item is called (`draws` of a simulator).
    """
    word, n = found.replicate, found.interval.n
    interval = found.interval.log() if found.on_logs else found.interval
    scaled = [math.log(line) if found.on_logs else line for line in lines if line > 0 or not found.on_logs]
    if not scaled or not math.isfinite(interval.effect):
        return Settling("", None, "")
    gap = min(abs(interval.effect - line) for line in scaled)
    open_ends = [not math.isfinite(end) for end in (interval.low, interval.high)]
    if any(open_ends) and interval.df > 0:
        return Settling("points", None, "a ladder that goes on beyond its last point would settle it")
    if not math.isfinite(interval.high):
        return Settling(
            word, USUAL, f"needs more {word}: with {n} there is no spread to go by; {USUAL} show one"
        )
    df = min(interval.df, 1e6)
    error = (interval.high - interval.low) / 2 / float(stats.t.ppf(0.5 + LEVEL / 2, df))
    if n < 2:
        return _by_items(error, 0.0, gap, items, word)
    spread = float(np.var(interval.replicates, ddof=1))
    rest = max(0.0, error**2 - spread / n)
    for more in range(n + 1, MOST + 1):
        if _half(more, spread, rest) < gap:
            return Settling(word, more, f"about {more} {word} in all would settle it if the estimate stays")
    if rest > spread / MOST:
        return _by_items(math.sqrt(rest), spread / MOST, gap, items, word)
    return Settling("", None, f"more than {MOST} {word} would be needed: the estimate lies on the threshold")


def _half(n: int, spread: float, rest: float) -> float:
    return float(stats.t.ppf(0.5 + LEVEL / 2, n - 1)) * math.sqrt(spread / n + rest)


def _by_items(error: float, left: float, gap: float, items: str, word: str) -> Settling:
    """More test items: their part of the variance shrinks with their number."""
    normal = float(stats.norm.ppf(0.5 + LEVEL / 2))
    free = (gap / normal) ** 2 - left
    times = math.ceil(error**2 / free) if free > 0 else math.inf
    lead = f"more {word} would not settle it: " if word else ""
    if times > MOST:
        return Settling("", None, f"{lead}the estimate lies on the threshold")
    return Settling(
        items, None, f"{lead}about {max(times, 2)} times as many {items} would, if the estimate stays"
    )
