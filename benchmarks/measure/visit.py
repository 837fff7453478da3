"""The fresh process of a round: baseline and cells take turns, workload by workload; each leaves a visit record."""

from __future__ import annotations

import copy
import json
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.costs import forms
from benchmarks.execute import World, settle
from benchmarks.index import load_index
from benchmarks.measure import protocol
from benchmarks.measure.allocator import keep_freed_memory, return_freed_memory
from benchmarks.measure.clocks import CallRunner, Ratio, Runner, Sample, Series, paired_ratio, take_turns
from benchmarks.measure.machine import Watch, high_water_bytes
from benchmarks.measure.rounds import visit_name
from benchmarks.measure.training import StepRunner, whole_training
from benchmarks.records import SCHEMA, Store, read_json, unpack, write_json
from benchmarks.run import seed_all
from benchmarks.scoring import environment

#: The workload that runs a method's own training loop.
TRAIN_STEP = "train_step"


@dataclass
class Entry:
    """One form of one cell that takes turns in a round."""

    cell: Mapping[str, Any]
    form: str
    runner: Runner
    system: Any = None
    items: int = 1
    unit: str = "call"


class Round:
    """Loads the cells once and times one workload after the other."""

    def __init__(self, spec: Mapping[str, Any], results: Path) -> None:
        self.spec, self.store = spec, Store(results)
        self.world = World(self.store, load_index(results), results / "data" / spec["data"], spec["device"])
        self.baseline = spec["baseline"]
        self.rng = np.random.default_rng([spec["round"], int(self.baseline["system"][:8], 16)])
        self._loaded: dict[str, tuple[Any, Any]] = {}

    def time_workload(self, workload: str) -> None:
        """One workload: all cells that want it, with the baseline."""
        cells = [cell for cell in self.spec["cells"] if workload in cell["timed"]]
        watch, began = Watch(), time.time()
        base, others, empty = self._entries(workload, cells)
        entries = [base, *others]
        try:
            rounds = self._sample(entries, workload)
        finally:
            for entry in entries:
                if isinstance(entry.runner, StepRunner):
                    entry.runner.close()
        state = watch.stop()
        found: dict[str, dict[str, Any]] = {cell["system"]: {} for cell in cells}
        for entry, series in zip(entries, rounds, strict=True):
            if entry.cell["system"] in found:
                found[entry.cell["system"]][entry.form] = self._form(entry, series, rounds[0], workload)
        for cell in cells:
            self._write(cell, workload, found[cell["system"]], state, began, empty.get(cell["system"], ""))

    # ------------------------------------------------------------ what takes turns

    def _entries(
        self, workload: str, cells: list[Mapping[str, Any]]
    ) -> tuple[Entry, list[Entry], dict[str, str]]:
        empty: dict[str, str] = {}
        base = self._cell_entries(self.baseline, workload)[0]
        base = replace(base, form="dense" if base.form == "dense" else base.form)
        others: list[Entry] = []
        for cell in cells:
            if cell["system"] == self.baseline["system"]:
                continue
            own = self._cell_entries(cell, workload)
            if not own:
                empty[cell["system"]] = "emulated"
            others += own
        if self.spec["first_group"] and any(cell["system"] == self.baseline["system"] for cell in cells):
            others.append(replace(self._cell_entries(self.baseline, workload, fresh=True)[0], form="aa"))
        return base, others, empty

    def _cell_entries(self, cell: Mapping[str, Any], workload: str, fresh: bool = False) -> list[Entry]:
        if workload == TRAIN_STEP:
            return [self._training_entry(cell)]
        system, run = self._system(cell, fresh)
        split = self.world.split("test")
        entries = []
        for name, form in forms(system).items():
            # methods that share tensors with the baseline would keep its caches warm: every entry has its own copy
            own = copy.deepcopy(form) if isinstance(form, nn.Module) and name == "dense" else form
            made = run.task.workload(workload, own, split, run)
            runner = CallRunner(made.call, self._sync())
            entries.append(Entry(cell, name, runner, own, made.items, made.unit))
        return entries

    def _system(self, cell: Mapping[str, Any], fresh: bool) -> tuple[Any, Any]:
        if fresh or cell["system"] not in self._loaded:
            seed_all(cell["seed"])
            loaded = self.world.system(cell)
            if fresh:
                return loaded
            self._loaded[cell["system"]] = loaded
        return self._loaded[cell["system"]]

    def _training_entry(self, cell: Mapping[str, Any]) -> Entry:
        run = self.world.run(cell)
        seed_all(cell["seed"])
        model = run.method.build(run).to(self.world.device)

        def fit(preview: StepRunner) -> None:
            run.preview = preview
            run.method.fit(model, run)

        return Entry(cell, TRAIN_STEP, StepRunner(fit), None, run.recipe.batch, "sample")

    def _sync(self) -> Any:
        return torch.cuda.synchronize if self.world.device.type == "cuda" else lambda: None

    # ------------------------------------------------------------ samples and what they say

    def _sample(self, entries: list[Entry], workload: str) -> list[Series]:
        """Turns of all entries; a training with phases goes on until its last phase has had its turns."""
        series = take_turns([entry.runner for entry in entries], self.rng)
        if workload != TRAIN_STEP:
            return series
        waiting = [entry.runner.next_phase() for entry in entries]  # type: ignore[attr-defined]
        done = 0
        while any(waiting):
            done += protocol.MAX_CYCLES
            going = [0, *[at for at in range(1, len(entries)) if waiting[at]]]
            if not waiting[0]:  # the baseline begins again and stands beside every phase of the others
                entries[0].runner = self._training_entry(self.baseline).runner
            more = take_turns([entries[at].runner for at in going], self.rng)
            for at, extra in zip(going, more, strict=True):
                series[at].samples += [replace(sample, cycle=sample.cycle + done) for sample in extra.samples]
                waiting[at] = entries[at].runner.next_phase()  # type: ignore[attr-defined]
        return series

    def _form(self, entry: Entry, series: Series, base: Series, workload: str) -> dict[str, Any]:
        enough = min(protocol.CLEAN_SAMPLES, len(series.samples))
        cycles = {sample.cycle for sample in series.samples}
        ratio = paired_ratio(series.samples, [one for one in base.samples if one.cycle in cycles], enough)
        clean = series.clean or series.samples
        found: dict[str, Any] = {
            "latency_s": statistics.median(sample.wall_s for sample in clean),
            "latency_observed_s": statistics.median(sample.wall_s for sample in series.samples),
            "cpu_s": statistics.median(sample.process_s for sample in series.samples),
            "log_ratio": ratio.log,
            "clock": ratio.clock,
            "items": entry.items,
            "unit": entry.unit,
            "first_call_s": series.first_call_s,
            "calls": series.calls,
            "samples": len(series.samples),
            "clean": len(series.clean),
            "flags": list(ratio.flags),
        }
        if workload == TRAIN_STEP:
            return found | self._training(entry, series, base)
        return_freed_memory()  # what earlier calls used is not this one's
        found["high_water_bytes"] = high_water_bytes(entry.runner.call)  # type: ignore[attr-defined]
        found["slice"] = self._slice(entry)
        return found

    def _training(self, entry: Entry, series: Series, base: Series) -> dict[str, Any]:
        """What the phases of a training say together; a step is then the mean one."""
        steps = self._steps(entry.cell)
        found = whole_training(steps, self._steps(self.baseline), series.samples, base.samples)
        if found is None:
            return {"train_s": None, "train_log_ratio": None}
        return {
            "latency_s": found.seconds / sum(steps.values()),
            "log_ratio": found.step_log_ratio,
            "clock": found.clock,
            "flags": list(found.flags),
            "train_s": found.seconds,
            "train_log_ratio": found.log_ratio,
            "step_s": dict(found.step_s),
        }

    def _steps(self, cell: Mapping[str, Any]) -> dict[str, int]:
        training = read_json(self.store.artefact(cell["artefact"]) / "training.json") or {}
        return training.get("steps", {})

    def _slice(self, entry: Entry) -> dict[str, Any] | None:
        """Score the first test items with this form again, beside what the cell's record holds for them."""
        record = read_json(self.store.cell(entry.cell["record"]))
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

    def _write(
        self,
        cell: Mapping[str, Any],
        workload: str,
        found: dict[str, Any],
        state: Mapping[str, Any],
        began: float,
        reason: str,
    ) -> None:
        name = visit_name(cell, workload, self.spec)
        before = read_json(self.store.visit(name))
        flags = sorted({flag for form in found.values() for flag in form["flags"]})
        if (state["others_cores"] or 0.0) > protocol.NEIGHBOUR_SHARE:
            flags.append("neighbour")
        record = {
            "schema": SCHEMA,
            "kind": "visit",
            "key": {
                "name": name,
                "workload": workload,
                "round": self.spec["round"],
                "baseline": self.baseline["system"],
                "protocol": self.spec["protocol"],
                "device": self.spec["device"],
                "threads": protocol.THREADS,
            }
            | {key: cell[key] for key in ("task", "task_knobs", "method", "knobs", "seed", "arm", "system")},
            "forms": found,
            "reason": reason,
            "energy": {"energy_j": None, "energy_sensor": "none", "reason": "no sensor on this machine"},
            "flags": flags,
            "flagged": bool(set(flags) - {"neighbour"}),
            "tries": (before["tries"] if before else 0) + 1,
            "state": state,
            "protocol": protocol.as_dict(),
            "env": environment(),
            "timing": {"start": round(began, 3), "end": round(time.time(), 3)},
        }
        if before and len(before["flags"]) < len(flags):
            record = {**before, "tries": record["tries"]}  # the cleaner of two visits stays
        write_json(self.store.visit(name), record)


def main() -> int:
    """Time one round; the spec comes on standard input."""
    spec = json.loads(sys.stdin.read())
    settle(protocol.THREADS)
    keep_freed_memory()
    round = Round(spec, Path(sys.argv[1]))
    for workload in dict.fromkeys(workload for cell in spec["cells"] for workload in cell["timed"]):
        round.time_workload(workload)
    return 0


__all__ = ["Ratio", "Sample"]

if __name__ == "__main__":
    sys.exit(main())
