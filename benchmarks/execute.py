"""One cell from its spec: build, fit, adapt, serve, score. Runs in a child process of the train job."""

from __future__ import annotations

import copy
import math
import os
import platform
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks import artefacts
from benchmarks.cards import stands_on_start
from benchmarks.costs import size_costs, workload_costs
from benchmarks.index import load_module
from benchmarks.cells import ref_key
from benchmarks.records import SCHEMA, Store, pack
from benchmarks.run import Diverged, Log, MethodError, Run, cpu_clock
from benchmarks.tasks.base import Scores, Split

#: Added to a cell's seed before each stage that learns or adapts.
STAGE_SEED = 1_000_003


class World:
    """Data, index and store of one job; makes runs and loads cells."""

    def __init__(self, store: Store, index: Mapping[str, Any], data: Path, device: str = "cpu") -> None:
        self.store, self.index, self.data = store, index, data
        self.device = torch.device(device)
        self._splits: dict[str, Split] = {}
        for entry in [*index["tasks"].values(), *index["methods"].values()]:
            if not entry["module"].startswith(("methods.", "benchmarks.")):  # a plugin: its layers must be known
                self._module(entry)

    def split(self, name: str) -> Split:
        """A split of the prepared data as tensors, items first; read once a process."""
        if name not in self._splits:
            path = self.data / f"{name}.safetensors"
            tensors = load_file(path) if path.is_file() else {}
            self._splits[name] = {key: value.to(self.device) for key, value in tensors.items()}
        return self._splits[name]

    def instance(self, table: str, name: str, knobs: Mapping[str, Any]) -> Any:
        """A task or method with its knobs."""
        if name in self.index["errors"]:
            raise MethodError(self.index["errors"][name]["reason"])
        entry = self.index[table][name]
        return getattr(self._module(entry), entry["class"])(**knobs)

    @staticmethod
    def _module(entry: Mapping[str, Any]) -> Any:
        path = Path(entry["file"])
        return load_module(entry["module"], path if path.is_absolute() else artefact_root() / path)

    def run(self, cell: Mapping[str, Any]) -> Run:
        """The run object of a cell."""
        run = Run(
            task=self.instance("tasks", cell["task"], cell["task_knobs"]),
            method=self.instance("methods", cell["method"], cell["knobs"]),
            seed=cell["seed"],
            device=self.device,
            train=self.split("train"),
            valid=self.split("valid"),
            log=Log(_snapshot=lambda model: artefacts.bake(copy.deepcopy(model))),
        )
        run.load = lambda ref: self.load(cell, ref)
        return run

    def load(self, cell: Mapping[str, Any], ref: Any) -> Any:
        """The finished system of another cell that `cell` stands on."""
        found = cell["refs"].get(ref_key(ref)) if ref is not None else None
        if found is None:
            raise MethodError(f"run.load: {ref} is not a cell knob of {cell['method']}; a method loads what it names")
        run = self.run({**cell, **{"refs": {}, **found}})
        return run.method.serve(self.model(self.store.artefact(found["artefact"]), cell), run)

    def model(self, folder: Path, cell: Mapping[str, Any]) -> Any:
        """The trained model of an artefact, before `serve`."""
        spec = artefacts.read_spec(folder)
        if "same_as" in spec:
            model = self.model(self.store.artefact(spec["same_as"]), cell)
        elif "sha256" in spec:
            model = artefacts.load_tensors(folder, self._build(cell, spec["builder"]), spec, self.device)
        else:  # a system that is no module has no tensors: it is made again
            model = self._build(cell, spec["builder"])
        for stage in spec.get("then", []):
            run = self.run({**cell, **stage})
            seed_all(cell["seed"] + STAGE_SEED)
            model = getattr(run.method, stage["stage"])(model, run)
        return model

    def _build(self, cell: Mapping[str, Any], builder: Mapping[str, Any]) -> Any:
        run = self.run({**cell, **builder})
        seed_all(cell["seed"])
        return _placed(run.method.build(run), self.device)

    def system(self, cell: Mapping[str, Any]) -> tuple[Any, Run]:
        """The finished system of a cell whose artefact is there."""
        run = self.run(cell)
        return run.method.serve(self.model(self.store.artefact(cell["artefact"]), cell), run), run


def _placed(model: Any, device: torch.device) -> Any:
    return model.to(device) if isinstance(model, nn.Module) else model


def artefact_root() -> Path:
    """Where the sources lie that an index names relatively."""
    from benchmarks.digests import ROOT

    return ROOT


def seed_all(seed: int) -> None:
    """Seed every generator that a method might draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def settle(threads: int = 1) -> None:
    """One thread and deterministic kernels: same hash, same machine, same numbers."""
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms would import the compiler: 1.2 CPU-s


def train(world: World, cell: Mapping[str, Any]) -> dict[str, Any]:
    """Make the artefact of a cell; returns what goes under `training` in its record."""
    run, entry = world.run(cell), world.index["methods"][cell["method"]]
    start_cpu = cpu_clock()
    stages: dict[str, float] = {}
    folder = world.store.artefact(cell["artefact"])
    itself = {"method": cell["method"], "knobs": cell["knobs"], "refs": dict(cell["refs"])}
    then: list[dict[str, Any]] = []
    if stands_on_start(entry["stages"]):
        start = cell["refs"][ref_key(run.method.start)]
        begun = world.store.artefact(start["artefact"])
        builder, then = _origin(world, begun)
        if _serves(world, start):
            model = world.load(cell, run.method.start)
            then = [*then, {"refs": {}, **start, "stage": "serve"}]
        else:
            model = world.model(begun, cell)
    else:
        seed_all(cell["seed"])
        model, builder = _placed(run.method.build(run), world.device), itself
    built = model
    if not stands_on_start(entry["stages"]) and run.task.trains and run.method.budget > 0:
        stages["fit"], model = _timed(run.method.fit, model, run, cell["seed"])
    if "adapt" in entry["stages"]:
        stages["adapt"], model = _timed(run.method.adapt, model, run, cell["seed"])
    _check_model(model, built, "fit" in stages, cell)
    training = {
        "steps": run.log.steps,
        "flops": run.log.flops,
        "peak_live_bytes": run.log.peak_live_bytes,
        "samples": run.log.samples,
        "curve": run.log.curve,
        "notes": run.log.notes,
        "spent": run.log.spent,
        "kept": sorted(run.log.kept),
        "stage_cpu_s": {name: round(seconds, 3) for name, seconds in stages.items()},
        "cpu_s": round(cpu_clock() - start_cpu, 3),
    }
    spec: dict[str, Any] = {"builder": builder}
    if "adapt" not in entry["stages"] and stands_on_start(entry["stages"]):
        start = cell["refs"][ref_key(run.method.start)]
        serves = [{"refs": {}, **start, "stage": "serve"}] if _serves(world, start) else []
        spec, model = {"same_as": start["artefact"], "then": serves}, None
    elif not isinstance(model, nn.Module):
        adapts = [{**itself, "stage": "adapt"}] if "adapt" in entry["stages"] else []
        spec, model = {"builder": builder, "then": [*then, *adapts]}, None
    else:
        model = artefacts.bake(model)
    artefacts.save(folder, model, spec, training, lambda: world._build(cell, builder), run.log.kept)
    return training


def _serves(world: World, ref: Mapping[str, Any]) -> bool:
    return "serve" in world.index["methods"][ref["method"]]["stages"]


def _origin(world: World, folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Who built what an artefact holds (adapting passes the builder on), and the stages that loading it runs again."""
    spec = artefacts.read_spec(folder)
    before: list[dict[str, Any]] = []
    if "same_as" in spec:
        builder, before = _origin(world, world.store.artefact(spec["same_as"]))
    else:
        builder = spec["builder"]
    return builder, [*before, *spec.get("then", [])]


def _timed(stage: Any, model: Any, run: Run, seed: int) -> tuple[float, Any]:
    seed_all(seed + STAGE_SEED)
    began = cpu_clock()
    result = stage(model, run)
    return cpu_clock() - began, result


def _check_model(model: Any, built: Any, fitted: bool, cell: Mapping[str, Any]) -> None:
    if model is None:
        raise MethodError(f"{cell['method']}: a stage returned nothing; return the model")
    if not isinstance(model, nn.Module) and (fitted or isinstance(built, nn.Module)):
        raise MethodError(
            f"{cell['method']}: what was learnt cannot be stored in a {type(model).__name__}; return a module, and "
            "make the system that uses it in serve"
        )
    if isinstance(model, nn.Module):
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise Diverged(f"{name} is not finite after training")


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
            raise MethodError(f"task {type(run.task).__name__}: score gives {name!r}, which is none of its metrics")
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
            found[f"{name}@{axis}={value}{place.replace('@', ',')}"] = _entry(values[np.asarray(places) == value])
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


def counted(world: World, cell: Mapping[str, Any], system: Any, run: Run) -> tuple[dict[str, Any], dict[str, str]]:
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


def cpu_name() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


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
            for name in ("task", "task_knobs", "method", "knobs", "seed", "arm", "artefact", "system", "record")
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
