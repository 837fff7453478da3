"""Sides of checks -> arms: a side names a cell of its card only as far as it must to be the only one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.cards import Arm, Card, CardRun
from benchmarks.checks import check_by, check_effect, check_metrics
from benchmarks.knobs import InputError, check_names
from benchmarks.resolver import Resolver

#: Keys of a check that hold sides.
SIDES = ("of", "minus", "over")


def resolve_checks(card: Card, resolver: Resolver) -> dict[str, Any]:
    """The claims and controls of a card with every side as an arm id (or a list of arm ids)."""
    where = f"{card.path.name}"
    claims = []
    for claim in card.raw["claims"]:
        checks = [
            _check(check, card, resolver, f"{where}: claims.{claim['id']}.checks[{number}]")
            for number, check in enumerate(claim.get("checks", []))
        ]
        claims.append({**claim, "checks": checks} if checks else dict(claim))
    controls = {
        sign: [
            _check(check, card, resolver, f"{where}: controls.{sign}[{number}]")
            for number, check in enumerate(checks)
        ]
        for sign, checks in (card.raw.get("controls") or {}).items()
    }
    return {"claims": claims, "controls": controls}


def _check(check: Mapping[str, Any], card: Card, resolver: Resolver, where: str) -> dict[str, Any]:
    if "effect" not in check and "of" not in check:
        raise InputError(f"{where}: a check needs a side `of`")
    if "minus" in check and "over" in check:
        raise InputError(f"{where}: a check has `minus` or `over`, not both")
    check_effect(check, where)
    runs = runs_of(check, card, resolver, where)
    metric = check["metric"].partition("@")[0]
    task = resolver.index["tasks"].get(runs[0].task)
    resolved = {
        **check,
        "task": runs[0].task,
        "task_id": runs[0].arms[0].task_id,
        "baseline": runs[0].baseline.id,
    }
    resolved["quality"] = bool(task) and metric in {entry["name"] for entry in task["metrics"]}
    for key in SIDES:
        if isinstance(check.get(key), list) and "effect" not in check:
            raise InputError(
                f"{where}.{key}: a list of cells is for an `effect`; without one a side is one cell"
            )
        if key in check:
            several = "effect" in check
            resolved[key] = _side(check[key], runs, resolver, f"{where}.{key}", several)
    resolved |= _target(check, runs, resolver, where)
    arms = {arm.id: arm for run in runs for arm in run.arms}
    named = {key: [arms[id] for id in _ids(resolved.get(key))] for key in (*SIDES, "target")}
    check_metrics(check, named, runs, resolver.index, where)
    return resolved


def _target(
    check: Mapping[str, Any], runs: list[CardRun], resolver: Resolver, where: str
) -> dict[str, str | float]:
    """What `reach` must reach: a number, or a cell whose own number it is."""
    target = (check.get("args") or {}).get("target")
    if target is None or check.get("effect") != "reach":
        return {}
    if isinstance(target, (int, float)) and not isinstance(target, bool):
        return {"target": float(target)}
    found = _side(target, runs, resolver, f"{where}.args.target")
    if not isinstance(found, str):
        raise InputError(f"{where}.args.target: is a number or one cell, not {target!r}")
    return {"target": found}


def _ids(side: Any) -> list[str]:
    """The arms of a resolved side."""
    if isinstance(side, Mapping):
        return list(side["best"])
    return list(side) if isinstance(side, list) else [side] if isinstance(side, str) else []


def runs_of(
    check: Mapping[str, Any], card: Card, resolver: Resolver, where: str, several: bool = False
) -> list[CardRun]:
    """The runs of the check's task; a card with several tasks must say `on`, and which setting unless `several`."""
    on = check.get("on")
    runs = card.runs
    if on:
        ((task, knobs),) = on.items()
        check_names([task], {run.task for run in runs}, "task of this card", f"{where}.on")
        if knobs is not None and not isinstance(knobs, Mapping):
            raise InputError(f"{where}.on.{task}: knobs are a mapping, not {knobs!r}")
        runs = [run for run in runs if run.task == task]
        if runs:
            check_names(knobs or {}, runs[0].task_knobs, "knob", f"{where}.on.{task}")
        runs = _with_knobs(task, knobs or {}, runs, resolver)
        if not runs:
            raise InputError(f"{where}.on: no run of this card has {task} with {knobs}")
    settings = {run.arms[0].task_id for run in runs}
    if len({run.task for run in runs} if several else settings) > 1:
        names = sorted({f"{run.task} {run.task_knobs}" for run in runs})
        raise InputError(f"{where}: this card runs {len(names)} settings of tasks: say `on: {{task: knobs}}`")
    return runs


def _side(
    side: Any, runs: list[CardRun], resolver: Resolver, where: str, several: bool = False
) -> str | list[str] | dict[str, Any]:
    """A side as an arm; a list of arms, where `several` allows them, also by a knob that lists its values."""
    if isinstance(side, list):
        return [arm for part in side for arm in _as_list(_side(part, runs, resolver, where, several))]
    if side == "baseline":
        bases = {run.baseline.id for run in runs}
        if len(bases) > 1:
            raise InputError(f"{where}: the runs have {len(bases)} baselines: name the method")
        return bases.pop()
    if isinstance(side, Mapping) and "best" in side:
        check_names(set(side) - {"best"}, {"by"}, "key", where)
        check_by(str(side.get("by", "")), runs[0].task, resolver.index, f"{where}.by")
        return {"best": _as_list(_grid_side(side["best"], runs, resolver, where)), "by": side.get("by", "")}
    found = _grid_side(side, runs, resolver, where)
    if several and any(isinstance(value, list) for value in (next(iter(side.values())) or {}).values()):
        return _as_list(found)
    return _one(found, where)


def _grid_side(side: Mapping[str, Any], runs: list[CardRun], resolver: Resolver, where: str) -> list[Arm]:
    """All arms that have the side's method and the knobs that it names."""
    if not isinstance(side, Mapping) or len(side) != 1:
        raise InputError(f"{where}: a side is `baseline` or {{method: {{knob: value}}}}, not {side!r}")
    ((name, knobs),) = side.items()
    if knobs is not None and not isinstance(knobs, Mapping):
        raise InputError(f"{where}.{name}: knobs are a mapping, not {knobs!r}")
    arms = {arm.id: arm for run in runs for arm in run.arms}
    check_names([name], {arm.method["method"] for arm in arms.values()}, "method of this card", where)
    entry = resolver.index["methods"].get(name)
    typed: dict[str, list[Any]] = {}
    for knob, value in (knobs or {}).items():
        if entry:
            check_names([knob], {known["name"] for known in entry["knobs"]}, "knob", f"{where}.{name}")
            spec = next(known for known in entry["knobs"] if known["name"] == knob)
            values = value if isinstance(value, list) else [value]
            typed[knob] = [resolver._value(spec, item, f"{where}.{name}.{knob}") for item in values]
            if resolver.small and knob in entry["small"] and spec["default"] in typed[knob]:
                typed[knob].append(entry["small"][knob])  # a side that names the default means the small one
    found = [
        arm
        for arm in arms.values()
        if arm.method["method"] == name
        and all(knob_value(arm.method, knob, entry) in values for knob, values in typed.items())
    ]
    if not found:
        raise InputError(f"{where}: no cell of this card is {name} with {knobs}")
    if len(found) > 1 and entry:  # what a side leaves open has its default, if that leaves one
        defaults = {known["name"]: known["default"] for known in entry["knobs"]}
        plain = [
            arm
            for arm in found
            if all(
                knob_value(arm.method, knob, entry) == default or knob in typed or knob == "start"
                for knob, default in defaults.items()
                if not isinstance(knob_value(arm.method, knob, entry), Mapping)
            )
        ]
        varied = any(isinstance(value, list) for value in (knobs or {}).values())
        found = plain if len(plain) == 1 and not varied else found
    return found


def _one(arms: list[Arm], where: str) -> str:
    if len(arms) > 1:
        settings = "; ".join(str(arm.method["knobs"]) for arm in arms[:4])
        raise InputError(f"{where}: matches {len(arms)} cells ({settings} ...): name more knobs")
    return arms[0].id


def _as_list(value: Any) -> list[str]:
    if isinstance(value, list):
        return [item.id if isinstance(item, Arm) else item for item in value]
    return [value]


def knob_value(method: Mapping[str, Any], knob: str, entry: Mapping[str, Any] | None) -> Any:
    """A knob of a canonical method, with the default where the canonical form leaves it out."""
    if knob in method["knobs"]:
        return method["knobs"][knob]
    return next(
        (known["default"] for known in (entry or {"knobs": []})["knobs"] if known["name"] == knob), None
    )


def _with_knobs(
    task: str, wanted: Mapping[str, Any], runs: list[CardRun], resolver: Resolver
) -> list[CardRun]:
    """Runs whose task has these knobs; under the small knobs one that names the default may mean the small one."""
    exact = [run for run in runs if all(run.task_knobs.get(name) == wanted[name] for name in wanted)]
    entry = resolver.index["tasks"].get(task)
    if exact or not entry or not resolver.small:
        return exact
    defaults = {knob["name"]: knob["default"] for knob in entry["knobs"]}
    meant = {
        name: entry["small"].get(name, value) if value == defaults.get(name) else value
        for name, value in wanted.items()
    }
    return [run for run in runs if all(run.task_knobs.get(name) == meant[name] for name in meant)]
