"""Effects: from rows to one number a replicate. A check names two sides and a metric; odd ones name a function here."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.judging.joins import agree_of, boards
from reports.judging.statistics import Interval, crossed, exact, log_ratio_of_means, student
from reports.judging.table import Missing, Table
from reports.judging.trainingtime import with_steps_of_all_seeds

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
#: Energy of boards of one model differs by this share.
ACROSS_BOARDS = 0.05


@dataclass(frozen=True)
class Effect:
    """An interval with what it is.

    Attributes:
        interval: on the scale that the check speaks of.
        scale: `difference`, `ratio` or `value`.
        basis: counted, measured or modelled.
        band: the indifference band on that scale (a share for ratios).
        note: the form that was timed, `contended`, and the like.
        replicate: what its replicates are: `seeds` or `rounds`.
        logs: the interval is even around the effect on logs, as that of a ratio is.
    """

    interval: Interval
    scale: str
    basis: str
    band: float
    note: str = ""
    replicate: str = "seeds"
    logs: bool = False

    @property
    def on_logs(self) -> bool:
        """True where errors are shares of the effect."""
        return self.logs or self.scale == "ratio"


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
    name = check.get("effect")
    if name is None:
        return plain(table, check)
    known = library()
    if name not in known:
        raise Missing(f"there is no effect {name!r}; there are {', '.join(sorted(known))}")
    return known[name](table, check)


def library() -> dict[str, Function]:
    """All effects by name; their modules register themselves when they are imported."""
    for module in ("contrasts", "cost_of_pass", "curves"):
        importlib.import_module(f"reports.judging.{module}")
    return LIBRARY


def plain(table: Table, check: Mapping[str, Any]) -> Effect:
    """`of` minus or over another side, in the check's metric."""
    check = chosen(table, check)
    if check["metric"].partition("@")[0] in TIMED:
        return _timed(table, check)
    if check["quality"]:
        return _quality(table, check)
    return _counted(table, check)


def chosen(table: Table, check: Mapping[str, Any]) -> dict[str, Any]:
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
        found = table.valid(arm, metric)
        if found:  # a seed that diverged counts with the chance level here, as it does on the test items
            scores[arm] = float(np.mean(found + [known["chance"]] * table.diverged(arm)))
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
    a, b = paired(above, table.items(other, metric))
    if "over" in check:
        if not (a.mean(1) > 0).all() or not (b.mean(1) > 0).all():
            raise Missing(f"{metric} is zero on one side: there is no ratio")
        band = known["band"] if known["relative"] else _relative_band(known["band"], float(b.mean()))
        return Effect(log_ratio_of_means(a, b).exp(), "ratio", basis, band)
    band = known["band"] * abs(float(b.mean())) if known["relative"] else known["band"]
    return Effect(crossed(a - b), "difference", basis, band)


def paired(*sides: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    """Scores per item of the seeds that all sides have, each [seeds, items]."""
    seeds = sorted(set.intersection(*(set(side) for side in sides)))
    if not seeds:
        raise Missing("the sides have no seed in common")
    return [np.stack([side[seed] for seed in seeds]) for side in sides]


def _relative_band(band: float, level: float) -> float:
    return band / abs(level) if level else 0.0


def _timed(table: Table, check: Mapping[str, Any]) -> Effect:
    metric = check["metric"]
    other = check.get("over")
    bases = table.met(check["of"], metric)
    if other is None:
        raise Missing(f"{metric}: times are compared as ratios (`over:`) within a round")
    bases &= table.met(other, metric)
    if not bases:
        raise Missing("the two sides never met: they were timed beside different baselines")
    bases = table.beside(check["of"], metric, bases)
    logs, form, _, contended = table.rounds(check["of"], metric, bases)
    below, _, _, more = table.rounds(other, metric, bases)
    note = f"{form} form" + (", contended" if contended else "")
    agree_of(table, (check["of"], other), metric)
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
    stem = metric.partition("@")[0]
    band = (
        ACROSS_BOARDS
        if stem == "energy_j" and boards(table, (check["of"], other), metric) > 1
        else BANDS[stem]
    )
    interval = student(values)
    if stem == "train_s" and len(seeds) == 1:
        interval = with_steps_of_all_seeds(table, check["of"], other, seeds[0], interval)
    replicate = "seeds" if len(seeds) > 1 else "rounds"
    return Effect(interval.exp(), "ratio", "measured", band, note, replicate)


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


def with_note(found: Effect, note: str) -> Effect:
    """The same effect with one more remark."""
    return replace(found, note=", ".join(filter(None, (found.note, note))))
