"""Cost-of-pass: the expected cost of a right answer, as an effect for checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from reports.judging.effects import TIMED, Effect, effect, paired, plain
from reports.judging.statistics import crossed, log_ratio_of_means, sum_of
from reports.judging.table import Missing, Table


@effect
def cost_of_pass(table: Table, check: Mapping[str, Any]) -> Effect:
    """Ratio of cost-of-pass v = E[C] / E[R] (Erol et al., 2025) between `of` and `over`.

    C is the check's metric, R the metric that `args.success` names (default `success`), both at one place
    (`price@level=3`). Means are over the items of a seed, and the interval over seeds and items, by the delta
    method on log C - log R. A time or energy is that of rounds (`energy_j@batch32`), and its successes are those of
    all test items. E[C] / E[R] is the claim's quantity, not E[C / R].

    Raises:
        Missing: a side is no single cell, or never succeeds, so that its cost-of-pass is infinite.
    """
    stem, _, place = check["metric"].partition("@")
    place = "" if stem in TIMED else place
    success = (check.get("args") or {}).get("success", "success") + (f"@{place}" if place else "")
    if not all(isinstance(check.get(side), str) for side in ("of", "over")):
        raise Missing("cost_of_pass compares one cell (`of`) with one other (`over`)")
    if stem in TIMED:
        return _of_rounds(table, check, success)
    sides = [_linearised(table, check[side], check["metric"], success) for side in ("of", "over")]
    seeds = sorted(set(sides[0]) & set(sides[1]))
    if not seeds:
        raise Missing("the two sides have no seed in common")
    logs = np.stack([sides[0][seed] - sides[1][seed] for seed in seeds])
    known = table.metric(check["task"], stem) or {"band": 0.0}
    return Effect(crossed(logs).exp(), "ratio", table.scope["tasks"][check["task"]]["basis"], known["band"])


def _of_rounds(table: Table, check: Mapping[str, Any], success: str) -> Effect:
    """Time or energy of a right answer: the cost's ratio over rounds, times that of successes over seeds and items.

    Both are independent, so their logs add: errors in squares, degrees of freedom by Satterthwaite.
    """
    cost = plain(table, {key: value for key, value in check.items() if key not in ("effect", "args")})
    passes = {side: table.items(check[side], success) for side in ("of", "over")}
    for side, found in passes.items():
        if not all(items.mean() > 0 for items in found.values()):
            raise Missing(f"{table.arms[check[side]]['label']} never succeeds: its cost-of-pass is infinite")
    fewer = log_ratio_of_means(*paired(passes["over"], passes["of"]))
    whole = sum_of(cost.interval.log(), fewer)
    return replace(
        cost, interval=whole.exp(), note=", ".join(filter(None, (cost.note, "rounds and test items")))
    )


def _linearised(table: Table, arm: str, cost: str, success: str) -> dict[int, np.ndarray]:
    """Seed -> one number an item, whose mean is log v and whose spread is that of the estimate."""
    costs, passes = table.items(arm, cost), table.items(arm, success)
    found = {}
    for seed in sorted(set(costs) & set(passes)):
        c, r = costs[seed], passes[seed]
        if not r.mean() > 0:
            raise Missing(f"{table.arms[arm]['label']} never succeeds: its cost-of-pass is infinite")
        found[seed] = np.log(c.mean() / r.mean()) + (c / c.mean() - 1.0) - (r / r.mean() - 1.0)
    return found
