"""More seeds or rounds for one card: `extend: {<card>: {seeds: 10, rounds: 12}}`, which `joulemark extend` sets.

They come on top of what the plan has: cells and visits that are there keep their names, so nothing runs twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.cards import Card, CardRun

if TYPE_CHECKING:
    from benchmarks.plan import Plan


def seeds_of(plan: Plan, card: Card, run: CardRun) -> tuple[int, int]:
    """(seeds of a run by card and plan, the same with what `extend` asks for)."""
    usual = run.seeds or (plan.settings["seeds"] if has_seeds(plan, run) else 1)
    usual = min(usual, plan.settings["seeds"]) if plan.settings["small"] else usual
    asked = plan.settings["extend"].get(card.key, {}).get("seeds", 0)
    return usual, max(usual, asked if has_seeds(plan, run) else 0)


def has_seeds(plan: Plan, run: CardRun) -> bool:
    """Whether another seed is another replicate: not for a simulator or an operator that names none."""
    trains = plan.index["tasks"].get(run.task, {"trains": True})["trains"]
    return bool(run.seeds or trains)


def extend_rounds(plan: Plan, card: Card, run: CardRun, seeds: int) -> None:
    """Note up to which number `extend` wants the rounds of what a run times."""
    asked = plan.settings["extend"].get(card.key, {}).get("rounds", 0)
    ids = {plan.cell(arm, seed).system for arm in run.arms for seed in range(seeds)}
    for key, table in plan.timed.items():
        for system, workload in table if asked else ():
            if system in ids and workload in run.workloads:
                found = plan.more_rounds[key]
                found[system, workload] = max(found.get((system, workload), 0), asked)
