"""Packs of finished runs: what `results/reference/<machine>/` holds, how it is made, and how this machine compares."""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import re
import tempfile
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.collect import collect
from benchmarks.digests import ROOT
from benchmarks.knobs import NAME, InputError
from benchmarks.plan import Plan
from benchmarks.records import SCHEMA, Store, dump, read_json
from joulemark.plans import load, plan_argument

REFERENCE = ROOT / "results" / "reference"


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    plan_argument(sub)
    sub.add_argument("--scope", default="all", help="a scope of the plan (default: all)")
    sub.add_argument("--machine", required=True, help="a name such as cpu-2core")
    sub.add_argument("--out", default=None, help="folder (default: results/reference/<machine>)")


def run(command: str, args: argparse.Namespace) -> int:
    """Write the pack of a scope's finished records."""
    if not NAME.fullmatch(args.machine):
        raise InputError(f"--machine: {args.machine!r} is no name of the form [a-z0-9_-]+")
    plan = load(args)
    folder = Path(args.out) if args.out else REFERENCE / args.machine
    path = write_pack(plan, args.scope, folder)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    return 0


def records_of(plan: Plan, scope: str) -> Iterator[dict[str, Any]]:
    """Final cell records and visits of a scope, in a fixed order."""
    from benchmarks.measure.rounds import visit_names

    store, part = Store(plan.results), plan.scopes[scope]
    for name in part.chunks:
        for cell in plan.chunks[name].cells:
            record = store.final(cell.record)
            if record:
                yield record
    rounds = (visit_names(json.loads(plan.round_text(name))) for name in part.rounds)
    for visit in dict.fromkeys(visit for names in rounds for visit in names):  # rounds may share a visit
        record = read_json(store.visit(visit))
        if record:
            yield record


def named(plan: Plan) -> dict[str, set[str]]:
    """Arm -> the metrics (and other words) of the claims, controls and figures that it has a part in."""
    found: dict[str, set[str]] = {}
    for card in json.loads(plan.scope_text("all"))["cards"]:
        checks = [check for claim in card["claims"] for check in claim.get("checks", ())]
        checks += [check for kind in (card.get("controls") or {}).values() for check in kind]
        for entry in [*checks, *(card.get("figures") or ())]:
            words = set(re.findall(r'"([^"]+)"', json.dumps(entry)))
            for arm in words & {arm for run in card["runs"] for arm in (run["baseline"], *run["arms"])}:
                found.setdefault(arm, set()).update(words)
    return found


def thin(record: dict[str, Any], main: str, words: Container[str]) -> dict[str, Any]:
    """The record as a pack holds it: scores item by item of what pages compute from, of the rest the mean alone.

    Losses of 10,000 images beside their accuracy would be four fifths of a pack.

    Args:
        record: of a cell.
        main: the task's first metric, which every table and front shows.
        words: metrics that a claim or a figure asks of this arm.
    """
    quality = {
        name: entry if name in words or name.partition("@")[0] == main else {**entry, "items": None}
        for name, entry in record["quality"].items()
    }
    return {**record, "quality": quality}


def write_pack(plan: Plan, scope: str, folder: Path) -> Path:
    """One compressed file of the records that no other pack of the folder holds, and its line in the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plan.name}-{scope}.jsonl.xz"
    manifest = _manifest(folder)
    manifest["packs"].pop(path.name, None)
    known = {_name(record) for record in _packed(folder, manifest)}
    found = list(records_of(plan, scope))
    records = [record for record in found if _name(record) not in known]
    if not records:
        told = "that no other pack holds" if found else "to pack"
        raise InputError(f"scope {scope} of plan {plan.name} has no finished records {told}")
    asked = named(Plan({"plan": "full"}, plan.results))
    for at, record in enumerate(records):
        if record["kind"] == "cell":
            key = record["key"]
            main = plan.index["tasks"][key["task"]]["metrics"][0]["name"]
            records[at] = thin(record, main, asked.get(key["arm"], ()))
    text = "".join(dump(record) + "\n" for record in records).encode()
    path.write_bytes(lzma.compress(text, preset=9 | lzma.PRESET_EXTREME))
    manifest["packs"][path.name] = {
        "plan": plan.name,
        "scope": scope,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "cells": sum(record["kind"] == "cell" for record in records),
        "visits": sum(record["kind"] == "visit" for record in records),
        "env": records[0]["env"],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return path


def read_packs(machine: str) -> list[dict[str, Any]]:
    """All records of a machine's packs, each pack checked against its manifest.

    Raises:
        InputError: a pack is not what the manifest says.
    """
    folder = REFERENCE / machine
    return list({_name(record): record for record in _packed(folder, _manifest(folder))}.values())


def _name(record: Mapping[str, Any]) -> str:
    return str(record["key"].get("record") or record["key"]["name"])


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    found: dict[str, Any] = (
        json.loads(path.read_text()) if path.is_file() else {"schema": SCHEMA, "packs": {}}
    )
    return found


def _packed(folder: Path, manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, entry in sorted(manifest["packs"].items()):
        raw = (folder / name).read_bytes()
        if hashlib.sha256(raw).hexdigest() != entry["sha256"]:
            raise InputError(f"{folder / name}: is not the file that manifest.json names (sha256 differs)")
        for line in lzma.decompress(raw).decode().splitlines():
            yield json.loads(line)


def reference_machines() -> list[str]:
    """Machines that have a pack."""
    return sorted(path.parent.name for path in REFERENCE.glob("*/manifest.json"))


def stale(records: Iterable[dict[str, Any]], plans: Iterable[Plan]) -> set[str]:
    """Record hashes of a pack that today's code no longer makes: another torch or another device is no fault of it."""
    made = {cell.record for plan in plans for cell in plan.cells}
    return {record["key"]["record"] for record in records if record["kind"] == "cell"} - made


def once(records: Iterable[dict[str, Any]], plan: Plan) -> list[dict[str, Any]]:
    """One record for an arm and seed, that of the plan where there are two.

    A cell that the full plan counts at more workloads has a second record of the same artefact and scores.
    """
    made = {cell.record for cell in plan.cells}
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for record in records:
        key = record["key"]
        name = (key["arm"], str(key["seed"])) if record["kind"] == "cell" else (_name(record),)
        if name not in found or key.get("record") in made:
            found[name] = record
    return list(found.values())


def reference_site(results: Path) -> int:
    """Pages of every reference machine, from packs alone; the front page lists them.

    Cards are those of the full plan, which holds every other: what a pack lacks is told as not run.
    """
    import subprocess
    import sys

    from joulemark.reporting import write_page

    default, plan = (Plan({"plan": name}, results) for name in ("default", "full"))
    whole = {card["key"] for card in json.loads(default.scope_text("all"))["cards"] if _planned(card)}
    for machine in reference_machines():
        records = once(read_packs(machine), plan)
        old = stale(records, (default, plan))
        scope = json.loads(plan.scope_text("all"))
        scope["reference"] = {"machine": machine, "stale": sorted(old)}
        scope["cards"] = [
            {**card, "plan": "default"} if card["key"] in whole else card
            for card in scope["cards"]
            if _covered(card, records)
        ]
        with tempfile.TemporaryDirectory() as folder:
            bundle, table = Path(folder) / "pack.jsonl", Path(folder) / "pack.parquet"
            bundle.write_text("".join(dump(record) + "\n" for record in records))
            collect([str(bundle)], table)
            write_page(
                table, results / "report" / f"reference-{machine}" / "all" / "index.html", json.dumps(scope)
            )
    return subprocess.run([sys.executable, "-m", "reports", "front", "--results", str(results)]).returncode


def _planned(card: Mapping[str, Any]) -> bool:
    """Whether a plan has every run of a card."""
    return all(run["planned"] for run in card["runs"])


def _covered(card: Mapping[str, Any], records: list[dict[str, Any]]) -> bool:
    arms = {record["key"]["arm"] for record in records}
    return any(arm in arms for run in card["runs"] for arm in run["arms"])


def agreement(results: Path) -> str:
    """Where this machine's records agree with the reference: the share of cells whose scores are the same."""
    lines = []
    store = Store(results)
    for machine in reference_machines():
        counts: Counter[str] = Counter()
        for record in read_packs(machine):
            own = read_json(store.cell(record["key"]["record"])) if record["kind"] == "cell" else None
            if own is not None:
                counts["same"] += _same(own["quality"], record["quality"])
                counts["both"] += 1
        if counts["both"]:
            lines.append(
                f"against the reference {machine}: {counts['same']} of {counts['both']} cells "
                "have the same scores, item by item"
            )
    return "\n".join(lines) or "there is no reference run with these cells to compare with"


def _same(own: Mapping[str, Any], packed: Mapping[str, Any]) -> bool:
    """Equal scores, those that a pack left out aside."""
    return own.keys() == packed.keys() and all(
        own[name] == (entry if entry.get("items") else {**entry, "items": own[name].get("items")})
        for name, entry in packed.items()
    )
