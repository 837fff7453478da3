"""joulemark try: one method beside the baseline in about a minute, without a card."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.index import load_index
from benchmarks.knobs import InputError, check_names
from benchmarks.plan import Plan
from benchmarks.records import Store, read_json
from joulemark.bare import _job, _out, _train_jobs

#: What the table shows besides the task's metrics, in this order.
COSTS = ("params", "nonzero", "stored_bytes", "train_flops")


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    sub.add_argument("method", help="a method's name; its knobs follow as --knob value")
    sub.add_argument("--task", required=True, help="a task's name")
    sub.add_argument("--task-knobs", default="{}", help="JSON, e.g. '{\"width\": 100}'")
    sub.add_argument("--seeds", type=int, default=3)
    sub.add_argument("--rounds", type=int, default=5)
    sub.add_argument("--workloads", default=None, help="comma-separated (default: the task's main one)")
    sub.add_argument("--results", default="results")


def run(command: str, args: argparse.Namespace) -> int:
    """Train and time both, print the comparison."""
    began = time.monotonic()
    index = load_index(args.results)
    check_names([args.task], index["tasks"], "task", "--task")
    check_names([args.method], {**index["methods"], **index["errors"]}, "method", "joulemark try")
    if args.method in index["errors"]:
        raise InputError(index["errors"][args.method]["reason"])
    task = index["tasks"][args.task]
    workloads = (
        args.workloads.split(",") if args.workloads else [task["main_workload"]] * bool(task["main_workload"])
    )
    if (
        not args.workloads
        and "fit" in index["methods"][args.method]["stages"]
        and "train_step" in task["workloads"]
    ):
        workloads.append("train_step")  # who changes the training wants to see its time
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(Path(folder), args, _knobs(args.rest, index["methods"][args.method]), workloads)
        for job, name, spec in _jobs(plan, args.method):
            if not _out(plan, job, name).exists() and _job(job, _out(plan, job, name), spec):
                return 1
            if job == "train":
                _stop_at_failure(plan, name, args.method)
        table = _table(plan, Path(folder))
        print(f"{args.task}, {args.seeds} seeds, {args.rounds} rounds, {time.monotonic() - began:.0f} s")
        print(_comparison(table, plan, workloads))
    return 0


def _jobs(plan: Plan, method: str) -> list[tuple[str, str, str]]:
    """Data, training, rounds; the method before everything that it does not stand on, so that a mistake shows soon."""
    jobs = _train_jobs(plan, "all")
    own = {name for name, chunk in plan.chunks.items() if any(_is(cell, method) for cell in chunk.cells)}
    first = own | {need for name in own for need in plan.chunks[name].needs}
    jobs.sort(key=lambda job: (job[0] != "data", job[0] == "train" and job[1] not in first))
    return jobs + [("measure", name, plan.round_text(name)) for name in plan.scopes["all"].rounds]


def _is(cell: Any, method: str) -> bool:
    return bool(cell.arm.method["method"] == method)


def _stop_at_failure(plan: Plan, chunk: str, method: str) -> None:
    """Raise with the end of the traceback when the method itself has failed."""
    for cell in plan.chunks[chunk].cells:
        record = read_json(Store(plan.results).cell(cell.record)) or {}
        if _is(cell, method) and record.get("status") in ("failed", "skipped", "oom", "timeout"):
            trace = f"\n{record['trace']}" if record.get("trace") else ""
            raise InputError(f"{method}, seed {cell.seed}: {record['status']}: {record['reason']}{trace}")


def _knobs(rest: list[str], entry: dict[str, Any]) -> dict[str, Any]:
    """--knob value pairs -> typed values; YAML reads numbers, booleans and nested cells."""
    knobs: dict[str, Any] = {}
    words = list(rest)
    while words:
        word = words.pop(0)
        name, joined, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        check_names([name], {knob["name"] for knob in entry["knobs"]}, "knob", f"joulemark try: {word}")
        if not joined and not words:
            raise InputError(f"joulemark try: {word} needs a value")
        knobs[name] = yaml.safe_load(value if joined else words.pop(0))
    return knobs


def _plan(folder: Path, args: argparse.Namespace, knobs: dict[str, Any], workloads: list[str]) -> Plan:
    try:
        task_knobs = json.loads(args.task_knobs)
    except json.JSONDecodeError as error:
        raise InputError(f"--task-knobs: no JSON: {error.msg} at character {error.pos + 1}") from None
    card = {
        "study": {"key": "try", "title": "one method beside the baseline"},
        "family": "try", "scope": "extended", "grade": "C", "faithful": {"peer": "none"},
        "runs": [{"task": {args.task: task_knobs}, "workloads": workloads, "methods": {args.method: knobs}}],
        "claims": [{"id": "none", "says": "nothing", "not_tested": "a trial claims nothing"}],
    }  # fmt: skip
    (folder / "try.yaml").write_text(yaml.safe_dump(card))
    plan = {"cards": [str(folder / "try.yaml")], "seeds": args.seeds, "rounds": args.rounds}
    (folder / "try-plan.yaml").write_text(yaml.safe_dump(plan))
    return Plan({"plan": str(folder / "try-plan.yaml")}, args.results)


def _table(plan: Plan, folder: Path) -> Any:
    from benchmarks.collect import collect
    from reports.judging.table import Table

    bundles = [_out(plan, "train", name) for name in plan.chunks] + [
        _out(plan, "measure", name) for name in plan.rounds
    ]
    collect([str(path) for path in bundles], folder / "table.parquet")
    return Table.read(folder / "table.parquet", json.loads(plan.scope_text("all")))


def _comparison(table: Any, plan: Plan, workloads: list[str]) -> str:
    from tabulate import tabulate

    from reports.judging.effects import compute
    from reports.judging.table import Missing

    run = plan.cards[0].runs[0]
    base, other = run.baseline.id, run.arms[-1].id
    task = table.scope["tasks"][run.task]
    rows = []
    timed = ["train_s" if name == "train_step" else f"latency_s@{name}" for name in workloads]
    for metric in [entry["name"] for entry in task["metrics"]] + list(COSTS) + timed:
        quality = metric in {entry["name"] for entry in task["metrics"]}
        side = "minus" if quality else "over"
        check = {"metric": metric, "of": other, side: base, "task": run.task, "quality": quality}
        try:
            found = compute(table, check)
        except Missing as missing:
            rows.append([metric, "", "", "", str(missing)])
            continue
        level = {arm: _level(table, arm, metric) for arm in (base, other)}
        i = found.interval
        if metric in timed:  # both sides of one round: what differs between rounds is not the method's
            level[other] = level[base] * i.effect
        sign, unit = ("+", "") if quality else ("", "x")
        within = (
            f" [{i.low:{sign}.4f}, {i.high:{sign}.4f}]"
            if math.isfinite(i.high)
            else " (no interval: one round or seed)"
        )
        effect = f"{i.effect:{sign}.4f}{unit}{within}"
        rows.append(
            [
                metric,
                _number(level[base]),
                _number(level[other]),
                effect,
                ", ".join(filter(None, (found.basis, found.note))),
            ]
        )
    labels = [
        "",
        table.arms[base]["label"],
        table.arms[other]["label"],
        "difference or ratio [95 %]",
        "basis",
    ]
    return tabulate(rows, headers=labels, disable_numparse=True)


def _level(table: Any, arm: str, metric: str) -> float:
    rows = table.rows[
        (table.rows["arm"] == arm) & (table.rows["metric"] == metric) & (table.rows["form"] != "aa")
    ]
    if rows["form"].notna().any():
        return float(rows.groupby("form")["value"].median().min())
    return float(rows["value"].mean())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
