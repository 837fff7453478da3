"""Golden rows: a small study whose truth is known, built in memory as `collect` would write it.

Two trained tasks' worth of cells would be slow to train and would change with torch; these never do. The truth of each
arm stands in IMAGES and SERVING; every verdict and direction occurs (tests/reports/test_golden.py says where).
"""

from __future__ import annotations

import hashlib
import json
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
        "lowrank", {"rank": 32}, -0.004, {name: 0.42 for name in ("nonzero", "params", "stored_bytes", "flops")},
        {"batch1": {"dense": 1.12}, "batch64": {"dense": 0.985}},
    ),
    "distilled": Truth("distilled", {}, 0.022, {"train_flops": 2.1}, {"batch1": {"dense": 1.0}, "batch64": {"dense": 1.0}}),
    "hot": Truth("baseline", {"lr_factor": 30.0}, -0.02, status="diverged", reason="the loss is NaN", seeds=(1, 4)),
    "peer": Truth("peer_quant", {}, status="skipped", reason="peer_quant needs the package peerquant"),
    "broken": Truth("gradual", {"sparsity": 0.999}, status="failed", reason="ValueError: nothing is left of layer 2"),
}  # fmt: skip
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
        "task": task, "task_id": task_id(task), "task_knobs": dump({"width": 300}), "method": truth.method,
        "knobs": dump(truth.knobs), "arm": truth.arm, "seed": seed, "system": system, "env": dump(ENV),
    }  # fmt: skip


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
        "kind": "cell", "status": "ok", "reason": "", "metric": metric, "basis": basis, "value": mean, "valid": mean,
        "n": len(scores), "items": pack(scores), "cpu_s": 3.0,
    }  # fmt: skip


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
    """Eight rounds: log ratios with a spread of 1 %, as processes have; one flagged; A/A beside the baseline."""
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
        "metric": f"latency_s@{workload}", "basis": "measured", "value": value, "n": 25, "workload": workload,
        "form": form, "round": number, "log_ratio": log, "clock": "wall", "flags": flags, "device": "cpu", "reason": "",
    }  # fmt: skip


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


def _check(metric: str, of: str, **rest: Any) -> dict[str, Any]:
    sides = {key: IMAGES[rest.pop(key)].arm for key in ("minus", "over") if key in rest}
    base = IMAGES["baseline"].arm
    quality = metric.partition("@")[0] in ("accuracy", "nll")
    where = {"task": "toy_images", "task_id": task_id("toy_images"), "baseline": base, "quality": quality}
    return {"metric": metric, "of": IMAGES[of].arm, **where, **sides, **rest}


def _serve(metric: str, of: str, **rest: Any) -> dict[str, Any]:
    sides = {key: SERVING[rest.pop(key)].arm for key in ("minus", "over") if key in rest}
    where = {"task": "toy_cluster", "task_id": task_id("toy_cluster"), "baseline": SERVING["baseline"].arm}
    return {"metric": metric, "of": SERVING[of].arm, "quality": metric == "goodput", **where, **sides, **rest}


def _claims() -> list[dict[str, Any]]:
    """The claims of the first card: each one's outcome follows from the truth above."""
    said = {"reported": {"value": "consistently, no number", "where": "abstract"}}
    return [
        {"id": "sparse-over-dense", "says": "a large sparse network beats a small dense one with as many weights", **said,
         "checks": [_check("accuracy", "gradual90", minus="dense_params", above=0.0)]},
        {"id": "tenfold-for-free", "says": "ten times fewer weights at a loss of less than half a point",
         "reported": {"value": "up to 10x", "where": "abstract"},
         "checks": [_check("accuracy", "gradual90", minus="baseline", above=-0.005),
                    _check("nonzero", "gradual90", over="baseline", below=0.11)]},
        {"id": "halves-are-free", "says": "half of the weights can go within two points of accuracy",
         "reported": {"value": 0.002, "where": "table 1"},
         "checks": [_check("accuracy", "gradual50", minus="baseline", above=-0.02)]},
        {"id": "sparse-over-bytes", "own": True, "says": "the advantage stays when the mask's bytes are counted",
         "checks": [_check("accuracy", "gradual90", minus="dense_bytes", above=0.0)]},
        {"id": "three-times-faster", "says": "nine tenths of the weights gone make it three times faster",
         "reported": {"value": "3.1x", "where": "figure 4"},
         "checks": [_check("latency_s@batch64", "gradual90", over="baseline", below=0.333)]},
        {"id": "faster-alone", "own": True, "says": "a single image is answered faster as well",
         "checks": [_check("latency_s@batch1", "gradual90", over="dense_params", below=1.0)]},
        {"id": "as-fast-as-int8", "own": True, "says": "a low rank costs no time to speak of",
         "checks": [_check("latency_s@batch64", "lowrank", over="baseline", below=1.0)]},
        {"id": "int8-is-free", "says": "eight bits change nothing", "own": True,
         "checks": [_check("accuracy", "int8", minus="baseline", within=[-0.015, 0.015])]},
        {"id": "fewer-by-count", "says": "nine tenths of the weights are zero", "by_construction": True,
         "checks": [_check("nonzero", "gradual90", over="baseline", below=0.11)]},
        {"id": "ternary-is-fast", "says": "ternary weights halve the time",
         "reported": {"value": "2x", "where": "section 5"},
         "checks": [_check("latency_s@batch64", "ternary", over="baseline", below=0.5)]},
        {"id": "gpu-kernels", "says": "1.6 times faster on a GPU with 2:4 sparsity",
         "reported": {"value": "1.6x", "where": "table 3"}, "not_tested": "needs a GPU with sparse tensor cores"},
        {"id": "survives-heat", "says": "thirty times the learning rate costs at most 20 points", "own": True,
         "checks": [_check("accuracy", "hot", minus="baseline", above=-0.2)]},
        {"id": "rank-is-free", "says": "a low rank loses nothing that matters", "own": True,
         "checks": [_check("accuracy", "lowrank", minus="baseline", above=-0.004)]},
    ]  # fmt: skip


def _run(task: str, truths: dict[str, Truth], workloads: list[str]) -> dict[str, Any]:
    return {
        "task": task, "task_id": task_id(task), "baseline": truths["baseline"].arm, "workloads": workloads,
        "arms": [truth.arm for truth in truths.values()], "planned": True,
    }  # fmt: skip


def _cards() -> list[dict[str, Any]]:
    images, cluster = _run("toy_images", IMAGES, ["batch1", "batch64"]), _run("toy_cluster", SERVING, [])
    pruning = {
        "paper": {"key": "toy-pruning", "title": "To prune or not to prune, on golden rows", "year": 2017},
        "key": "toy-pruning", "target": "paper_toy-pruning", "family": "pruning", "grade": "B", "scope": "core",
        "smaller": "an MLP of 0.27 M weights on two thousand golden images",
        "faithful": {"identities": ["masked equals pruned"], "peer": "torch.nn.utils.prune", "published": "none"},
        "claims": _claims(), "runs": [images],
        "controls": {
            "positive": [_check("accuracy", "gradual50", minus="baseline", above=-0.02)],
            "negative": [_check("accuracy", "gradual90", minus="random", above=0.02)],
        },
    }  # fmt: skip
    distilling = {
        "paper": {"key": "toy-distilling", "title": "A teacher that helps", "year": 2015},
        "key": "toy-distilling", "target": "paper_toy-distilling", "family": "distillation", "grade": "A",
        "scope": "core", "faithful": {"published": "table 2 within 0.1 points"}, "runs": [images], "controls": {},
        "claims": [
            {"id": "better", "says": "a student of an ensemble beats the same network alone",
             "reported": {"value": "+1.0 point", "where": "table 2"},
             "checks": [_check("accuracy", "distilled", minus="baseline", above=0.0)]},
            {"id": "two-points", "says": "it gains nearly two points", "own": True,
             "checks": [_check("accuracy", "distilled", minus="baseline", above=0.018)]},
        ],
    }  # fmt: skip
    doubtful = {
        "study": {"key": "toy-doubtful", "title": "A study whose control does not come out"},
        "key": "toy-doubtful", "target": "paper_toy-doubtful", "family": "pruning", "grade": "B", "scope": "core",
        "faithful": {}, "runs": [images],
        "controls": {"positive": [_check("accuracy", "random", minus="baseline", above=-0.02)], "negative": []},
        "claims": [
            {"id": "gradual-over-oneshot", "says": "pruning while training beats pruning once",
             "checks": [_check("accuracy", "gradual90", minus="oneshot", above=0.0)]},
        ],
    }  # fmt: skip
    serving = {
        "paper": {"key": "toy-serving", "title": "Prefill and decode apart", "year": 2024},
        "key": "toy-serving", "target": "paper_toy-serving", "family": "serving", "grade": "C", "scope": "core",
        "smaller": "a simulator with stated ranges instead of a cluster", "faithful": {"identities": ["Little's law"]},
        "runs": [cluster], "controls": {},
        "claims": [
            {"id": "more-goodput", "says": "more requests a second within the deadline",
             "reported": {"value": "2.0x", "where": "abstract"},
             "checks": [_serve("goodput", "split50", over="baseline", above=1.2)]},
            {"id": "mostly", "says": "in most draws of the ranges", "own": True,
             "checks": [_serve("goodput", "split50", over="baseline", effect="share_of_draws", above=0.5)]},
        ],
    }  # fmt: skip
    return [pruning, distilling, doubtful, serving]


def _knob(name: str, default: Any) -> dict[str, Any]:
    return {"name": name, "default": default, "kind": "float", "help": "", "low": None, "high": None}


def _methods() -> dict[str, Any]:
    base = [_knob("start", "baseline"), _knob("width", None), _knob("budget", 1.0), _knob("lr_factor", 1.0)]
    families = {"baseline": "reference", "dense": "reference", "int8": "quantization", "ternary": "quantization",
                "peer_quant": "quantization", "lowrank": "factorization", "distilled": "distillation",
                "colocated": "serving", "disaggregated": "serving"}  # fmt: skip
    names = {truth.method for truth in (*IMAGES.values(), *SERVING.values())}
    return {
        name: {"family": families.get(name, "pruning"), "doc": f"The golden {name}.", "knobs": base}
        for name in names
    }


def _tasks() -> dict[str, Any]:
    accuracy = {
        "name": "accuracy",
        "unit": "share",
        "better": "higher",
        "chance": 0.1,
        "band": 0.005,
        "relative": False,
    }
    nll = {"name": "nll", "unit": "nats", "better": "lower", "chance": 2.3, "band": 0.01, "relative": False}
    goodput = {
        "name": "goodput",
        "unit": "requests/s",
        "better": "higher",
        "chance": 0.0,
        "band": 0.02,
        "relative": True,
    }
    return {
        "toy_images": {
            "basis": "counted", "doc": "Ten golden classes of golden images.", "knobs": [_knob("width", 300)],
            "metrics": [accuracy, nll], "main_workload": "batch64", "trains": True,
            "workloads": {"batch1": "one image", "batch64": "64 images"},
        },
        "toy_cluster": {
            "basis": "modelled", "doc": "A golden simulator of a cluster.", "knobs": [_knob("width", 300)],
            "metrics": [goodput], "main_workload": None, "trains": False, "workloads": {},
        },
    }  # fmt: skip


def scope(nasty: bool = False, name: str = "all") -> dict[str, Any]:
    """What the plan says about the golden scope; `nasty` puts hostile text wherever an author can write."""
    cards = _cards()
    if nasty:
        cards[0]["paper"]["title"] = cards[0]["smaller"] = NASTY
        cards[0]["claims"][0]["says"] = NASTY
        cards[0]["claims"][0]["reported"] = {"value": NASTY, "where": NASTY}
        cards[0]["claims"][10]["not_tested"] = NASTY
        cards[0]["faithful"] = {"identities": [NASTY], "peer": NASTY}
    methods, tasks = _methods(), _tasks()
    if nasty:
        tasks["toy_images"]["doc"] = methods["gradual"]["doc"] = NASTY
        tasks["toy_cluster"]["metrics"][0]["unit"] = "<b>&\"'$%"
    settings = {"seeds": SEEDS, "rounds": ROUNDS, "carbon": {"country": "FRA"}, "tour": []}
    found = {
        "plan": "golden",
        "scope": name,
        "settings": settings,
        "cards": cards,
        "tasks": tasks,
        "methods": methods,
    }
    return json.loads(json.dumps(found))
