"""The decision table of a task: the cheapest arm that loses no more than so much, one line a cost.

An arm is within a loss L when its whole 95 % interval is: low > -L, where quality is turned so that more is
better. A loss of zero cannot be shown by any finite experiment, so `no loss` means less than the metric's
indifference band, and no column asks for less than that band.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.judging.arms import Arm, Section
from reports.judging.effects import Effect
from reports.judging.fronts import turned
from reports.judging.statistics import Interval
from reports.notation import Words, long_name, place, words

#: Points of loss that the columns allow, for metrics that are shares.
POINTS = (0.0, 1.0, 3.0)
#: The same for other metrics, in indifference bands: one point is two bands of an accuracy.
BANDS = (0.0, 2.0, 6.0)
#: A counted cost has no band: what saves less than this is no choice.
LEAST = 0.005


@dataclass(frozen=True)
class Pick:
    """The cheapest arm within a loss.

    Attributes:
        ratio, change: cost over the baseline's, and quality minus the baseline's, as text.
        guess: quality has no interval yet, so the estimate alone let it in.
    """

    arm: Arm
    ratio: str
    change: str
    guess: bool


@dataclass(frozen=True)
class Line:
    """One cost: what is cheapest within each loss; None where nothing is cheaper than the baseline."""

    metric: str
    name: str
    workload: str
    basis: str
    picks: tuple[Pick | None, ...]


@dataclass(frozen=True)
class Decision:
    """The table of one setting of a task; `idle` are costs in which the baseline is cheapest within every loss."""

    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    idle: tuple[str, ...] = ()


def decide(section: Section, costs: Sequence[str]) -> Decision:
    """The table for these costs; without a quality metric it has no lines."""
    metric = section.metric
    if metric is None:
        return Decision((), ())
    steps = POINTS if metric["unit"] == "share" else BANDS
    band = _band(section)
    allowed = [max(step * (0.01 if metric["unit"] == "share" else band), band) for step in steps]
    lines: list[Line] = []
    for cost in costs:
        able = _able(section, cost)
        if len(able) > 1:
            basis = next(effect.basis for _, effect, _ in able)
            picks = tuple(_pick(metric, able, loss) for loss in allowed)
            lines.append(Line(cost, long_name(cost), place(cost), basis, picks))
    idle = [f"{line.name} {line.workload}".strip() for line in lines if not any(line.picks)]
    return Decision(_heads(metric, allowed), tuple(line for line in lines if any(line.picks)), tuple(idle))


def _band(section: Section) -> float:
    """The indifference band as a difference (a relative one is a share of the baseline's quality)."""
    bands = [arm.change.band for arm in section.arms if arm.change is not None]
    return max(bands, default=0.0)


def _heads(metric: Mapping[str, Any], allowed: Sequence[float]) -> tuple[str, ...]:
    say = words("difference", str(metric["name"]), metric)
    first, *rest = (say.one(loss) for loss in allowed)
    return (f"no loss (less than {first})", *(f"within {loss}" for loss in rest))


def _able(section: Section, cost: str) -> list[tuple[Arm, Effect, Interval]]:
    """Arms with this cost and a quality, cheapest first."""
    sign = 1.0 if section.metric and section.metric["better"] == "higher" else -1.0
    found = []
    for arm in section.arms:
        number = arm.times.get(cost) or arm.costs.get(cost)
        if number is not None and number.ratio is not None and arm.change is not None:
            found.append((arm, number.ratio, turned(arm.change, sign)))
    return sorted(found, key=lambda each: (each[1].interval.effect, not each[0].baseline, -each[2].effect))


def _pick(
    metric: Mapping[str, Any], able: Sequence[tuple[Arm, Effect, Interval]], loss: float
) -> Pick | None:
    """The first that is within the loss and surely cheaper than the baseline, which ends the search."""
    say, ratio = words("difference", str(metric["name"]), metric), Words("ratio", "")
    for arm, cost, gain in able:
        if arm.baseline:
            return None
        if cost.interval.high >= 1.0 - max(cost.band, LEAST):
            continue
        guess = not math.isfinite(gain.low)
        if (gain.effect if guess else gain.low) <= -loss:
            continue
        at, change = cost.interval, arm.change.interval if arm.change else gain
        return Pick(
            arm,
            ratio.effect(at.effect, at.low, at.high),
            say.effect(change.effect, change.low, change.high, sign=True),
            guess,
        )
    return None
