"""What jobs and pages are told, as JSON: everything that they need to know of the plan."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks import studies
from benchmarks.layout import PROTOCOL

if TYPE_CHECKING:
    from benchmarks.plan import Plan

#: What a page does not need of the index.
INTERNAL = ("source", "files", "axes", "counts", "keeps", "spends", "probes")


def chunk_text(plan: Plan, name: str) -> str:
    """The spec of a train job."""
    chunk = plan.chunks[name]
    spec: dict[str, Any] = {
        "cells": [cell.spec() for cell in chunk.cells],
        "data": chunk.data,
        "limits": plan.settings["limits"],
    }
    if plan.device != "cpu":
        spec["device"] = plan.device
    return json.dumps(spec, sort_keys=True)


def round_text(plan: Plan, name: str) -> str:
    """The spec of a measure job."""
    made = plan.rounds[name]
    visits: dict[str, Any] = {}
    for cell, workload in made.visits:
        visits.setdefault(cell.system, {**cell.spec(), "timed": []})["timed"].append(workload)
    return json.dumps(
        {
            "round": made.number,
            "baseline": made.baseline.spec(),
            "cells": list(visits.values()),
            "data": plan.layout.data_name(made.baseline),
            "first_group": made.first_group,
            "protocol": PROTOCOL,
            "device": plan.device,
            "energy_window_s": plan.settings["energy_window_s"],
        },
        sort_keys=True,
    )


def data_text(plan: Plan, name: str) -> str:
    """The spec of a data job."""
    arm = next(chunk.cells[0].arm for chunk in plan.chunks.values() if chunk.data == name)
    return json.dumps({"task": arm.task, "knobs": arm.task_knobs}, sort_keys=True)


def scope_text(plan: Plan, scope: str) -> str:
    """What a report of this scope says and judges."""
    part = plan.scopes[scope]
    arms = {cell.arm.id for name in part.chunks for cell in plan.chunks[name].cells}
    runs = [run for card in part.cards for run in card.runs]
    tasks = {run.task for run in runs}
    methods = {arm.method["method"] for run in runs for arm in run.arms}
    return json.dumps(
        {
            "plan": plan.name,
            "typed": plan.typed,
            "scope": scope,
            "settings": plan.settings,
            "cards": [_card(plan, card, arms) for card in part.cards],
            "tasks": _described(plan, "tasks", tasks),
            "methods": _described(plan, "methods", methods),
            "tuning": studies.summaries(tasks, methods),
        },
        sort_keys=True,
        default=str,
    )


def _card(plan: Plan, card: Any, arms: set[str]) -> dict[str, Any]:
    """A card with its claims resolved to arms, and which arms this scope runs."""
    return {
        **{key: value for key, value in card.raw.items() if key not in ("claims", "controls", "figures")},
        "key": card.key,
        "target": card.scope,
        **plan.claims_of[card.key],
        "figures": [
            {
                **figure,
                "arms": [arm for arm in figure["arms"] if arm in arms],
                "settings": [
                    {**one, "arms": [arm for arm in one["arms"] if arm in arms]} for one in figure["settings"]
                ],
            }
            for figure in plan.figures_of[card.key]
        ],
        "runs": [
            {
                "task": run.task,
                "task_id": run.arms[0].task_id,
                "baseline": run.baseline.id,
                "arms": [arm.id for arm in run.arms if arm.id in arms],
                "workloads": run.workloads,
                "planned": any(arm.id in arms for arm in run.arms),
            }
            for run in card.runs
        ],
    }


def _described(plan: Plan, table: str, names: set[str]) -> dict[str, Any]:
    entries = {name: plan.index[table][name] for name in sorted(names) if name in plan.index[table]}
    return {
        name: {key: value for key, value in entry.items() if key not in INTERNAL}
        for name, entry in entries.items()
    }
