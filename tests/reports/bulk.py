"""Many records as a long run leaves them, made in memory: for tests of how long aggregation takes.

Two thirds of 100,000 records are visits, one third cells (five seeds of some thousand settings on a few tasks).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.digests import digest
from benchmarks.records import pack

SEEDS, ROUNDS, ITEMS, PER_TASK = 5, 8, 2000, 40
#: Records of one arm: its seeds, and rounds of one workload.
PER_ARM = SEEDS + ROUNDS
ENV = {
    "python": "3.11.7",
    "torch": "2.13.0",
    "machine": "x86_64",
    "system": "Linux",
    "cpu": "Bulk CPU",
    "cores": 2,
}
METRIC = {
    "name": "accuracy",
    "unit": "share",
    "better": "higher",
    "chance": 0.1,
    "band": 0.005,
    "relative": False,
}


def arms(records: int) -> list[dict[str, Any]]:
    """(task, method, knobs, arm) of so many records; the first of each task is its baseline."""
    found = []
    for number in range(records // PER_ARM):
        task, at = divmod(number, PER_TASK)
        method, knobs = ("baseline", {}) if at == 0 else ("shrink", {"share": at / PER_TASK})
        key = {"task": f"bulk_{task}", "task_knobs": {}, "method": method, "knobs": knobs}
        found.append({**key, "arm": digest(key)})
    return found


def write(folder: Path, records: int) -> list[str]:
    """Bundles of about so many records, one an arm and kind; returns their paths."""
    rng = np.random.default_rng(0)
    packed = [pack((rng.random(ITEMS) < 0.8).astype(float)) for _ in range(16)]
    paths = []
    bases: dict[str, str] = {}
    for number, arm in enumerate(arms(records)):
        base = bases.setdefault(arm["task"], digest([arm["arm"], 0]))
        for kind, made in (("cells", _cells(arm, packed, rng)), ("visits", _visits(arm, base, rng))):
            path = folder / f"{kind}-{number}.jsonl"
            path.write_text("".join(json.dumps(record, sort_keys=True) + "\n" for record in made))
            paths.append(str(path))
    return paths


def _key(arm: dict[str, Any], seed: int) -> dict[str, Any]:
    return {
        **arm,
        "seed": seed,
        "system": digest([arm["arm"], seed]),
        "record": digest([arm["arm"], seed, "r"]),
    }


def _cells(arm: dict[str, Any], packed: list[str], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for seed in range(SEEDS):
        quality = {
            name: {"mean": 0.8, "n": ITEMS, "items": packed[rng.integers(16)], "valid": 0.8}
            for name in ("accuracy", "nll")
        }
        cost = {
            name: float(1000 * (1 + seed))
            for name in ("params", "nonzero", "stored_bytes", "train_flops", "train_steps")
        }
        cost |= {"flops@batch64": 1e6, "bytes_moved@batch64": 1e5, "peak_live_bytes@batch64": 1e4}
        yield {
            "schema": "1.0", "kind": "cell", "key": _key(arm, seed), "status": "ok", "reason": "", "trace": "",
            "quality": quality, "cost": cost, "cost_reasons": {}, "probes": {}, "basis": "counted", "env": ENV,
            "training": {"cpu_s": 9.0, "stage_cpu_s": {"fit": 8.0}, "curve": [["train", n, 1.0] for n in range(40)]},
        }  # fmt: skip


def _visits(arm: dict[str, Any], base: str, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for number in range(ROUNDS):
        log = 0.0 if arm["method"] == "baseline" else float(0.01 * rng.normal() - 0.3)
        entry = {
            "latency_s": 1e-3, "latency_observed_s": 1.1e-3, "cpu_s": 1e-3, "high_water_bytes": 10**6,
            "first_call_s": 2e-3, "log_ratio": log, "clock": "wall", "flags": [], "samples": 10,
        }  # fmt: skip
        more = {"workload": "batch64", "round": number, "baseline": base, "protocol": 1, "device": "cpu"}
        yield {
            "schema": "1.1", "kind": "visit", "key": {**_key(arm, 0), **more}, "forms": {"dense": entry},
            "reason": "", "flags": [], "env": ENV,
        }  # fmt: skip


def scope(records: int) -> dict[str, Any]:
    """A card a task: each setting against the baseline in accuracy and time."""
    tasks: dict[str, list[str]] = {}
    for arm in arms(records):
        tasks.setdefault(arm["task"], []).append(arm["arm"])
    return {
        "plan": "bulk", "scope": "all", "settings": {"seeds": SEEDS, "rounds": ROUNDS},
        "cards": [_card(task, ids) for task, ids in tasks.items()],
        "tasks": {task: {"metrics": [METRIC], "basis": "counted", "trains": True} for task in tasks},
        "methods": {name: {"knobs": [], "family": "bulk"} for name in ("baseline", "shrink")},
    }  # fmt: skip


def _card(task: str, ids: list[str]) -> dict[str, Any]:
    base = ids[0]
    claims = [
        {
            "id": f"claim-{at}",
            "says": "it is quicker and no worse",
            "checks": [
                {
                    "task": task,
                    "metric": "accuracy",
                    "quality": True,
                    "of": id,
                    "minus": base,
                    "above": -0.05,
                },
                {
                    "task": task,
                    "metric": "latency_s@batch64",
                    "quality": False,
                    "of": id,
                    "over": base,
                    "below": 0.9,
                },
            ],
        }
        for at, id in enumerate(ids[1:])
    ]
    run = {
        "task": task,
        "task_id": digest([task, {}]),
        "baseline": base,
        "arms": ids,
        "workloads": ["batch64"],
    }
    return {
        "key": task.replace("_", "-"), "family": "bulk", "grade": "B", "target": f"study_{task}", "controls": {},
        "claims": claims, "runs": [run], "faithful": {},
    }  # fmt: skip
