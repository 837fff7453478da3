"""Golden rows: a small study whose truth is known, built in memory as `collect` would write it.

Cells that are trained would be slow and would change with torch; these never do. The truth of each arm stands
in IMAGES and SERVING; every verdict and direction occurs (tests/reports/test_golden.py says where).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.collect import as_table
from benchmarks.records import dump, pack

SEEDS, ROUNDS, ITEMS, DRAWS = 5, 8, 2000, 400
BASE = {
    "nonzero": 266610.0,
    "params": 266610.0,
    "stored_bytes": 1066440.0,
    "flops": 34073600.0,
    "train_flops": 8.1e10,
}
LATENCY = {"batch1": 39e-6, "batch64": 392e-6}
ENV = {
    "cores": 2,
    "cpu": "Golden CPU",
    "machine": "x86_64",
    "python": "3.11.7",
    "system": "Linux",
    "torch": "2.13.0",
}
NASTY = (
    "<script>alert('x')</script> & \"quotes\" 100 % #1 $x_1^2$ \\input{/etc/passwd} {~} | `code` é 中 "
    + "long " * 30
)


@dataclass(frozen=True)
class Truth:
    """What an arm truly does.

    Attributes:
        accuracy: expected difference to the baseline, a share.
        costs: metric -> ratio to the baseline, exact.
        times: workload -> form -> ratio to the baseline.
        status: of its cells; `diverged` may name some seeds only.
    """

    method: str
    knobs: dict[str, Any] = field(default_factory=dict)
    accuracy: float = 0.0
    costs: dict[str, float] = field(default_factory=dict)
    times: dict[str, dict[str, float]] = field(default_factory=dict)
    status: str = "ok"
    reason: str = ""
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    emulated: bool = False

    @property
    def arm(self) -> str:
        """Its id, as the planner makes them: twelve hexadecimal digits."""
        return hashlib.sha256(f"{self.method}{dump(self.knobs)}".encode()).hexdigest()[:12]


def sparse(method: str, sparsity: float, accuracy: float, csr: float, **knobs: Any) -> Truth:
    """A pruned network: fewer weights, the same counted FLOPs, a sparse kernel that may or may not pay."""
    kept = 1.0 - sparsity
    times = {
        "batch1": {"dense": 1.0, "csr": 2.5 * csr + 0.9},
        "batch64": {"dense": 1.0, "csr": csr},
    }
    return Truth(
        method,
        {"sparsity": sparsity, **knobs},
        accuracy,
        {"nonzero": kept, "stored_bytes": min(1.0, kept * 1.3)},
        times,
    )


def small(method: str, share: float, accuracy: float, **knobs: Any) -> Truth:
    """A small dense network."""
    costs = {name: share for name in ("nonzero", "params", "stored_bytes", "flops", "train_flops")}
    times = {"batch1": {"dense": 0.6 + 0.4 * share}, "batch64": {"dense": 0.08 + 0.9 * share}}
    return Truth(method, knobs, accuracy, costs, times)


GRADUAL = {"method": "gradual", "knobs": {"sparsity": 0.9}}
IMAGES = {
    "baseline": Truth("baseline", times={name: {"dense": 1.0} for name in LATENCY}),
    "gradual50": sparse("gradual", 0.5, -0.001, 1.68),
    "gradual90": sparse("gradual", 0.9, -0.016, 0.53),
    "gradual98": sparse("gradual", 0.98, -0.075, 0.28),
    "oneshot": sparse("oneshot", 0.9, -0.045, 0.53),
    "random": sparse("random", 0.9, -0.11, 0.54),
    "dense_params": small("dense", 0.1, -0.046, like=GRADUAL, match="params"),
    "dense_bytes": small("dense", 0.13, -0.016, like=GRADUAL, match="bytes"),
    "int8": Truth(
        "int8", {}, -0.0005, {"stored_bytes": 0.253}, {"batch1": {"int8": 1.9}, "batch64": {"int8": 0.62}}
    ),
    "ternary": Truth("ternary", {}, -0.012, {"stored_bytes": 0.065}, emulated=True),
    "lowrank": Truth(
        "lowrank",
        {"rank": 32},
        -0.004,
        {name: 0.42 for name in ("nonzero", "params", "stored_bytes", "flops")},
        {"batch1": {"dense": 1.12}, "batch64": {"dense": 0.985}},
    ),
    "distilled": Truth(
        "distilled", {}, 0.022, {"train_flops": 2.1}, {"batch1": {"dense": 1.0}, "batch64": {"dense": 1.0}}
    ),
    "hot": Truth(
        "baseline", {"lr_factor": 30.0}, -0.02, status="diverged", reason="the loss is NaN", seeds=(1, 4)
    ),
    "peer": Truth("peer_quant", {}, status="skipped", reason="peer_quant needs the package peerquant"),
    "broken": Truth(
        "gradual", {"sparsity": 0.999}, status="failed", reason="ValueError: nothing is left of layer 2"
    ),
}
SERVING = {
    "baseline": Truth("colocated"),
    "split50": Truth("disaggregated", {"split": 0.5}, 0.35, {"price": 1.0}),
    "split25": Truth("disaggregated", {"split": 0.25}, 0.05, {"price": 0.9}),
}


def rows(nasty: bool = False, seed: int = 7) -> pd.DataFrame:
    """The table of the golden scope."""
    rng = np.random.default_rng(seed)
    found = [*_image_rows(rng, nasty), *_serving_rows(rng)]
    return as_table(found)


def _common(task: str, truth: Truth, seed: int) -> dict[str, Any]:
    system = hashlib.sha256(f"{truth.arm}{seed}".encode()).hexdigest()[:12]
    return {
        "task": task,
        "task_id": task_id(task),
        "task_knobs": dump({"width": 300}),
        "method": truth.method,
        "knobs": dump(truth.knobs),
        "arm": truth.arm,
        "seed": seed,
        "system": system,
        "env": dump(ENV),
    }


def task_id(task: str) -> str:
    """The id of a task with its knobs."""
    return hashlib.sha256(task.encode()).hexdigest()[:12]


def _image_rows(rng: np.random.Generator, nasty: bool) -> Iterator[dict[str, Any]]:
    hard, luck = rng.normal(size=ITEMS), rng.normal(size=(SEEDS, ITEMS))
    shifts = 0.002 * rng.normal(size=SEEDS)
    for truth in IMAGES.values():
        own = rng.normal(size=(SEEDS, ITEMS))
        for seed in range(SEEDS):
            common = _common("toy_images", truth, seed)
            status = truth.status if seed in truth.seeds else "ok"
            reason = "" if status == "ok" else NASTY if nasty and status == "failed" else truth.reason
            yield common | _status(status, reason)
            if status in ("skipped", "failed", "diverged"):
                continue
            # most of what makes an item easy is shared, so that pairs cancel it as they do in life
            ease = np.sqrt(0.75) * hard + np.sqrt(0.15) * luck[seed] + np.sqrt(0.10) * own[seed]
            right = (ease < stats.norm.ppf(0.88 + truth.accuracy + shifts[seed])).astype(float)
            yield common | _quality("accuracy", right, "counted")
            yield common | _quality("nll", 0.4 + 0.5 * (1 - right) + 0.05 * np.abs(own[seed]), "counted")
            yield from _costs(common, truth, BASE)
        yield from _visits(rng, truth)


def _status(status: str, reason: str) -> dict[str, Any]:
    return {
        "kind": "cell",
        "metric": "status",
        "basis": "counted",
        "status": status,
        "reason": reason,
        "cpu_s": 3.0,
    }


def _quality(metric: str, scores: np.ndarray, basis: str) -> dict[str, Any]:
    mean = float(scores.mean())
    return {
        "kind": "cell",
        "status": "ok",
        "reason": "",
        "metric": metric,
        "basis": basis,
        "value": mean,
        "valid": mean,
        "n": len(scores),
        "items": pack(scores),
        "cpu_s": 3.0,
    }


def _costs(common: dict[str, Any], truth: Truth, base: dict[str, float]) -> Iterator[dict[str, Any]]:
    for name, value in base.items():
        metric = f"{name}@batch64" if name == "flops" else name
        exact = {
            "kind": "cell",
            "status": "ok",
            "reason": "",
            "metric": metric,
            "basis": "counted",
            "cpu_s": 3.0,
        }
        if truth.method == "ternary" and name == "flops":
            yield (
                common
                | exact
                | {"value": None, "reason": "no formula for aten::ternary_mm", "workload": "batch64"}
            )
            continue
        value = float(round(value * truth.costs.get(name, 1.0)))
        yield common | exact | {"value": value, "workload": "batch64" if name == "flops" else ""}


def _visits(rng: np.random.Generator, truth: Truth) -> Iterator[dict[str, Any]]:
    """Eight rounds: log ratios with a spread of 1 %, as processes have; one is flagged; A/A beside."""
    base = _common("toy_images", IMAGES["baseline"], 0)["system"]
    common = _common("toy_images", truth, 0) | {
        "kind": "visit",
        "status": "ok",
        "baseline": base,
        "protocol": 1,
    }
    for workload, second in LATENCY.items():
        if truth.emulated:
            null = {
                "metric": f"latency_s@{workload}",
                "workload": workload,
                "reason": "emulated",
                "basis": "measured",
            }
            yield common | null | {"flags": "", "round": 0, "device": "cpu"}
        for form, ratio in truth.times.get(workload, {}).items():
            for number in range(ROUNDS):
                is_base = truth is IMAGES["baseline"]
                log = 0.0 if is_base else float(np.log(ratio) + 0.01 * rng.normal())
                flags = "neighbour" if number == 5 and form != "dense" else ""
                yield common | _visit(workload, form, number, second * float(np.exp(log)), log, flags)
                if is_base:
                    twin = 0.008 * rng.normal()
                    yield common | _visit(
                        workload, "aa", number, second * float(np.exp(twin)), float(twin), ""
                    )


def _visit(workload: str, form: str, number: int, value: float, log: float, flags: str) -> dict[str, Any]:
    return {
        "metric": f"latency_s@{workload}",
        "basis": "measured",
        "value": value,
        "n": 25,
        "workload": workload,
        "form": form,
        "round": number,
        "log_ratio": log,
        "clock": "wall",
        "flags": flags,
        "device": "cpu",
        "reason": "",
    }


def _serving_rows(rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """A simulator: one seed, modelled numbers, draws as items, no clock."""
    load = np.exp(0.2 * rng.normal(size=DRAWS))
    for truth in SERVING.values():
        common = _common("toy_cluster", truth, 0)
        yield common | _status("ok", "")
        rate = 10 * load * np.exp(truth.accuracy + 0.3 * rng.normal(size=DRAWS))
        yield common | _quality("goodput", rate, "modelled")
        price = {"kind": "cell", "status": "ok", "reason": "", "metric": "price", "basis": "modelled"}
        yield common | price | {"value": 4.0 * truth.costs.get("price", 1.0)}
