"""What takes turns in a round: forms of finished cells with their calls, and training loops, each a copy of its own."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.cells import ref_key
from benchmarks.costs import forms
from benchmarks.execute import STAGE_SEED, World
from benchmarks.measure import protocol
from benchmarks.measure.clocks import CallRunner, Runner
from benchmarks.measure.devices import Device
from benchmarks.measure.training import StepRunner
from benchmarks.records import read_json, unpack
from benchmarks.resolver import stands_on_start
from benchmarks.run import Run, seed_all

#: The workload that runs a method's own training loop.
TRAIN_STEP = "train_step"


@dataclass
class Entry:
    """One form of one cell that takes turns in a round.

    Attributes:
        cell: its spec.
        form: `dense`, `csr`, `int8`, ..., `aa` for the copy of the baseline, `train_step` for a training loop.
        runner: makes its samples.
        system: what answers, for the slice that is scored again.
        items, unit: what one call answers.
    """

    cell: Mapping[str, Any]
    form: str
    runner: Runner
    system: Any = None
    items: int = 1
    unit: str = "call"


class Entries:
    """Loads the cells of a round once and makes what takes turns."""

    def __init__(self, world: World, device: Device) -> None:
        self.world, self.device = world, device
        self._loaded: dict[str, tuple[Any, Run]] = {}

    def of(self, cell: Mapping[str, Any], workload: str, fresh: bool = False) -> list[Entry]:
        """The entries of a cell: one a form that exists; none where there is only an emulation, or no training."""
        if workload == TRAIN_STEP:
            entry = self.training(cell)
            return [] if _without_steps(entry) else [entry]
        system, run = self._system(cell, fresh)
        split = self.world.split("test")
        entries = []
        for name, form in forms(system).items():
            # methods that share tensors with the baseline would keep its caches warm: every entry has its own copy
            own = copy.deepcopy(form) if isinstance(form, nn.Module) and name == "dense" else form
            made = run.task.workload(workload, own, split, run)
            clocks = (time.perf_counter, self.device.busy_clock, time.process_time)
            runner = CallRunner(made.call, self.device.synchronize, clocks, self.device.timer())
            entries.append(Entry(cell, name, runner, own, made.items, made.unit))
        return entries

    def _system(self, cell: Mapping[str, Any], fresh: bool) -> tuple[Any, Run]:
        if fresh or cell["system"] not in self._loaded:
            seed_all(cell["seed"])
            loaded = self.world.system(cell)
            if fresh:
                return loaded
            self._loaded[cell["system"]] = loaded
        return self._loaded[cell["system"]]

    # ------------------------------------------------------------ trainings

    def training(self, cell: Mapping[str, Any]) -> Entry:
        """The loop that made the cell: `fit`, then `adapt`, as far as the method has them, under a preview."""
        run = self.world.run(cell)
        stages = self.world.index["methods"][cell["method"]]["stages"]
        model = self._untrained(cell, run, stages)

        def learn(preview: StepRunner) -> None:
            run.preview = preview
            trained = model
            if not stands_on_start(stages) and run.task.trains and run.method.budget > 0:
                seed_all(cell["seed"] + STAGE_SEED)
                trained = run.method.fit(trained, run)
            if "adapt" in stages:
                seed_all(cell["seed"] + STAGE_SEED)
                run.method.adapt(trained, run)

        runner = StepRunner(learn, sync=self.device.synchronize, busy=self.device.busy_clock)
        return Entry(cell, TRAIN_STEP, runner, None, run.recipe.batch if run.task.recipe else 1, "sample")

    def _untrained(self, cell: Mapping[str, Any], run: Run, stages: list[str]) -> Any:
        """What learning begins with: a fresh build, or what the method starts from."""
        if not stands_on_start(stages):
            seed_all(cell["seed"])
            model = run.method.build(run)
            return model.to(self.world.device) if isinstance(model, nn.Module) else model
        start = cell["refs"][ref_key(run.method.start)]
        if "serve" in self.world.index["methods"][start["method"]]["stages"]:
            return self.world.load(cell, run.method.start)
        return self.world.model(self.world.store.artefact(start["artefact"]), cell)

    def steps(self, cell: Mapping[str, Any]) -> dict[str, int]:
        """Phase -> steps of the cell's whole training, from its log."""
        training = read_json(self.world.store.artefact(cell["artefact"]) / "training.json") or {}
        found: dict[str, int] = training.get("steps", {})
        return found

    # ------------------------------------------------------------ quality beside speed

    def score_slice(self, entry: Entry) -> dict[str, Any] | None:
        """Score the first test items with this form again, beside what the cell's record holds for them."""
        record = read_json(self.world.store.cell(entry.cell["record"]))
        if not record or not record["quality"] or not isinstance(entry.system, nn.Module):
            return None
        run = self.world.run(entry.cell)
        metric = run.task.metrics[0].name
        few = {key: value[: protocol.SLICE_ITEMS] for key, value in self.world.split("test").items()}
        with torch.inference_mode():
            served = run.task.score(entry.system, few, run)[metric].values
        stored = unpack(record["quality"][metric]["items"])[: len(served)]
        return {
            "metric": metric,
            "recorded": float(np.mean(stored)),
            "served": float(np.mean(served)),
            "n": len(served),
        }


def _without_steps(entry: Entry) -> bool:
    """True for a training that ended before its first step: there is nothing to time."""
    runner = entry.runner
    if not isinstance(runner, StepRunner) or not runner.finished or runner.error:
        return False
    runner.close()
    return True
