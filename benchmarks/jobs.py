"""The jobs behind the workflow's rules. Specs come on standard input; torch is imported only when it is needed."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.children import HARNESS_BUG, TIMEOUT, in_child
from benchmarks.digests import ROOT
from benchmarks.host import flock, lease
from benchmarks.index import load_index
from benchmarks.records import FINAL, Store, dump, read_json, write_json, write_text


def prepare_data(spec: Mapping[str, Any], out: Path) -> None:
    """Data job: the splits of a task as safetensors in a folder of their own, written whole or not at all."""
    import shutil

    import numpy as np
    from safetensors.numpy import save_file

    from benchmarks.execute import artefact_root
    from benchmarks.index import load_module

    entry = load_index(_results(out))["tasks"].get(spec["task"])
    if entry is None:
        out.mkdir(parents=True, exist_ok=True)  # the task's file raises: its cells will say so
        return
    path = Path(entry["file"])
    module = load_module(entry["module"], path if path.is_absolute() else artefact_root() / path)
    splits = getattr(module, entry["class"])(**spec["knobs"]).prepare()
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, arrays in splits.items():
        lengths = {len(array) for array in arrays.values()}
        if len(lengths) > 1:
            raise SystemExit(f"{spec['task']}: split {name}: arrays of different lengths {sorted(lengths)}")
        if arrays:
            save_file(
                {key: np.ascontiguousarray(value) for key, value in arrays.items()},
                temporary / f"{name}.safetensors",
            )
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)


def _results(out: Path) -> Path:
    """The results folder from a job's output: <results>/<kind>/<name>."""
    return out.parent.parent


def train_chunk(spec: Mapping[str, Any], out: Path) -> int:
    """Train job: every cell of a chunk that is not final; then the bundle of their records. Returns the exit status."""
    results = _results(out)
    job = TrainJob(Store(results), results / "data" / spec["data"], spec["limits"], spec.get("device", "cpu"))
    with lease(exclusive=False):
        broken = [cell for cell in spec["cells"] if not job.settle(cell)]
    if broken:
        names = ", ".join(f"{cell['method']} seed {cell['seed']}" for cell in broken)
        print(
            f"a bug of the harness stopped {len(broken)} cells ({names}): see the traceback above",
            file=sys.stderr,
        )
        return 1
    records = [job.store.cell(cell["record"]).read_text() for cell in spec["cells"]]
    write_text(out, "".join(records))
    return 0


class TrainJob:
    """Cells one by one, each in a child process, so that running out of memory or time is a record too."""

    def __init__(self, store: Store, data: Path, limits: Mapping[str, Any], device: str = "cpu") -> None:
        self.store, self.data, self.limits, self.device = store, data, limits, device
        self._world: Any = None

    @property
    def world(self) -> Any:
        """The world of the cells, made when the first one must be trained: only then is torch imported."""
        if self._world is None:
            from benchmarks.execute import World

            self._world = World(self.store, load_index(self.store.root), self.data, self.device)
            _warm_up()
        return self._world

    def settle(self, cell: Mapping[str, Any]) -> bool:
        """Leave a record for the cell, training it if need be. False when the harness failed."""
        with flock(self.store.root / "locks" / cell["artefact"]):
            if self.store.final(cell["record"]):
                return True
            began = time.time()
            record = self._attempt(cell)
            if record is None:
                return False
            record["timing"] = {"start": round(began, 3), "end": round(time.time(), 3)}
            write_json(self.store.cell(cell["record"]), record)
            return True

    def _attempt(self, cell: Mapping[str, Any]) -> dict[str, Any] | None:
        from benchmarks.scoring import blank

        unmet = self._unmet(cell)
        if unmet:
            return blank(cell, "skipped", unmet)
        self._check_sources(cell)
        if cell["method"] in self.world.index["errors"] or cell["task"] in self.world.index["errors"]:
            errors = self.world.index["errors"]
            return blank(cell, "failed", (errors.get(cell["method"]) or errors[cell["task"]])["reason"])
        for split in ("train", "test"):
            self.world.read(split)  # before the fork, so that children share the pages
        outcome = self.store.root / "locks" / f"{cell['record']}.child.json"
        outcome.unlink(missing_ok=True)
        status = in_child(lambda: self._child(cell, outcome), self.limits)
        record = read_json(outcome)
        outcome.unlink(missing_ok=True)
        if status == 0 and record:
            return record
        if status == HARNESS_BUG:
            return None
        reason, word = self._death(status)
        return blank(cell, word, reason)

    def _child(self, cell: Mapping[str, Any], outcome: Path) -> int:
        """Runs in the child: a record for whatever the method did, an exit status for whatever the harness did."""
        from benchmarks.execute import settle, train
        from benchmarks.run import Diverged, MethodError
        from benchmarks.scoring import blank, score, training_costs

        settle()
        record = blank(cell, "ok")
        artefact = self.store.artefact(cell["artefact"])
        try:
            if not self.store.has_artefact(cell["artefact"]):
                train(self.world, cell)
            record["training"] = read_json(artefact / "training.json") or {}
            record |= score(self.world, cell)
            record["cost"] |= training_costs(record["training"])
        except Diverged as error:
            record = {**blank(cell, "diverged", str(error)), "training": record["training"]}
        except MemoryError:
            record = blank(cell, "oom", _memory_reason(self.limits))
        except ImportError as error:
            record = blank(cell, "skipped", f"{error.name or error} is not installed")
        except MethodError as error:
            record = blank(cell, "failed", str(error), trace=_tail())
        except Exception as error:
            if "can't allocate memory" in str(error) or "out of memory" in str(error).lower():
                record = blank(cell, "oom", _memory_reason(self.limits))
            elif _blames_the_cell(error, cell, self.world.index):
                record = blank(cell, "failed", f"{type(error).__name__}: {error}"[:500], trace=_tail())
            else:
                traceback.print_exc()
                return HARNESS_BUG
        write_json(outcome, record)
        return 0

    def _unmet(self, cell: Mapping[str, Any]) -> str:
        """Why the cell cannot be tried: a start that is not there, or a package that is not installed."""
        from importlib.util import find_spec

        for ref in cell["refs"].values():
            if not self.store.has_artefact(ref["artefact"]):
                return f"its start {ref['method']} has no artefact (it failed, diverged or was skipped)"
        needs = self.world.index["methods"].get(cell["method"], {}).get("requires", [])
        missing = [name for name in needs if find_spec(name.replace("-", "_")) is None]
        return f"needs the package {', '.join(missing)}" if missing else ""

    def _death(self, status: int) -> tuple[str, str]:
        if status == TIMEOUT:
            return f"not done after {self.limits['cell_minutes']} minutes (limits.cell_minutes)", "timeout"
        if status == -signal.SIGKILL:
            return _memory_reason(self.limits), "oom"
        return f"the child process ended with status {status}", "failed"

    def _check_sources(self, cell: Mapping[str, Any]) -> None:
        """The job must not train today's source under yesterday's hash; files of other methods may come and go."""
        planned = os.environ.get("JOULEMARK_SOURCES")
        from benchmarks.index import source_files, sources_digest

        if not planned or planned == sources_digest(source_files()):
            return
        before = read_json(self.store.root / "index" / f"{planned}.json") or {"tasks": {}, "methods": {}}
        for table, name in [("tasks", cell["task"]), *(("methods", name) for name in _methods(cell))]:
            old, new = before[table].get(name), self.world.index[table].get(name)
            if old is None or new is None or old["source"] != new["source"]:
                raise SystemExit(f"sources changed since planning: run again ({name})")


def _warm_up() -> None:
    """The first optimiser of a process loads torch's compiler (1 CPU-s): once here, not once in every child."""
    import torch

    torch.optim.SGD([torch.zeros(1)], lr=0.1)


def _methods(cell: Mapping[str, Any]) -> Iterator[str]:
    """The methods of a cell and of all cells that it starts from."""
    yield cell["method"]
    for ref in cell["refs"].values():
        yield from _methods(ref)


def _memory_reason(limits: Mapping[str, Any]) -> str:
    return f"needs more than {limits['memory_gb']} GB (limits.memory_gb)"


def _tail(lines: int = 12) -> str:
    return "\n".join(traceback.format_exc().strip().splitlines()[-lines:])


def _blames_the_cell(error: Exception, cell: Mapping[str, Any], index: Mapping[str, Any]) -> bool:
    """True when a file of the method or the task is in the traceback: then it is data, else a bug of ours."""
    entries = [index["methods"].get(cell["method"]), index["tasks"].get(cell["task"])]
    own = {(ROOT / file).resolve() for entry in entries if entry for file in entry["files"]}
    return any(Path(frame.filename).resolve() in own for frame in traceback.extract_tb(error.__traceback__))


def measure_round(spec: Mapping[str, Any], out: Path) -> int:
    """Measure job: visit what has no final visit of this number yet; then the bundle. Runs alone on the machine."""
    from benchmarks.measure.rounds import alone, missing_visits, run_round, visit_names

    results = _results(out)
    store = Store(results)
    if missing_visits(spec, store):
        with alone(spec["device"]) as sees:
            status = run_round(spec, results, sees)
        if status:
            return status
    lines = [store.visit(name).read_text() for name in visit_names(spec) if store.visit(name).is_file()]
    write_text(out, "".join(lines))
    return 0


def read_spec() -> dict[str, Any]:
    """A job's spec from standard input."""
    return json.loads(sys.stdin.read())


__all__ = ["FINAL", "dump", "measure_round", "prepare_data", "read_spec", "train_chunk"]
