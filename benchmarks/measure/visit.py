"""The fresh process of a round: baseline and cells take turns, workload by workload; each leaves a visit record."""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.execute import World, settle
from benchmarks.index import load_index
from benchmarks.measure import protocol
from benchmarks.measure.allocator import keep_freed_memory
from benchmarks.measure.clocks import CallRunner, Series, paired_ratio, take_turns, write_samples
from benchmarks.measure.devices import open_device
from benchmarks.measure.energy import energy_of_round
from benchmarks.measure.entries import TRAIN_STEP, Entries, Entry
from benchmarks.measure.machine import Watch, preflight
from benchmarks.measure.rounds import visit_name
from benchmarks.measure.training import StepRunner, whole_training
from benchmarks.records import VISIT_SCHEMA, Store, read_json, write_json
from benchmarks.scoring import environment

#: Why a cell has no form that could be timed.
EMULATED, NO_STEPS = "emulated", "its training has no steps"


class Round:
    """Loads the cells once and times one workload after the other."""

    def __init__(self, spec: Mapping[str, Any], results: Path) -> None:
        self.spec, self.store = spec, Store(results)
        self.device = open_device(spec["device"])
        self._gate()
        self.world = World(self.store, load_index(results), results / "data" / spec["data"], spec["device"])
        self.entries = Entries(self.world, self.device)
        self.energy = energy_of_round(
            self.device, float(spec.get("energy_window_s") or 0.0), results / "index"
        )
        self.baseline = spec["baseline"]
        self.rng = np.random.default_rng([spec["round"], int(self.baseline["system"][:8], 16)])
        self.before, self.fixed = preflight(), self._fixed_cost()

    def _gate(self) -> None:
        """Another process on the device makes its times wrong, not noisy: the round is not made now."""
        foreign = self.device.foreign_processes()
        if foreign:
            raise SystemExit(
                f"device {self.spec['device']}: process {', '.join(map(str, foreign))} is at work on it; "
                "end it and run the same command again"
            )

    def _fixed_cost(self) -> dict[str, float | None]:
        """What a round costs before it times anything: its process, imports and the data."""
        started = self.spec.get("started")
        return {
            "fixed_s": None if started is None else round(time.time() - started, 3),
            "fixed_cpu_s": round(time.process_time(), 3),
        }

    def time_workload(self, workload: str) -> None:
        """One workload: all cells that want it, with the baseline."""
        cells = [cell for cell in self.spec["cells"] if workload in cell["timed"]]
        watch, began = Watch(), time.time()
        entries, empty = self._entries(workload, cells)
        try:
            rounds = self._sample(entries, workload) if entries else []
        finally:
            for entry in entries:
                if isinstance(entry.runner, StepRunner):
                    entry.runner.close()
        state = watch.stop() | {"before": self.before}
        found: dict[str, dict[str, Any]] = {cell["system"]: {} for cell in cells}
        for entry, series in zip(entries, rounds, strict=True):
            if entry.cell["system"] in found:
                found[entry.cell["system"]][entry.form] = self._form(entry, series, rounds[0], workload)
        self._add_energy(entries, rounds, found)
        for cell in cells:
            why = empty.get(cell["system"], "")
            pairs = zip(entries, rounds, strict=True)
            samples = {entry.form: own for entry, own in pairs if entry.cell["system"] == cell["system"]}
            self._write(cell, workload, found[cell["system"]], state, began, why, samples)

    # ------------------------------------------------------------ what takes turns

    def _entries(self, workload: str, cells: list[Mapping[str, Any]]) -> tuple[list[Entry], dict[str, str]]:
        """The baseline and what takes turns with it, and why a system is not among them."""
        reason = NO_STEPS if workload == TRAIN_STEP else EMULATED
        bases = self.entries.of(self.baseline, workload)
        if not bases:
            return [], {cell["system"]: f"the baseline cannot be timed: {reason}" for cell in cells}
        empty: dict[str, str] = {}
        found = [bases[0]]
        for cell in cells:
            if cell["system"] == self.baseline["system"]:
                continue
            own = self.entries.of(cell, workload)
            if not own:
                empty[cell["system"]] = reason
            found += own
        if self.spec["first_group"] and any(cell["system"] == self.baseline["system"] for cell in cells):
            found.append(replace(self.entries.of(self.baseline, workload, fresh=True)[0], form="aa"))
        return found, empty

    # ------------------------------------------------------------ samples and what they say

    def _sample(self, entries: list[Entry], workload: str) -> list[Series]:
        """Turns of all entries; a training with phases goes on until its last phase has had its turns."""
        series = take_turns([entry.runner for entry in entries], self.rng, self.device.warm_s)
        if workload != TRAIN_STEP:
            return series
        waiting = [entry.runner.next_phase() for entry in entries]  # type: ignore[attr-defined]
        done = 0
        while any(waiting):
            done += protocol.MAX_CYCLES
            going = [0, *[at for at in range(1, len(entries)) if waiting[at]]]
            if not waiting[0]:  # the baseline begins again and stands beside every phase of the others
                entries[0].runner = self.entries.training(self.baseline).runner
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
            "latency_s": statistics.median(sample.time_s for sample in clean),
            "latency_observed_s": statistics.median(sample.wall_s for sample in series.samples),
            "cpu_s": statistics.median(sample.process_s for sample in series.samples),
            "thread_s": statistics.median(sample.thread_s for sample in series.samples),
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
        assert isinstance(entry.runner, CallRunner)
        share = entry.runner.overhead_s(series.calls) / found["latency_s"]
        found["overhead_share"] = round(share, 6)
        found["flags"] += ["overhead"] * (share > protocol.OVERHEAD_SHARE)
        found["high_water_bytes"] = self.device.high_water_bytes(entry.runner.call)
        found["slice"] = self.entries.score_slice(entry)
        return found

    def _training(self, entry: Entry, series: Series, base: Series) -> dict[str, Any]:
        """What the phases of a training say together; a step is then the mean one."""
        steps = self.entries.steps(entry.cell)
        found = whole_training(steps, self.entries.steps(self.baseline), series.samples, base.samples)
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

    def _add_energy(
        self, entries: list[Entry], rounds: list[Series], found: dict[str, dict[str, Any]]
    ) -> None:
        """A window on the sensor for every entry, in a new order, after all turns: joules of one call."""
        base: float | None = None
        # the baseline first: the others are held against it
        for at in [0, *(1 + self.rng.permutation(len(entries) - 1)).tolist()] if entries else []:
            entry = entries[at]
            seconds = statistics.median(sample.process_s for sample in rounds[at].samples)
            with self._work(entry) as work:
                fields = self.energy.of_work(work, seconds)
            base = fields["energy_j"] if at == 0 else base
            form = found.get(entry.cell["system"], {}).get(entry.form)
            if form is not None:
                own = fields["energy_j"]
                form |= fields | {"energy_log_ratio": math.log(own / base) if own and base else None}

    @contextmanager
    def _work(self, entry: Entry) -> Iterator[Callable[[], Any]]:
        """One call of an entry, that can go on for a window; a training begins again: the turns used it up."""
        if isinstance(entry.runner, CallRunner):
            yield entry.runner.call
        elif not self.energy.holds_windows:
            yield lambda: None
        else:
            runner = self.entries.training(entry.cell).runner
            assert isinstance(runner, StepRunner)
            try:
                yield runner.warm
            finally:
                runner.close()

    def _write(
        self,
        cell: Mapping[str, Any],
        workload: str,
        found: dict[str, Any],
        state: Mapping[str, Any],
        began: float,
        reason: str,
        samples: Mapping[str, Series],
    ) -> None:
        name = visit_name(cell, workload, self.spec)
        before = read_json(self.store.visit(name))
        flags = sorted({flag for form in found.values() for flag in form["flags"]})
        if (state["others_cores"] or 0.0) > protocol.NEIGHBOUR_SHARE:
            flags.append("neighbour")
        record = {
            "schema": VISIT_SCHEMA,
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
            "energy": self.energy.summary(found),
            "flags": flags,
            "flagged": bool(set(flags) & protocol.RETRIED),
            "tries": (before["tries"] if before else 0) + 1,
            "state": state,
            "protocol": protocol.as_dict(),
            "env": environment() | self.device.facts(),
            "timing": {"start": round(began, 3), "end": round(time.time(), 3)} | self.fixed,
        }
        if before and len(before["flags"]) < len(flags):
            record = {**before, "tries": record["tries"]}  # the cleaner of two visits stays
        else:
            write_samples(self.store.samples(name), samples)
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


if __name__ == "__main__":
    sys.exit(main())
