"""joulemark list, joulemark cells."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from benchmarks.cards import load_card, read_yaml
from benchmarks.digests import ROOT
from benchmarks.index import load_index
from benchmarks.resolver import Resolver
from joulemark.plans import load, plan_argument


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    plan_argument(sub)
    sub.add_argument("--json", action="store_true", help="one JSON object")
    if command == "cells":
        sub.add_argument("--scope", default="all", help="a scope of the plan, such as tour or paper_<key>")
        sub.add_argument("--cores", type=int, default=2, help="for the forecast")


def run(command: str, args: argparse.Namespace) -> int:
    """Print what there is."""
    return _list(args) if command == "list" else _cells(args)


def catalogue(results: str = "results") -> dict[str, list[dict[str, Any]]]:
    """Tasks, methods, cards and plans as plain values."""
    index = load_index(results)
    cards = []
    for path in sorted((ROOT / "benchmarks" / "papers").glob("*.yaml")):
        card = load_card(path, Resolver(index))
        cards.append(
            {
                "key": card.key,
                "title": (card.raw.get("paper") or card.raw["study"])["title"],
                "family": card.raw["family"],
                "scope": card.raw["scope"],
                "grade": card.raw["grade"],
                "target": card.scope,
                "claims": [{"id": claim["id"], "says": claim["says"]} for claim in card.raw["claims"]],
            }
        )
    line = lambda doc: (doc or "").strip().splitlines()[:1]  # noqa: E731
    return {
        "tasks": [
            {"name": name, "says": "".join(line(entry["doc"])), "metrics": [m["name"] for m in entry["metrics"]],
             "workloads": list(entry["workloads"]), "knobs": entry["knobs"]}
            for name, entry in sorted(index["tasks"].items())
        ],
        "methods": [
            {"name": name, "family": entry["family"], "says": "".join(line(entry["doc"])), "stages": entry["stages"],
             "knobs": entry["knobs"]}
            for name, entry in sorted(index["methods"].items())
        ],
        "cards": cards,
        "plans": [
            {"name": path.stem, "cards": read_yaml(path)["cards"], "seeds": read_yaml(path).get("seeds", 5)}
            for path in sorted((ROOT / "config").glob("*.yaml"))
        ],
    }  # fmt: skip


def _tell_broken(results: str) -> None:
    """Files that cannot be imported: their cells will fail, and this says why before they do."""
    for name, entry in sorted(load_index(results)["errors"].items()):
        print(f"{name}: {entry['kind']} that cannot be imported: {entry['reason']}", file=sys.stderr)


def _list(args: argparse.Namespace) -> int:
    found = catalogue(args.results)
    _tell_broken(args.results)
    if args.json:
        print(json.dumps(found, indent=1, default=str))
        return 0
    for kind in ("tasks", "methods"):
        print(f"{kind}:")
        for entry in found[kind]:
            knobs = ", ".join(f"{knob['name']}={knob['default']}" for knob in entry["knobs"])
            print(f"  {entry['name']:22} {entry['says']}\n{'':24} {knobs}")
    print("cards:")
    for card in found["cards"]:
        print(f"  {card['key']:22} {card['family']}, {card['scope']}, grade {card['grade']}: {card['title']}")
        for claim in card["claims"]:
            print(f"{'':24} {claim['id']}: {claim['says']}")
    print(
        "plans:  "
        + "; ".join(
            f"{plan['name']} (cards {plan['cards']}, {plan['seeds']} seeds)" for plan in found["plans"]
        )
    )
    return 0


def _cells(args: argparse.Namespace) -> int:
    plan = load(args)
    if args.scope not in plan.scopes:
        from benchmarks.knobs import check_names

        check_names([args.scope], plan.scopes, "scope", f"--scope (plan {plan.name})")
    chunks = [plan.chunks[name] for name in plan.scopes[args.scope].chunks]
    cells = [cell for chunk in chunks for cell in chunk.cells]
    forecast = plan.forecast(args.scope, args.cores)
    cards = {card.key: round(plan.card_cpu_s(card.key), 1) for card in plan.scopes[args.scope].cards}
    if args.json:
        print(json.dumps({"cells": [cell.spec() for cell in cells], "forecast": forecast, "cards": cards}))
        return 0
    for cell in cells:
        name, knobs = cell.arm.method["method"], json.dumps(cell.arm.method["knobs"])
        print(f"{cell.record}  {cell.arm.task:14} {name:20} seed {cell.seed}  {cell.cpu_s:6.1f} s  {knobs}")
    print("\nCPU seconds of training and scoring, by card:")
    for key, seconds in cards.items():
        print(f"  {key:24} {seconds:8.1f}")
    print(plan.announce(args.scope, args.cores))
    return 0
