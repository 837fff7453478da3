"""One cell from its spec: build, fit, adapt, serve, score. Runs in a child process of the train job."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from benchmarks import artefacts
from benchmarks.cells import ref_key
from benchmarks.index import load_module
from benchmarks.records import Store
from benchmarks.resolver import stands_on_start
from benchmarks.run import Diverged, Log, MethodError, Run, cpu_clock, seed_all
from benchmarks.tasks.base import Split

#: Added to a cell's seed before each stage that learns or adapts.
STAGE_SEED = 1_000_003


class World:
    """Data, index and store of one job; makes runs and loads cells."""

    def __init__(self, store: Store, index: Mapping[str, Any], data: Path, device: str = "cpu") -> None:
        self.store, self.index, self.data = store, index, data
        self.device = torch.device(device)
        self._splits: dict[str, Split] = {}
        self._read: dict[str, Split] = {}
        for entry in [*index["tasks"].values(), *index["methods"].values()]:
            if not entry["module"].startswith(
                ("methods.", "benchmarks.")
            ):  # a plugin: its layers must be known
                self._module(entry)

    def split(self, name: str) -> Split:
        """A split of the prepared data as tensors, items first; read once a process."""
        if name not in self._splits:
            self._splits[name] = {key: value.to(self.device) for key, value in self.read(name).items()}
        return self._splits[name]

    def read(self, name: str) -> Split:
        """A split in the machine's own memory: a job reads it before it forks, and no GPU may be in use by then."""
        if name not in self._read:
            path = self.data / f"{name}.safetensors"
            self._read[name] = load_file(path) if path.is_file() else {}
        return self._read[name]

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
            raise MethodError(
                f"run.load: {ref} is not a cell knob of {cell['method']}; a method loads what it names"
            )
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


def settle(threads: int = 1) -> None:
    """One thread and deterministic kernels: same hash, same machine, same numbers."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode(
        "warn"
    )  # use_deterministic_algorithms would import the compiler: 1.2 CPU-s


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
