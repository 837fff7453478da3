"""joulemark train, joulemark measure: a plan's work without Snakemake, for a bare machine.

Needs torch, numpy, pyyaml and safetensors (and pynvml for joules) only. It stops before a time limit, and the next
call goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from benchmarks.digests import ROOT
from benchmarks.plan import Plan
from benchmarks.records import Store
from joulemark.plans import load, plan_argument


def arguments(command: str, sub: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    plan_argument(sub)
    sub.add_argument("--scope", default="all")
    sub.add_argument(
        "--limit-s", type=float, default=float("inf"), help="begin nothing new after this many seconds"
    )
    sub.add_argument("--pack", type=Path, help="write finished records into this tar at the end")


def run(command: str, args: argparse.Namespace) -> int:
    """Train, and for `measure` time, what the plan asks for; returns 0 when nothing is left."""
    plan, began = load(args), time.monotonic()
    jobs = _train_jobs(plan, args.scope)
    if command == "measure":
        jobs += [("measure", name, plan.round_text(name)) for name in plan.scopes[args.scope].rounds]
    left = 0
    for at, (job, name, spec) in enumerate(jobs, start=1):
        out = _out(plan, job, name)
        if out.exists():
            continue
        if time.monotonic() - began > args.limit_s:
            left += 1
            continue
        print(f"[{at}/{len(jobs)}] {job} {name}", flush=True)
        left += _job(job, out, spec) != 0
    if args.pack:
        _pack(plan, args.scope, args.pack)
    print("nothing is left to do" if not left else f"{left} jobs are left: the same command goes on")
    return 0 if not left else 3


def _train_jobs(plan: Plan, scope: str) -> list[tuple[str, str, str]]:
    """Data first, then chunks, starts before what stands on them."""
    chunks = [plan.chunks[name] for name in plan.scopes[scope].chunks]
    ordered = sorted(chunks, key=lambda chunk: min(cell.depth for cell in chunk.cells))
    data = dict.fromkeys(chunk.data for chunk in ordered)
    jobs = [("data", name, plan.data_text(name)) for name in data]
    return jobs + [("train", chunk.name, plan.chunk_text(chunk.name)) for chunk in ordered]


def _out(plan: Plan, job: str, name: str) -> Path:
    folder = {"data": "data", "train": "chunks", "measure": "rounds"}[job]
    return plan.results / folder / (name if job == "data" else f"{name}.jsonl")


def _job(job: str, out: Path, spec: str) -> int:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "benchmarks", job, "--out", str(out)]
    return subprocess.run(command, input=spec, text=True, env=env).returncode


def _pack(plan: Plan, scope: str, path: Path) -> None:
    """A tar of the scope's records, to be unpacked over `results/` at home."""
    from benchmarks.measure.rounds import visit_names

    store, part = Store(plan.results), plan.scopes[scope]
    files = [store.cell(cell.record) for name in part.chunks for cell in plan.chunks[name].cells]
    files += [store.visit(v) for name in part.rounds for v in visit_names(json.loads(plan.round_text(name)))]
    with tarfile.open(path, "w") as tar:
        for file in files:
            if file.is_file():
                tar.add(file, arcname=file.relative_to(plan.results).as_posix())
