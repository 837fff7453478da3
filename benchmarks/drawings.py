"""Figures that a card asks for: which cells they show, and which two numbers of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cards import Arm, Card, CardRun
from benchmarks.knobs import InputError, check_names
from benchmarks.resolver import Resolver
from benchmarks.sides import knob_value, runs_of


def resolve_figures(card: Card, resolver: Resolver) -> list[dict[str, Any]]:
    """The card's `figures` with task, arms, and the settings of the task filled in.

    Raises:
        InputError: an unknown task, method or knob, or runs with several baselines.
    """
    found = []
    for number, figure in enumerate(card.raw.get("figures") or []):
        where = f"{card.path.name}: figures[{number}]"
        if figure.get("kind") == "break-even" and "task" in figure["x"]:
            raise InputError(
                f"{where}.x: a break-even has one setting of the task: x is a knob or a workload"
            )
        runs = runs_of(figure, card, resolver, where, several="task" in figure["x"])
        arms = {arm.id: arm for run in runs for arm in (run.baseline, *run.arms)}
        if "methods" in figure:
            check_names(
                figure["methods"],
                {arm.method["method"] for arm in arms.values()},
                "method",
                f"{where}.methods",
            )
            arms = {id: arm for id, arm in arms.items() if _wanted(arm.method, figure["methods"], resolver)}
        if "knob" in figure["x"]:
            methods = {arm.method["method"] for arm in arms.values()}
            entries = [
                resolver.index["methods"][name] for name in methods if name in resolver.index["methods"]
            ]
            knobs = {knob["name"] for entry in entries for knob in entry["knobs"] or ()}
            check_names([figure["x"]["knob"]], knobs, "knob of these methods", f"{where}.x.knob")
        found.append(
            {
                **figure,
                "task": runs[0].task,
                "arms": list(arms),
                "settings": _settings(figure, runs, set(arms), resolver, where),
            }
        )
    return found


def _settings(
    figure: Mapping[str, Any], runs: Sequence[CardRun], wanted: set[str], resolver: Resolver, where: str
) -> list[dict[str, Any]]:
    """The settings of the task that a figure spans, each with the one baseline that its cells have.

    `xs` is arm -> its value of the knob that is the axis, where it has one.
    """
    if "task" in figure["x"]:
        check_names([figure["x"]["task"]], runs[0].task_knobs, "knob", f"{where}.x.task")
    groups: dict[str, list[CardRun]] = {}
    for run in runs:
        groups.setdefault(run.arms[0].task_id, []).append(run)
    found = []
    for task_id, group in groups.items():
        baselines = {run.baseline.id for run in group}
        if len(baselines) > 1:
            raise InputError(f"{where}: its runs have {len(baselines)} baselines: a figure has one")
        arms = [arm for run in group for arm in (run.baseline, *run.arms) if arm.id in wanted]
        xs = {arm.id: _x(figure["x"], group[0], arm, resolver) for arm in arms}
        found.append(
            {
                "task_id": task_id,
                "baseline": baselines.pop(),
                "arms": list(xs),
                "xs": {arm: x for arm, x in xs.items() if x is not None},
            }
        )
    return found


def _x(axis: Mapping[str, Any], run: CardRun, arm: Arm, resolver: Resolver) -> float | None:
    """The number at which an arm stands on an axis that is a knob; None where it has none."""
    value = run.task_knobs[axis["task"]] if "task" in axis else None
    if "knob" in axis:
        value = knob_value(arm.method, axis["knob"], resolver.index["methods"].get(arm.method["method"]))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _wanted(method: Mapping[str, Any], methods: Mapping[str, Any], resolver: Resolver) -> bool:
    """Whether a figure's `methods` name this one, with the knobs that they give (a list is any of them)."""
    if method["method"] not in methods:
        return False
    entry = resolver.index["methods"].get(method["method"])
    for name, value in (methods[method["method"]] or {}).items():
        allowed = value if isinstance(value, list) else [value]
        if knob_value(method, name, entry) not in allowed:
            return False
    return True
