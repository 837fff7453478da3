"""Quality and counted cost of a finished artefact, and the record that holds them."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from benchmarks.costs import size_costs, workload_costs
from benchmarks.host import cpu_name
from benchmarks.records import SCHEMA, pack
from benchmarks.run import Diverged, MethodError, Run, seed_all
from benchmarks.tasks.base import Scores, Split

if TYPE_CHECKING:
    from benchmarks.execute import World


def score(world: World, cell: Mapping[str, Any]) -> dict[str, Any]:
    """Quality and counted cost of a finished artefact, as parts of its record."""
    seed_all(cell["seed"] + 2_000_003)
    system, run = world.system(cell)
    quality: dict[str, Any] = {}
    if run.method.budget > 0 or not run.task.trains:
        quality = _quality(run, system, world.split("test"))
        valid = world.split("valid")
        checked = _quality(run, system, valid, axes=False) if valid else {}
        for name, entry in checked.items():
            quality[name]["valid"] = entry["mean"]
        quality |= _kept_quality(world, cell, run)
    cost, reasons = counted(world, cell, system, run)
    probes = {name: float(value) for name, value in run.method.probe(system, run).items()}
    _check_numbers(probes, f"{cell['method']}: probe")
    found = {"quality": quality, "cost": cost, "cost_reasons": reasons, "probes": probes}
    return {**found, "basis": run.task.basis}


def _quality(run: Run, system: Any, split: Split, axes: bool = True, place: str = "") -> dict[str, Any]:
    known = {metric.name for metric in run.task.metrics}
    found: dict[str, Any] = {}
    for name, scores in run.task.score(system, split, run).items():
        if name not in known:
            raise MethodError(
                f"task {type(run.task).__name__}: score gives {name!r}, which is none of its metrics"
            )
        values = np.asarray(scores.values, dtype=float)
        if not np.isfinite(values).all():
            raise Diverged(f"{name} is not finite for {int((~np.isfinite(values)).sum())} test items")
        found[name + place] = _entry(values)
        if axes:
            found |= _axes(name, scores, values, place)
    return found


def _axes(name: str, scores: Scores, values: np.ndarray, place: str) -> dict[str, Any]:
    found = {}
    for axis, places in scores.axes.items():
        for value in sorted(set(np.asarray(places).tolist())):
            found[f"{name}@{axis}={value}{place.replace('@', ',')}"] = _entry(
                values[np.asarray(places) == value]
            )
    return found


def _entry(values: np.ndarray) -> dict[str, Any]:
    return {"mean": float(values.mean()) if len(values) else None, "n": len(values), "items": pack(values)}


def _kept_quality(world: World, cell: Mapping[str, Any], run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kept = world.store.artefact(cell["artefact"]) / "kept"
    for folder in sorted(kept.iterdir()) if kept.is_dir() else []:
        system = run.method.serve(world.model(folder, cell), run)
        found |= _quality(run, system, world.split("test"), axes=False, place=f"@{folder.name}")
    return found


def counted(
    world: World, cell: Mapping[str, Any], system: Any, run: Run
) -> tuple[dict[str, Any], dict[str, str]]:
    """Counted cost: sizes from tensors, workloads from the operator table, the rest from the task."""
    cost: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    if isinstance(system, nn.Module):
        cost |= size_costs(system)
    for name in cell["workloads"]:
        values, why = workload_costs(name, system, world.split("test"), run)
        cost |= values
        reasons |= why
    own = getattr(run.task, "counted", None)
    if own is not None:
        cost |= own(system, world.split("test"), run)
    _check_numbers(cost, f"task {cell['task']}: counted")
    return cost, reasons


def _check_numbers(numbers: Mapping[str, float | None], where: str) -> None:
    for name, value in numbers.items():
        if value is not None and not math.isfinite(value):
            raise MethodError(f"{where} gives {value} for {name}; where there is no number, give None")


def environment() -> dict[str, Any]:
    """What a cell's numbers may depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def training_costs(training: Mapping[str, Any]) -> dict[str, Any]:
    """Counted cost of training: steps, samples, FLOPs (null where an operator has no formula), spent amounts."""
    flops: int | None = 0
    for phase, steps in training["steps"].items():
        one = training["flops"].get(phase)
        flops = None if one is None or flops is None else flops + one * steps
    peaks = training["peak_live_bytes"].values()
    return {
        "train_steps": sum(training["steps"].values()),
        "train_samples": training["samples"],
        "train_flops": flops,
        "train_peak_live_bytes": max(peaks) if peaks else None,
        **{f"spent_{name}": amount for name, amount in training["spent"].items()},
    }


def blank(cell: Mapping[str, Any], status: str, reason: str = "", trace: str = "") -> dict[str, Any]:
    """A cell record without results."""
    return {
        "schema": SCHEMA,
        "kind": "cell",
        "key": {
            name: cell[name]
            for name in (
                "task",
                "task_knobs",
                "method",
                "knobs",
                "seed",
                "arm",
                "artefact",
                "system",
                "record",
            )
        }
        | {"workloads": cell["workloads"]},
        "status": status,
        "reason": " ".join(reason.split()),  # one line, whatever the error said
        "trace": trace,
        "quality": {},
        "cost": {},
        "cost_reasons": {},
        "probes": {},
        "training": {},
        "env": environment(),
    }
