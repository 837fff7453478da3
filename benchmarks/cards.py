"""Cards and plans as files: read, checked, expanded to arms (task and method with their knobs, without a seed)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.digests import ROOT, digest
from benchmarks.knobs import InputError, did_you_mean
from benchmarks.resolver import Resolver

SCHEMAS = ROOT / "workflow" / "schemas"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """safe_load that refuses a key given twice instead of silently keeping the last.

    Words are read as in YAML 1.2: `on`, `off`, `yes` and `no` are words (checks say `on:`), and 1e-3 is a number.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:bool"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    keys: list[Any] = []
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in keys:
            raise InputError(f"line {key_node.start_mark.line + 1}: the key {key!r} is given twice")
        keys.append(key)
    return yaml.constructor.SafeConstructor.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), [*"tTfF"]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    [*"-+.0123456789"],
)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; anything else is one clear line."""
    try:
        value = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise InputError(f"{show(path)}: there is no such file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        told = getattr(error, "problem", None) or str(error)
        raise InputError(f"{show(path)}: {where}{' '.join(told.split())}") from None
    except InputError as error:
        raise InputError(f"{show(path)}: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{show(path)}: is no mapping of keys to values")
    return value


def retyped(value: Any) -> Any:
    """What stands inside a mapping or list of `--config`, as YAML reads it: Snakemake leaves it all as words."""
    if isinstance(value, Mapping):
        return {key: retyped(part) for key, part in value.items()}
    if isinstance(value, list):
        return [retyped(part) for part in value]
    return yaml.load(value, Loader=_Loader) if isinstance(value, str) else value  # noqa: S506 - a SafeLoader


def show(path: Path) -> str:
    """A path as a person knows it: relative to the project or to where they stand."""
    for base in (ROOT, Path.cwd()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return str(path)


@cache
def _validator(schema: str) -> Any:
    try:
        import jsonschema
    except ImportError:  # a bare machine runs plans that were checked at home
        return None
    return jsonschema.Draft202012Validator(read_yaml(SCHEMAS / f"{schema}.schema.yaml"))


def check_schema(value: Any, schema: str, where: str) -> None:
    """Raise InputError with one line for the deepest fault that the schema finds."""
    validator = _validator(schema)
    if validator is None:
        return
    from jsonschema.exceptions import best_match

    error = best_match(validator.iter_errors(value))
    if error is None:
        return
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path
    ).lstrip(".")
    message = error.message if len(error.message) < 200 else error.message[:200] + "..."
    if error.validator == "additionalProperties":
        allowed = error.schema.get("properties", {})
        unknown = next(key for key in error.instance if key not in allowed)
        message = f"unknown key {unknown!r}; {did_you_mean(str(unknown), allowed)}"
    if error.validator == "oneOf" and all("required" in option for option in error.validator_value):
        message = "needs exactly one of " + ", ".join(
            option["required"][0] for option in error.validator_value
        )
    if error.absolute_path and error.absolute_path[-1] in ("of", "minus", "over"):
        message = (
            f"{error.instance!r} is no side: `baseline`, {{method: {{knob: value}}}}, or a list of such cells"
        )
    raise InputError(f"{where}: {place + ': ' if place else ''}{message}")


@dataclass(frozen=True)
class Arm:
    """A task and a method with all their knobs; with a seed it is a cell.

    Attributes:
        task, task_knobs: name and full knobs.
        method: {"method": name, "knobs": {...}} with nested cells in the same form.
    """

    task: str
    task_knobs: Mapping[str, Any]
    method: Mapping[str, Any]

    @property
    def id(self) -> str:
        """A digest that names the arm in tables and claims."""
        return digest([self.task, self.task_knobs, self.method])

    @property
    def task_id(self) -> str:
        """A digest that names the task with its knobs."""
        return digest([self.task, self.task_knobs])


@dataclass
class CardRun:
    """One run of a card, for one setting of its task."""

    task: str
    task_knobs: dict[str, Any]
    arms: list[Arm]
    baseline: Arm
    workloads: list[str]
    seeds: int | None
    plan: str | None
    tour: bool


@dataclass
class Card:
    """A paper or a study: what is run, and the claims with their sides resolved to arms."""

    key: str
    path: Path
    raw: dict[str, Any]
    runs: list[CardRun] = field(default_factory=list)

    @property
    def is_paper(self) -> bool:
        """False for a study without a paper."""
        return "paper" in self.raw

    @property
    def scope(self) -> str:
        """The name of its target: paper_<key> or study_<key>."""
        return f"{'paper' if self.is_paper else 'study'}_{self.key}"


def load_card(path: Path, resolver: Resolver) -> Card:
    """Read and check one card, expand its runs, and resolve the sides of its checks.

    Raises:
        InputError: one line that names file, key and what is allowed.
    """
    raw, where = read_yaml(path), show(path)
    check_schema(raw, "card", where)
    card = Card(key=(raw.get("paper") or raw["study"])["key"], path=path, raw=raw)
    if path.stem != card.key:
        raise InputError(f"{where}: the key is {card.key!r}, so the file must be {card.key}.yaml")
    ids = [claim["id"] for claim in raw["claims"]]
    for id in ids:
        if ids.count(id) > 1:
            raise InputError(f"{where}: claims: the id {id!r} is given twice")
    for number, run in enumerate(raw["runs"]):
        card.runs += _expand(run, resolver, f"{where}: runs[{number}]")
    return card


def _expand(run: Mapping[str, Any], resolver: Resolver, where: str) -> Iterator[CardRun]:
    ((task, typed),) = run["task"].items()
    untrained = {"budget": 0.0} if run.get("train") is False else {}
    for task_knobs in resolver.task(task, typed, f"{where}.task"):
        methods = [
            setting
            for name, grids in run["methods"].items()
            for setting in _grids(task, name, grids, untrained, resolver, f"{where}.methods")
        ]
        ((base, base_knobs),) = (run.get("baseline") or {"baseline": {}}).items()
        base_typed = _tuned(task, base, _with(untrained, base_knobs), f"{where}.baseline")
        bases = resolver.method(base, base_typed, f"{where}.baseline")
        if len(bases) != 1:
            raise InputError(f"{where}.baseline: names one cell, not a grid of {len(bases)}")
        _check_pairing(task, [*bases, *methods], resolver.index, where)
        workloads = run.get("workloads", [])
        _check_workloads(task, workloads, resolver.index, f"{where}.workloads")
        arms = {arm.id: arm for arm in (Arm(task, task_knobs, method) for method in [bases[0], *methods])}
        yield CardRun(
            task=task,
            task_knobs=task_knobs,
            arms=list(arms.values()),
            baseline=next(iter(arms.values())),
            workloads=workloads,
            seeds=run.get("seeds"),
            plan=run.get("plan"),
            tour=run.get("tour", True),
        )


def _grids(
    task: str, name: str, grids: Any, untrained: Mapping[str, Any], resolver: Resolver, where: str
) -> list[dict[str, Any]]:
    """All settings of a method: of one grid, or of a list of grids."""
    listed = grids if isinstance(grids, list) else [grids]
    if not listed:
        raise InputError(f"{where}.{name}: an empty list runs nothing")
    typed = [_tuned(task, name, _with(untrained, knobs), where) for knobs in listed]
    found = [setting for knobs in typed for setting in resolver.method(name, knobs, where)]
    if len({digest(setting) for setting in found}) < len(found):
        raise InputError(f"{where}.{name}: a setting is given twice")
    return found


def _with(more: Mapping[str, Any], knobs: Any) -> Any:
    """Knobs as typed, with more of them where they are a mapping (the resolver refuses anything else)."""
    return {**more, **(knobs or {})} if knobs is None or isinstance(knobs, Mapping) else knobs


def _tuned(task: str, method: str, knobs: Any, where: str) -> Any:
    """Knobs that say `tuned` get the value of the committed study (what is no mapping, the resolver refuses)."""
    from benchmarks.studies import tuned

    if not isinstance(knobs, Mapping):
        return knobs
    return {
        k: tuned(task, method, k, f"{where}.{method}.{k}") if v == "tuned" else v for k, v in knobs.items()
    }


def _check_pairing(task: str, methods: list[Mapping[str, Any]], index: Mapping[str, Any], where: str) -> None:
    offers = index["tasks"].get(task, {}).get("offers", [])
    for setting in methods:
        starts = [
            value for value in setting["knobs"].values() if isinstance(value, Mapping) and "method" in value
        ]
        _check_pairing(task, starts, index, where)
        entry = index["methods"].get(setting["method"])
        missing = set(entry["needs"]) - set(offers) if entry and task in index["tasks"] else set()
        if missing:
            raise InputError(
                f"{where}: {setting['method']} needs {', '.join(sorted(missing))}, which {task} does not offer "
                f"(it offers {', '.join(offers) or 'nothing'})"
            )


def _check_workloads(task: str, workloads: list[str], index: Mapping[str, Any], where: str) -> None:
    if task not in index["tasks"]:
        return  # its file raises: the cells will say so
    known = index["tasks"][task]["workloads"]
    for name in workloads:
        stem, at, size = name.partition("@")
        if (f"{stem}@N" if at else name) not in known or (at and not size.isdigit()):
            raise InputError(f"{where}: {task} has no workload {name!r}; {did_you_mean(name, known)}")
