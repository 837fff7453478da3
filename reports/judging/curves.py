"""Effects read off curves: slope, crossover, reach, the best place, the equal size; each one number a replicate.

Curves are straight lines between their points, on x or on log x (`scale: log`). No law is fitted and nothing is read
beyond the last point: a replicate that would need it is *censored*, and its interval is open on that side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reports.judging.contrasts import as_list, replicate_of
from reports.judging.effects import Effect, effect
from reports.judging.ladders import Ladder, axis, curve, ladder, on_log, position
from reports.judging.readings import best, crossing, first_passage, last_passage
from reports.judging.samples import Reading, Scores, aligned, interval, kind, scores
from reports.judging.statistics import Interval, crossed
from reports.judging.table import Missing, Table


@effect
def slope(table: Table, check: Mapping[str, Any]) -> Effect:
    """Least-squares slope of the metric along x, a replicate; with `minus`, the difference of two slopes.

    `scale: log` takes log x, `loglog` the metric's log too: an exponent. Times are logs already (ratios to the
    baseline), so theirs is the exponent of the ratio, or of `of` over `over`.
    """
    source, log = kind(check), on_log(check)
    loglog = (check.get("args") or {}).get("scale") == "loglog" and source != "timed"
    sides = [side for side in ("of", "minus", "over") if check.get(side)]
    ladders = [ladder(table, check, side, log, distinct=False) for side in sides]
    keys, parts = aligned(*(made.points for made in ladders))
    if loglog and any(items.mean() <= 0 for part in parts for points in part for items in points):
        raise Missing(f"slope: {check['metric']} is not above zero everywhere, so it has no logarithm")
    weights = [(made.x - made.x.mean()) / ((made.x - made.x.mean()) ** 2).sum() for made in ladders]

    def fit(means: Sequence[np.ndarray]) -> Reading:
        fitted = [float(w @ (np.log(y) if loglog else y)) for w, y in zip(weights, means, strict=True)]
        return Reading(fitted[0] - sum(fitted[1:]))

    if source == "quality" and not loglog and len({len(i) for p in parts for pts in p for i in pts}) == 1:
        # linear, and every point has the same items: each item has a slope of its own
        lines = [
            np.tensordot(w, np.stack([np.stack(p) for p in part], 1), 1)
            for w, part in zip(weights, parts, strict=True)
        ]
        made = crossed(lines[0] - sum(lines[1:], np.zeros_like(lines[0])))
    else:
        made, _ = interval(fit, parts, source)
    return Effect(
        made, "difference", _basis(table, check), 0.0, f"along {axis(check)}", replicate_of(source, keys)
    )


@effect
def crossover(table: Table, check: Mapping[str, Any]) -> Effect:
    """The x at which the curve of `of` first crosses that of the other side (a ladder of its own, or one cell).

    A point at which both are equal is the crossing, if they lie the other way round behind it. Curves that do not
    cross between the first and the last point have no crossover: null, with the reason, in whichever replicate it is
    (leaving such replicates out would choose among them). `reach` with a `target` is the question that can be censored.

    Raises:
        Missing: the curves do not cross in every replicate.
    """
    log, source = on_log(check), kind(check)
    side = "over" if check.get("over") else "minus"
    made = ladder(table, check, "of", log)
    others = _beside(table, check, side, made, log)
    keys, parts = aligned(made.points, others)

    def cross(means: Sequence[np.ndarray]) -> Reading | None:
        at = crossing(made.x, means[0] - means[1])
        return None if at is None else Reading(at)

    found, each = interval(cross, parts, source)
    if math.isnan(found.effect):
        lost = sum(reading is None for reading in each)
        raise Missing(_no_crossing(made, parts, check, log, lost, len(each)))
    return _told(found, check, table, source, keys, log, each)


def _beside(table: Table, check: Mapping[str, Any], side: str, made: Ladder, log: bool) -> list[Scores]:
    """The other side's points at the x of `of`: its own ladder, or one cell that is the same everywhere."""
    arms = as_list(check.get(side))
    if not arms:
        raise Missing("crossover: needs another side (`over:` or `minus:`) whose curve is crossed")
    if len(arms) == 1 and not (check.get("args") or {}).get("at"):
        return curve(table, check, [(arms[0], str(check["metric"]))]) * len(made.x)
    other = ladder(table, check, side, log)
    if len(other.x) != len(made.x) or not np.allclose(other.x, made.x):
        raise Missing(f"crossover: the points of `of` and `{side}` do not lie at the same {axis(check)}")
    return other.points


def _no_crossing(made: Ladder, parts: Any, check: Mapping[str, Any], log: bool, lost: int, count: int) -> str:
    first, last = (float(np.exp(x) if log else x) for x in (made.x[0], made.x[-1]))
    gaps = [
        a.mean() - b.mean() for of, other in zip(*parts, strict=True) for a, b in zip(of, other, strict=True)
    ]
    where = (
        "above it"
        if min(gaps) >= 0 < max(gaps)
        else "below it"
        if max(gaps) <= 0 > min(gaps)
        else "beside it"
    )
    told = "the curves are equal" if not any(gaps) else f"`of` stays {where}"
    some = "" if lost == count else f" in {lost} of {count} replicates"
    return f"no crossover{some} for {axis(check)} from {first:g} to {last:g}" + (
        f": {told}" if not some else ""
    )


@effect
def reach(table: Table, check: Mapping[str, Any]) -> Effect:
    """The smallest x at which the metric reaches a target (args.target: a number, or a cell's own score).

    args.factor and args.margin move the target: factor * target + margin. `last: true` asks for the largest x at
    which the target is still met (how far one can prune). With `over`, another ladder, the ratio of both.
    Not reached is censored: the truth lies beyond the last x, the interval is open there; so is one that is met at the
    first x already. Times take a target that is a ratio to their baseline.
    """
    log, source, args = on_log(check), kind(check), check.get("args") or {}
    sides = ["of", *(["over"] if check.get("over") else [])]
    ladders = [ladder(table, check, side, log) for side in sides]
    target = _target(table, check, source)
    keys, parts = aligned(*(made.points for made in ladders), *([target] if isinstance(target, list) else []))
    rising = _rising(table, check)
    passage = last_passage if args.get("last") else first_passage
    factor, margin = float(args.get("factor", 1.0)), float(args.get("margin", 0.0))

    def read(means: Sequence[np.ndarray]) -> Reading:
        level = float(means[-1][0]) if isinstance(target, list) else target
        level = level + math.log(factor) if source == "timed" else factor * level + margin
        found = [
            _coordinate(passage(made.x, y - level, rising), log, log or len(ladders) > 1)
            for made, y in zip(ladders, means, strict=False)
        ]
        return found[0].minus(found[1]) if len(found) > 1 else found[0]

    found, each = interval(read, parts, source)
    return _told(found, check, table, source, keys, log, each, ratio=len(ladders) > 1)


def _target(table: Table, check: Mapping[str, Any], source: str) -> float | list[Scores]:
    given = check.get("target")
    if isinstance(given, str):
        places = (check.get("args") or {}).get("at") or ()
        # a quality metric without a place is that of the finished cell; a cost has none without its workload
        place = f"@{places[-1]}" if places and source != "quality" else ""
        return [scores(table, given, f"{check['metric']}{place}", source)]
    if given is None:
        raise Missing("reach: needs args.target, a number or a cell")
    if source == "timed":
        if float(given) <= 0:
            raise Missing("reach: a target of a time is a ratio to the baseline, above zero")
        return math.log(float(given))
    return float(given)


@effect
def at_best(table: Table, check: Mapping[str, Any]) -> Effect:
    """The x at which the metric is best: the vertex of the parabola through the best point and its two neighbours.

    A best at an end of the ladder says only that the truth may lie beyond it: censored there, and null where that is so
    in every replicate. With `over`, another ladder, the ratio of both; with `minus` the difference.

    Raises:
        Missing: fewer than three points, or the best is at an end of the ladder in every replicate.
    """
    log, source = on_log(check), kind(check)
    sides = [side for side in ("of", "over", "minus") if check.get(side)]
    ladders = [ladder(table, check, side, log) for side in sides]
    if min(len(made.x) for made in ladders) < 3:
        raise Missing("at_best: needs three points or more on a side")
    keys, parts = aligned(*(made.points for made in ladders))
    sign, ratio = (1.0 if _rising(table, check) else -1.0), bool(check.get("over"))

    def read(means: Sequence[np.ndarray]) -> Reading:
        found = [
            _coordinate(best(made.x, sign * y), log, ratio or log and "minus" not in check)
            for made, y in zip(ladders, means, strict=True)
        ]
        return found[0].minus(found[1]) if len(found) > 1 else found[0]

    found, each = interval(read, parts, source)
    if all(reading is not None and (reading.below or reading.above) for reading in each):
        raise Missing(f"at_best: the best is at an end of the ladder in all {len(each)} replicates: widen it")
    return _told(found, check, table, source, keys, log, each, ratio, "minus" in check)


@effect
def equal_size(table: Table, check: Mapping[str, Any]) -> Effect:
    """The size of `of` over that of a cell of the ladder `over` which is as good: below 1, smaller at equal quality.

    Size is args.along (default `nonzero`), read on logs; the ladder's size is the smallest at which its curve reaches
    the score of `of`. Better than the whole ladder, or worse than all of it, is censored.
    """
    source, args = kind(check), check.get("args") or {}
    along = str(args.get("along", "nonzero"))
    if not isinstance(check.get("of"), str):
        raise Missing("equal_size: `of` is one cell, `over` the ladder that it is read against")
    sized = {**check, "args": {"along": along}}
    made = ladder(table, sized, "over", log=True)
    size = position(table, check["of"], along, "equal_size")
    if size <= 0:
        raise Missing(f"equal_size: {along} is zero")
    own = curve(table, check, [(check["of"], str(check["metric"]))])
    keys, parts = aligned(own, made.points)
    rising = _rising(table, check)

    def read(means: Sequence[np.ndarray]) -> Reading:
        equal = first_passage(made.x, means[1] - float(means[0][0]), rising)
        return Reading(math.log(size)).minus(equal)

    found, each = interval(read, parts, source)
    return _told(found, sized, table, source, keys, True, each, ratio=True)


def _rising(table: Table, check: Mapping[str, Any]) -> bool:
    """Whether more is better; of a cost it is less."""
    known = table.metric(check["task"], check["metric"])
    return bool(known and known["better"] == "higher")


def _coordinate(reading: Reading, log: bool, logs_out: bool) -> Reading:
    """A place on the ladder's own scale as x, or as log x where ratios are told."""
    if log == logs_out:
        return reading
    if logs_out and reading.value <= 0:
        raise Missing("x is not above zero, so there is no ratio of places")
    value = math.log(reading.value) if logs_out else math.exp(reading.value)
    return Reading(value, reading.below, reading.above)


def _basis(table: Table, check: Mapping[str, Any]) -> str:
    return "measured" if kind(check) == "timed" else str(table.scope["tasks"][check["task"]]["basis"])


def _told(
    found: Interval,
    check: Mapping[str, Any],
    table: Table,
    source: str,
    keys: list[tuple[int, int]],
    log: bool,
    each: Sequence[Reading | None],
    ratio: bool = False,
    difference: bool = False,
) -> Effect:
    """The effect of an interval on the ladder's scale, with what was censored as its note."""
    ends = [("below the first", lambda r: r.below), ("beyond the last", lambda r: r.above)]
    notes = [f"along {axis(check)}"]
    for name, is_open in ends:
        count = sum(reading is not None and is_open(reading) for reading in each)
        if count:
            notes.append(f"{count} of {len(each)} {name} point")
    scale = "ratio" if ratio else "difference" if difference else "value"
    logs = ratio or (log and not difference)
    made = found.exp() if logs else found
    replicate = replicate_of(source, keys)
    return Effect(made, scale, _basis(table, check), 0.0, ", ".join(notes), replicate, logs)
