"""joulemark show, why, diff: from a name or a hash to what stands behind it."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from typing import Any

from benchmarks.cards import read_yaml
from benchmarks.cells import Cell
from benchmarks.digests import HARNESS_VERSION, ROOT
from benchmarks.knobs import InputError, did_you_mean
from benchmarks.plan import Plan
from benchmarks.records import read_json
from joulemark.packs import read_packs, reference_machines
from joulemark.plans import load, plan_argument


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    plan_argument(sub)
    sub.add_argument(
        "key",
        help="a record's hash" + (", or the name of a card, task or method" if command == "show" else ""),
    )
    if command == "diff":
        sub.add_argument("other", help="another record's hash")


def run(command: str, args: argparse.Namespace) -> int:
    """Print what stands behind a name or hash."""
    plan = load(args)
    if command == "show":
        print(_show(plan, args.key))
    elif command == "why":
        print(json.dumps(_parts(*_cell(plan, args.key)), indent=1))
    else:
        a, b = (_flat(_parts(*_cell(plan, key))) for key in (args.key, args.other))
        for name in sorted(set(a) | set(b)):
            if a.get(name) != b.get(name):
                print(f"{name}: {a.get(name)} | {b.get(name)}")
    return 0


def _cell(plan: Plan, key: str) -> tuple[Plan, Cell]:
    """The cell whose record, system or artefact hash begins with `key`, of this plan or of another one."""
    for tried in _plans(plan):
        found = [
            c for c in tried.cells if any(hash.startswith(key) for hash in (c.record, c.system, c.artefact))
        ]
        if len(found) > 1:
            raise InputError(f"{len(found)} cells have a hash that begins with {key!r}: give more of it")
        if found:
            return tried, found[0]
    raise InputError(f"no cell of any plan has a hash that begins with {key!r}; see joulemark cells")


def _plans(plan: Plan) -> Iterator[Plan]:
    """The plan that was named, then those of config/ that can be planned here."""
    yield plan
    for path in sorted((ROOT / "config").glob("*.yaml")):
        if path.stem != plan.name:
            try:
                yield Plan({"plan": path.stem}, plan.results)
            except InputError:
                continue


def _parts(plan: Plan, cell: Cell) -> dict[str, Any]:
    """What a cell's hashes are made of."""
    method, task = (
        plan.index["methods"].get(cell.arm.method["method"], {}),
        plan.index["tasks"].get(cell.arm.task, {}),
    )
    return {
        "record": cell.record,
        "system": cell.system,
        "artefact": cell.artefact,
        "task": {"name": cell.arm.task, "knobs": dict(cell.arm.task_knobs), **_sources(task)},
        "method": {**cell.arm.method, **_sources(method)},
        "seed": cell.seed,
        "starts": {ref: start.system for ref, start in cell.refs.items()},
        "workloads": sorted(cell.workloads),
        "device": plan.device,
        "torch": plan.factory.torch,
        "harness": HARNESS_VERSION,
    }  # fmt: skip


def _sources(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry.get(name) for name in ("files", "source")}


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            key: leaf for part, inner in value.items() for key, leaf in _flat(inner, f"{name}.{part}").items()
        }
    return {name.lstrip("."): value}


def _show(plan: Plan, key: str) -> str:
    card = ROOT / "benchmarks" / "papers" / f"{key}.yaml"
    if card.is_file():
        read_yaml(card)
        return card.read_text()
    for table in ("methods", "tasks"):
        if key in plan.index[table]:
            entry = plan.index[table][key]
            knobs = "\n".join(
                f"  {k['name']} = {k['default']}  {k.get('help', '')}" + _bounds(k) for k in entry["knobs"]
            )
            return f"{key} ({entry['file']})\n\n{entry['doc']}\n\nknobs:\n{knobs}"
    record = _record(plan, key)
    if record is not None:
        return json.dumps(record, indent=1)
    try:
        owner, cell = _cell(plan, key)
    except InputError as error:
        names = dict.fromkeys([*(c.key for c in plan.cards), *plan.index["methods"], *plan.index["tasks"]])
        raise InputError(
            f"{error}; and no card, task or method is called {key!r}; {did_you_mean(key, names)}"
        ) from None
    made_of = json.dumps(_parts(owner, cell), indent=1)
    return f"not run yet on this machine, and in no reference pack; it will be made of\n{made_of}"


def _record(plan: Plan, key: str) -> dict[str, Any] | None:
    """The record of a hash without its packed scores: of this machine, else of a reference machine, which it names."""
    if re.fullmatch(r"[0-9a-f]{6,12}", key) is None:
        return None
    here = sorted((plan.results / "cells").glob(f"{key}*.json"))
    if len(here) == 1:
        return _short(read_json(here[0]) or {})
    for machine in reference_machines():
        for record in read_packs(machine):
            if any(
                str(record["key"].get(part, "")).startswith(key) for part in ("record", "system", "artefact")
            ):
                return {"reference": f"results/reference/{machine}", **_short(record)}
    return None


def _bounds(knob: dict[str, Any]) -> str:
    if knob.get("choices"):
        return f" [{', '.join(map(str, knob['choices']))}]"
    low, high = knob.get("low"), knob.get("high")
    return (
        ""
        if low is None and high is None
        else f" [{'' if low is None else low} .. {'' if high is None else high}]"
    )


def _short(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its packed items."""
    if "quality" not in record:
        return record
    quality = {
        name: {k: v for k, v in entry.items() if k != "items"} for name, entry in record["quality"].items()
    }
    return {**record, "quality": quality}
