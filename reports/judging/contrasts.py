"""Effects between cells: how often one wins, and whether a gain grows between two settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reports.judging.effects import BANDS, Effect, chosen, effect, paired
from reports.judging.samples import Reading, aligned, interval, kind, met, scores
from reports.judging.statistics import crossed
from reports.judging.table import Missing, Table


@effect
def share_of_draws(table: Table, check: Mapping[str, Any]) -> Effect:
    """The share of test items (draws of a simulator) in which `of` beats the other side by args.factor (default 1).

    A tie is no win. With `factor`, `of` must be better than the factor times the other side's score.
    """
    metric, factor = check["metric"], float((check.get("args") or {}).get("factor", 1.0))
    known = table.metric(check["task"], metric)
    if known is None:
        raise Missing(f"share_of_draws: {metric} is no quality metric of {check['task']}")
    check = chosen(table, check)
    sides = [check["of"], check.get("over") or check.get("minus")]
    if not all(isinstance(side, str) for side in sides):
        raise Missing("share_of_draws: needs one cell, and one to beat (`over:` or `minus:`)")
    a, b = paired(*(table.items(side, metric) for side in sides))
    wins = a > factor * b if known["better"] == "higher" else a < factor * b
    return Effect(crossed(wins.astype(float)), "value", table.scope["tasks"][check["task"]]["basis"], 0.0)


@effect
def difference_of_differences(table: Table, check: Mapping[str, Any]) -> Effect:
    """(of[0] - of[1]) - (other[0] - other[1]): does a gain grow between two settings?

    With `over`, and for times, a ratio of ratios: (of[0] / of[1]) / (other[0] / other[1]).
    """
    arms = [*as_list(check["of"]), *as_list(check.get("minus") or check.get("over"))]
    if len(arms) != 4 or len(as_list(check["of"])) != 2:
        raise Missing(f"difference_of_differences: needs two cells on each side, not {len(arms)} in all")
    metric, source = check["metric"], kind(check)
    known = table.metric(check["task"], metric) or {"band": BANDS.get(metric.partition("@")[0], 0.0)}
    basis = "measured" if source == "timed" else table.scope["tasks"][check["task"]]["basis"]
    if source == "quality" and "over" not in check:
        a, b, c, d = paired(*(table.items(arm, metric) for arm in arms))
        return Effect(crossed((a - b) - (c - d)), "difference", basis, known["band"])
    if source == "timed":
        met(table, [(arm, metric) for arm in arms])
    keys, (curve,) = aligned([scores(table, arm, metric, source) for arm in arms])
    logs = source != "timed" and "over" in check
    if logs and any(items.mean() <= 0 for part in curve for items in part):
        raise Missing(f"{metric} is zero on one side: there is no ratio")

    def contrast(means: Any) -> Reading:
        a, b, c, d = np.log(means[0]) if logs else means[0]
        return Reading(float((a - b) - (c - d)))

    made, _ = interval(contrast, [curve], source)
    if not logs and source != "timed":
        return Effect(made, "difference", basis, known["band"])
    band = known["band"] if known.get("relative", source != "quality") else 0.0
    return Effect(made.exp(), "ratio", basis, band, replicate=replicate_of(source, keys))


def arms_of(side: Any) -> list[str]:
    """All arms of a side of a check, those among which `best` chooses as well."""
    return list(side["best"]) if isinstance(side, Mapping) else as_list(side)


def as_list(side: Any) -> list[str]:
    """The arms of a side."""
    return list(side) if isinstance(side, list) else [side] if isinstance(side, str) else []


def replicate_of(source: str, keys: list[tuple[int, int]]) -> str:
    """What the replicates are: rounds for times of one seed, else seeds."""
    return "rounds" if source == "timed" and len({seed for seed, _ in keys}) == 1 else "seeds"
