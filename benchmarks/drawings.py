"""Figures that a card asks for: which cells they show, and which two numbers of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cards import Card, CardRun
from benchmarks.knobs import InputError, check_names
from benchmarks.resolver import Resolver
from benchmarks.sides import _runs as runs_of


def resolve_figures(card: Card, resolver: Resolver) -> list[dict[str, Any]]:
    """The card's `figures` with task, arms, and the settings of the task filled in.

    Raises:
        InputError: an unknown task, method or knob, or runs with several baselines.
    """
    found = []
    for number, figure in enumerate(card.raw.get("figures") or []):
        where = f"{card.path.name}: figures[{number}]"
        runs = runs_of(figure, card, resolver, where, several="task" in figure["x"])
        arms = {arm.id: arm for run in runs for arm in (run.baseline, *run.arms)}
        if "methods" in figure:
            check_names(
                figure["methods"],
                {arm.method["method"] for arm in arms.values()},
                "method",
                f"{where}.methods",
            )
            arms = {id: arm for id, arm in arms.items() if _wanted(arm.method, figure["methods"])}
        if "knob" in figure["x"] and not any(figure["x"]["knob"] in a.method["knobs"] for a in arms.values()):
            knobs = {name for arm in arms.values() for name in arm.method["knobs"]}
            check_names([figure["x"]["knob"]], knobs, "knob of these methods", f"{where}.x.knob")
        found.append(
            {
                **figure,
                "task": runs[0].task,
                "arms": list(arms),
                "settings": _settings(figure, runs, set(arms), where),
            }
        )
    return found


def _settings(
    figure: Mapping[str, Any], runs: Sequence[CardRun], wanted: set[str], where: str
) -> list[dict[str, Any]]:
    """The settings of the task that a figure spans, each with the one baseline that its cells have.

    `at` is the value of the task's knob where that is the figure's axis, else None.
    """
    knob = figure["x"].get("task")
    if knob is not None:
        check_names([knob], runs[0].task_knobs, "knob", f"{where}.x.task")
    groups: dict[str, list[CardRun]] = {}
    for run in runs:
        groups.setdefault(run.arms[0].task_id, []).append(run)
    found = []
    for task_id, group in groups.items():
        baselines = {run.baseline.id for run in group}
        if len(baselines) > 1:
            raise InputError(f"{where}: its runs have {len(baselines)} baselines: a figure has one")
        arms = {arm.id: arm for run in group for arm in (run.baseline, *run.arms)}
        found.append(
            {
                "at": group[0].task_knobs[knob] if knob else None,
                "task_id": task_id,
                "baseline": baselines.pop(),
                "arms": [arm for arm in arms if arm in wanted],
            }
        )
    return found


def _wanted(method: Mapping[str, Any], methods: Mapping[str, Any]) -> bool:
    """Whether a figure's `methods` name this one, with the knobs that they give (a list is any of them)."""
    if method["method"] not in methods:
        return False
    for name, value in (methods[method["method"]] or {}).items():
        allowed = value if isinstance(value, list) else [value]
        if method["knobs"].get(name) not in allowed:
            return False
    return True
