"""Cost-of-pass: the expected cost of a right answer, as an effect for checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reports.effects import Effect, effect
from reports.statistics import crossed
from reports.table import Missing, Table


@effect
def cost_of_pass(table: Table, check: Mapping[str, Any]) -> Effect:
    """Ratio of cost-of-pass v = E[C] / E[R] (Erol et al., 2025) between `of` and `over`.

    C is the check's metric, R the metric that `args.success` names (default `success`), both at one place
    (`price@level=3`). Means are over the items of a seed, and the interval over seeds and items, by the delta
    method on log C - log R. E[C] / E[R] is the claim's quantity, not E[C / R].

    Raises:
        Missing: a side is no single cell, or never succeeds, so that its cost-of-pass is infinite.
    """
    stem, _, place = check["metric"].partition("@")
    success = (check.get("args") or {}).get("success", "success") + (f"@{place}" if place else "")
    if not all(isinstance(check.get(side), str) for side in ("of", "over")):
        raise Missing("cost_of_pass compares one cell (`of`) with one other (`over`)")
    sides = [_linearised(table, check[side], check["metric"], success) for side in ("of", "over")]
    seeds = sorted(set(sides[0]) & set(sides[1]))
    if not seeds:
        raise Missing("the two sides have no seed in common")
    logs = np.stack([sides[0][seed] - sides[1][seed] for seed in seeds])
    known = table.metric(check["task"], stem) or {"band": 0.0}
    return Effect(crossed(logs).exp(), "ratio", table.scope["tasks"][check["task"]]["basis"], known["band"])


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
