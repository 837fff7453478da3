"""Effects: from rows to one number a replicate. A check names two sides and a metric; odd ones name a function here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.statistics import Interval, crossed, exact, log_ratio_of_means, student
from reports.table import Missing, Table

#: Metrics that come from rounds.
TIMED = ("latency_s", "train_s", "energy_j")
#: Indifference bands of costs, as shares: time 2 %, energy 2 % on one board; counted numbers are exact.
BANDS = {
    "latency_s": 0.02,
    "train_s": 0.02,
    "energy_j": 0.02,
    "fit_cpu_s": 0.02,
    "adapt_cpu_s": 0.02,
    "stages_cpu_s": 0.02,
}


@dataclass(frozen=True)
class Effect:
    """An interval with what it is.

    Attributes:
        interval: on the scale that the check speaks of.
        scale: `difference`, `ratio` or `value`.
        basis: counted, measured or modelled.
        band: the indifference band on that scale (a share for ratios).
        note: the form that was timed, `contended`, and the like.
    """

    interval: Interval
    scale: str
    basis: str
    band: float
    note: str = ""


Function = Callable[[Table, Mapping[str, Any]], Effect]
LIBRARY: dict[str, Function] = {}


def effect(function: Function) -> Function:
    """Register an effect under its function's name."""
    LIBRARY[function.__name__] = function
    return function


def compute(table: Table, check: Mapping[str, Any]) -> Effect:
    """The effect of a check.

    Raises:
        Missing: a number is not there.
    """
    import reports.cost_of_pass  # noqa: F401 - registers itself; it imports this module

    name = check.get("effect")
    if name is None:
        return plain(table, check)
    if name not in LIBRARY:
        raise Missing(f"there is no effect {name!r}; there are {', '.join(sorted(LIBRARY))}")
    return LIBRARY[name](table, check)


def plain(table: Table, check: Mapping[str, Any]) -> Effect:
    """`of` minus or over another side, in the check's metric."""
    check = _chosen(table, check)
    if check["metric"].partition("@")[0] in TIMED:
        return _timed(table, check)
    if check["quality"]:
        return _quality(table, check)
    return _counted(table, check)


def _chosen(table: Table, check: Mapping[str, Any]) -> dict[str, Any]:
    """Sides that say `best` become the arm that is best on validation data."""
    chosen = dict(check)
    for side in ("of", "minus", "over"):
        if isinstance(chosen.get(side), Mapping):
            chosen[side] = best_on_validation(table, chosen[side], check)
    return chosen


def best_on_validation(table: Table, side: Mapping[str, Any], check: Mapping[str, Any]) -> str:
    """The arm of a side's grid with the best mean validation score over seeds; test scores are not looked at."""
    metric = side["by"] or check["metric"]
    known = table.metric(check["task"], metric)
    if known is None:
        raise Missing(f"best: {metric} is no quality metric of {check['task']}")
    scores = {}
    for arm in side["best"]:
        part = table.cells[(table.cells["arm"] == arm) & (table.cells["metric"] == metric)]
        found = part["valid"].dropna().tolist()
        # a seed that diverged counts with the chance level here, as it does on the test items
        lost = sum(status == "diverged" for (other, _), (status, _) in table.status.items() if other == arm)
        if found:
            scores[arm] = float(np.mean(found + [known["chance"]] * lost))
    if not scores:
        raise Missing("best: no cell has validation scores")
    pick = max if known["better"] == "higher" else min
    return pick(sorted(scores), key=scores.__getitem__)


def _quality(table: Table, check: Mapping[str, Any]) -> Effect:
    metric = check["metric"]
    known = table.metric(check["task"], metric) or {"band": 0.0, "relative": False}
    basis = table.scope["tasks"][check["task"]]["basis"]
    above = table.items(check["of"], metric)
    other = check.get("minus") or check.get("over")
    if other is None:
        return Effect(crossed(np.stack(list(above.values()))), "value", basis, 0.0)
    a, b = _paired(above, table.items(other, metric))
    if "over" in check:
        if not (a.mean(1) > 0).all() or not (b.mean(1) > 0).all():
            raise Missing(f"{metric} is zero on one side: there is no ratio")
        band = known["band"] if known["relative"] else _relative_band(known["band"], float(b.mean()))
        return Effect(log_ratio_of_means(a, b).exp(), "ratio", basis, band)
    band = known["band"] * abs(float(b.mean())) if known["relative"] else known["band"]
    return Effect(crossed(a - b), "difference", basis, band)


def _paired(*sides: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    """Scores per item of the seeds that all sides have, each [seeds, items]."""
    seeds = sorted(set.intersection(*(set(side) for side in sides)))
    if not seeds:
        raise Missing("the sides have no seed in common")
    return [np.stack([side[seed] for seed in seeds]) for side in sides]


def _relative_band(band: float, level: float) -> float:
    return band / abs(level) if level else 0.0


def _timed(table: Table, check: Mapping[str, Any]) -> Effect:
    metric = check["metric"]
    logs, form, base, contended = table.rounds(check["of"], metric)
    note = f"{form} form" + (", contended" if contended else "")
    other = check.get("over")
    if other is None:
        raise Missing(f"{metric}: times are compared as ratios (`over:`) within a round")
    below, _, other_base, more = table.rounds(other, metric)
    if base != other_base:
        raise Missing("the two sides never met: they were timed beside different baselines")
    common = sorted(set(logs) & set(below))
    if not common:
        # seeds of one side only: rounds still pair them
        logs, below = _by_round(logs), _by_round(below)
        common = sorted(set(logs) & set(below))
    if not common:
        raise Missing("the two sides have no round in common")
    ratios = {key: logs[key] - below[key] for key in common}
    seeds = sorted({seed for seed, _ in ratios})
    if len(seeds) > 1:  # what was learnt moves the cost: seeds are the replicates
        values = [float(np.mean([v for (s, _), v in ratios.items() if s == seed])) for seed in seeds]
    else:
        values = list(ratios.values())
    note += ", contended" if more and not contended else ""
    return Effect(student(values).exp(), "ratio", "measured", BANDS[metric.partition("@")[0]], note)


def _by_round(logs: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    rounds = sorted({number for _, number in logs})
    return {
        (0, number): float(np.mean([v for (_, r), v in logs.items() if r == number])) for number in rounds
    }


def _counted(table: Table, check: Mapping[str, Any]) -> Effect:
    metric = check["metric"]
    basis = "measured" if metric.endswith("cpu_s") else table.scope["tasks"][check["task"]]["basis"]
    band = BANDS.get(metric.partition("@")[0], 0.0)
    above = table.counted(check["of"], metric)
    other = check.get("minus") or check.get("over")
    if other is None:
        return Effect(exact(list(above.values())), "value", basis, band)
    below = table.counted(other, metric)
    seeds = sorted(set(above) & set(below))
    if not seeds:
        raise Missing("the sides have no seed in common")
    if "over" in check:
        if any(below[seed] <= 0 or above[seed] <= 0 for seed in seeds):
            raise Missing(f"{metric} is zero: there is no ratio")
        logs = [math.log(above[seed]) - math.log(below[seed]) for seed in seeds]
        same = exact([above[seed] / below[seed] for seed in seeds])
        return Effect(same if same.low == same.high else exact(logs).exp(), "ratio", basis, band)
    return Effect(exact([above[seed] - below[seed] for seed in seeds]), "difference", basis, band)


@effect
def share_of_draws(table: Table, check: Mapping[str, Any]) -> Effect:
    """The share of test items (draws of a simulator) in which `of` beats the other side by args.factor (default 1)."""
    metric, factor = check["metric"], float((check.get("args") or {}).get("factor", 1.0))
    known = table.metric(check["task"], metric)
    if known is None:
        raise Missing(f"share_of_draws: {metric} is no quality metric of {check['task']}")
    check = _chosen(table, check)
    sides = [check["of"], check.get("over") or check.get("minus")]
    if not all(isinstance(side, str) for side in sides):
        raise Missing("share_of_draws: needs one cell, and one to beat (`over:` or `minus:`)")
    a, b = _paired(*(table.items(side, metric) for side in sides))
    wins = a > factor * b if known["better"] == "higher" else a < factor * b
    return Effect(crossed(wins.astype(float)), "value", table.scope["tasks"][check["task"]]["basis"], 0.0)


@effect
def difference_of_differences(table: Table, check: Mapping[str, Any]) -> Effect:
    """(of[0] - of[1]) - (minus[0] - minus[1]) for quality: does a gain grow between two settings?"""
    arms = [*_list(check["of"]), *_list(check.get("minus"))]
    if len(arms) != 4:
        raise Missing(f"difference_of_differences: needs two cells on each side, not {len(arms)} in all")
    a, b, c, d = _paired(*(table.items(arm, check["metric"]) for arm in arms))
    known = table.metric(check["task"], check["metric"]) or {"band": 0.0}
    basis = table.scope["tasks"][check["task"]]["basis"]
    return Effect(crossed((a - b) - (c - d)), "difference", basis, known["band"])


@effect
def slope(table: Table, check: Mapping[str, Any]) -> Effect:
    """Slope of a quality metric over args.x (one number an arm of `of`), by least squares a seed and item."""
    xs = np.asarray((check.get("args") or {}).get("x", []), dtype=float)
    arms = _list(check["of"])
    if len(xs) != len(arms):
        raise Missing(f"slope: {len(xs)} values of x for {len(arms)} cells")
    if len(set(xs.tolist())) < 2:
        raise Missing("slope: needs two different values of x")
    values = np.stack(_paired(*(table.items(arm, check["metric"]) for arm in arms)))
    weights = (xs - xs.mean()) / ((xs - xs.mean()) ** 2).sum()
    basis = table.scope["tasks"][check["task"]]["basis"]
    return Effect(crossed(np.tensordot(weights, values, axes=1)), "difference", basis, 0.0)


def _list(side: Any) -> list[str]:
    return list(side) if isinstance(side, list) else [side] if isinstance(side, str) else []


def with_note(found: Effect, note: str) -> Effect:
    """The same effect with one more remark."""
    return replace(found, note=", ".join(filter(None, (found.note, note))))
