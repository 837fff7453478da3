"""joulemark report, strict, retry: pages of what exists, and what is missing."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from benchmarks.cells import Cell
from benchmarks.collect import collect, read_bundle
from benchmarks.plan import Plan
from benchmarks.records import FINAL, Store, read_json, write_text
from joulemark.plans import load, plan_argument


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    plan_argument(sub)
    if command == "tune":
        sub.add_argument("key", help="the card; snakemake tune_<card> runs the trials first")
    if command == "report":
        sub.add_argument("--so-far", action="store_true", help="the page `so_far` of what exists now")
        sub.add_argument("--scope", default="all")
        sub.add_argument(
            "--reference", action="store_true", help="the site of the reference runs in results/reference"
        )


def run(command: str, args: argparse.Namespace) -> int:
    """Make pages, or say what is missing."""
    if command == "report" and args.reference:
        from joulemark.packs import reference_site

        return reference_site(Path(args.results))
    plan = load(args)
    if command == "tune":
        from benchmarks.studies import conclude

        plan.tuning(args.key)
        card = next(card for card in plan.cards if card.key == args.key)
        for path in conclude(card, plan.resolver, plan.cell, Store(plan.results)):
            print(f"{path} written")
        return 0
    if command == "report":
        page = so_far(plan, args.scope)
        print(f"report of what exists: {page}")
        return 0
    missing = unfinished(plan)
    if command == "strict":
        for name, status in missing:
            print(f"{name}: {status}")
        print(
            f"{len(missing)} of {len(plan.cells)} cells are missing or not ok"
            if missing
            else "every cell is final"
        )
        return 1 if missing else 0
    names = {name for name, _ in missing}
    files = sorted(
        f"results/chunks/{chunk.name}.jsonl"
        for chunk in plan.chunks.values()
        if any(_title(cell) in names for cell in chunk.cells)
    )
    print("snakemake --cores 2 -R " + " ".join(map(shlex.quote, files)) if files else "nothing to try again")
    return 0


def _title(cell: Cell) -> str:
    return f"{cell.arm.task} {cell.arm.method['method']} seed {cell.seed} ({cell.record})"


def unfinished(plan: Plan) -> list[tuple[str, str]]:
    """(cell, status and reason) of everything that has no final record; diverged is a result."""
    store, found = Store(plan.results), []
    for cell in plan.cells:
        record = read_json(store.cell(cell.record))
        status = record["status"] if record else "missing"
        if status not in FINAL:
            found.append((_title(cell), f"{status} {record['reason'] if record else ''}".strip()))
    return found


def so_far(plan: Plan, scope: str = "all") -> Path:
    """A page of the records that exist, from records rather than bundles: a broken chunk shows what it has."""
    store = Store(plan.results)
    part = plan.scopes[scope]
    lines = []
    for name in part.chunks:
        for cell in plan.chunks[name].cells:
            path = store.cell(cell.record)
            lines += [path.read_text()] if path.is_file() else []
    bundle = plan.results / "tables" / f"so_far-{scope}.jsonl"
    write_text(bundle, "".join(lines))
    table = bundle.with_suffix(".parquet")
    rounds = [str(plan.results / "rounds" / f"{name}.jsonl") for name in part.rounds]
    collect([str(bundle), *rounds], table)
    page = plan.results / "report" / plan.name / "so_far" / "index.html"
    write_page(table, page, plan.scope_text(scope))
    return page


def write_page(table: Path, page: Path, scope_text: str) -> None:
    """Run the report's own command: this process may never have loaded pandas."""
    command = [
        sys.executable,
        "-m",
        "reports",
        "page",
        "--scope-json-on-stdin",
        "--table",
        str(table),
        "--out",
        str(page),
    ]
    subprocess.run(command, input=scope_text, text=True, check=True)


__all__ = ["arguments", "read_bundle", "run", "so_far", "unfinished", "write_page"]
