"""joulemark extend KEY --seeds N | --rounds N: more replicates of one card, without repeating anything that exists."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks.digests import ROOT
from benchmarks.extension import has_seeds, seeds_of
from benchmarks.knobs import InputError, check_names
from benchmarks.plan import Plan
from benchmarks.records import Store
from joulemark.plans import config_of, plan_argument


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    plan_argument(sub)
    sub.add_argument("key", help="the card: joulemark list shows them")
    sub.add_argument("--seeds", type=int, default=None, help="seeds in all, beside those that are there")
    sub.add_argument("--rounds", type=int, default=None, help="rounds in all, beside those that are there")
    sub.add_argument("--cores", default="all", help="cores for Snakemake (default: all)")
    sub.add_argument("--dry-run", action="store_true", help="say what would run")


def run(command: str, args: argparse.Namespace) -> int:
    """Plan the card with more seeds or rounds, and let Snakemake make what is missing and the card's page."""
    wanted = {name: getattr(args, name) for name in ("seeds", "rounds") if getattr(args, name) is not None}
    if not wanted:
        raise InputError("joulemark extend: say --seeds N or --rounds N")
    config = config_of(args.plan)
    plan = Plan(config, args.results)
    check_names([args.key], {card.key for card in plan.cards}, "card", f"extend (plan {plan.name})")
    now = {name: _now(plan, args.key, name) for name in wanted}
    news = {name: count for name, count in wanted.items() if count > now[name]}
    for name, count in wanted.items():
        if name not in news:
            print(f"nothing to do: {args.key} has {now[name]} {name} in plan {plan.name}; {count} is no more")
    if not news:
        return 0
    begun = plan.settings["extend"]
    extended = {**config, "extend": {**begun, args.key: {**begun.get(args.key, {}), **news}}}
    more = {name: count for name, count in news.items() if not _beyond(extended, args, name, count)}
    for name in set(news) - set(more):
        print(f"nothing to do: more than {news[name]} {name} of {args.key} exist already")
    if not more:
        return 0
    return _make(extended, plan, now, args)


def _now(plan: Plan, key: str, what: str) -> int:
    """How many seeds or rounds a card has by its plan: the least of its runs that can have more.

    Raises:
        InputError: none of its runs can have more.
    """
    card = next(card for card in plan.cards if card.key == key)
    if what == "seeds":
        counts = [seeds_of(plan, card, run)[1] for run in card.runs if has_seeds(plan, run)]
        reason = "its numbers are counted or simulated, and another seed would repeat them"
    else:
        systems = {cell.system for cell in plan.card_cells[key].values()}
        marks = [
            tour for table in plan.timed.values() for (system, _), tour in table.items() if system in systems
        ]
        asked = plan.settings["extend"].get(key, {}).get("rounds", 0)
        usual = (plan.settings["tour_rounds" if tour else "rounds"] for tour in marks)
        counts, reason = [max(asked, count) for count in usual], "it times nothing"
    if not counts:
        raise InputError(f"joulemark extend: {key} takes no more {what}: {reason}")
    return min(counts)


def _beyond(config: Mapping[str, Any], args: argparse.Namespace, what: str, count: int) -> bool:
    """Whether even one seed or round more than asked for is there already."""
    extend = config["extend"]
    more = {**config, "extend": {**extend, args.key: {**extend[args.key], what: min(count + 1, 100)}}}
    return count < 100 and not any(missing(Plan(more, args.results), args.key))


def missing(plan: Plan, key: str) -> tuple[int, int]:
    """(cells without a final record, rounds that were not taken) of a card."""
    card = next(card for card in plan.cards if card.key == key)
    store, scope = Store(plan.results), plan.scopes[card.scope]
    cells = [cell for name in scope.chunks for cell in plan.chunks[name].cells]
    lost = sum(store.final(cell.record) is None for cell in cells)
    return lost, sum(not (plan.results / "rounds" / f"{name}.jsonl").is_file() for name in scope.rounds)


def _make(config: Mapping[str, Any], plan: Plan, now: Mapping[str, int], args: argparse.Namespace) -> int:
    asked = config["extend"][args.key]
    grown = Plan(config, args.results)
    card = next(card for card in grown.cards if card.key == args.key)
    cells, rounds = missing(grown, args.key)
    told = ", ".join(f"{now[name]} to {asked[name]} {name}" for name in now if name in asked)
    left = (
        f"{cells} cells and {rounds} rounds to run"
        if cells or rounds
        else "all of it exists: its page is made anew"
    )
    print(f"{args.key}: {told}; {left}", flush=True)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--cores",
        args.cores,
    ]
    command += [card.scope, *(["--dry-run"] if args.dry_run else [])]
    command += ["--config", *(f"{name}={_typed(value)}" for name, value in sorted(config.items()))]
    status = subprocess.run(command, env=dict(os.environ)).returncode
    if status or args.dry_run:
        return status
    print(f"page: results/report/{grown.name}/{card.scope}/index.html")
    keep = json.dumps({args.key: asked})
    print(
        f"a plain run goes back to the plan's numbers; to keep these, write in config/{grown.name}.yaml: extend: {keep}"
    )
    return 0


def _typed(value: Any) -> str:
    """A setting as Snakemake's --config reads it."""
    return value if isinstance(value, str) else json.dumps(value)
