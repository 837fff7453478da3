"""CodeCarbon's own tracker on the same window: a second opinion beside our reading, never the number of a visit.

It runs in a process of its own, gets the board by its number in NVML's order, and only its `gpu_energy` is used:

* `CUDA_VISIBLE_DEVICES=GPU-...` makes it find no board and report 0 J, so it is taken out of its environment;
* it believes in a GPU only where the tool `nvidia-smi` runs, else it reports 0 J without an error;
* its own `duration` is longer than what its joules cover, so the window is timed here;
* it adds a modelled processor and 20 W of memory to `energy_consumed`.

It says 0 J where a board is lost and half the joules where the counter is stuck: 0 J is a null here.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from typing import Any

from benchmarks.digests import ROOT
from benchmarks.measure.meters.base import Meter, MeterError, Reading
from benchmarks.measure.meters.nvml import boards

#: CodeCarbon takes seconds to import, on a busy machine tens of them.
_READY_S = 120.0


class CodeCarbonTracker(Meter):
    """CodeCarbon's `gpu_energy` of one board.

    Args:
        uuid: of the board.
    """

    component, sensor = "gpu", "codecarbon"
    refresh_s = settle_s = 0.1

    def __init__(self, uuid: str) -> None:
        known = boards()
        if uuid not in known:
            raise MeterError(f"no board {uuid}")
        self._index = known.index(uuid)
        self._child: subprocess.Popen[str] | None = None
        self._told: dict[str, Any] = {}

    def open(self) -> None:
        """Start the tracker's process; it stays until this one ends."""
        self._told = {}
        if self._child is None:
            environment = {
                name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"
            }
            self._child = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.measure.meters.tracking", str(self._index)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            self._answer()

    def start(self) -> None:
        """The tracker starts a task."""
        self._ask("start")

    def stop(self) -> None:
        """The tracker ends its task."""
        self._told = self._ask("stop")

    def close(self, loaded: bool = True) -> Reading:
        """What the tracker says of the board; 0 J is no reading."""
        if not self._told:
            raise MeterError("the window was not closed")
        joules, seconds = float(self._told["gpu_j"]), float(self._told["window_s"])
        if not joules > 0:
            raise MeterError("CodeCarbon reports 0 J")
        conditions = {"version": self._told["version"]}
        return Reading(self.component, self.sensor, self.basis, joules, seconds, conditions=conditions)

    def end(self) -> None:
        """Let the tracker's process end."""
        if self._child is not None:
            self._child.communicate(timeout=_READY_S)
            self._child = None

    def _ask(self, word: str) -> dict[str, Any]:
        assert self._child is not None and self._child.stdin is not None
        try:
            print(word, file=self._child.stdin, flush=True)
        except OSError:
            raise MeterError("CodeCarbon's process died") from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child is not None and self._child.stdout is not None
        ready, _, _ = select.select([self._child.stdout], [], [], _READY_S)
        line = self._child.stdout.readline() if ready else ""
        told: dict[str, Any] = json.loads(line) if line else {"error": "CodeCarbon's process did not answer"}
        if "error" in told:
            raise MeterError(str(told["error"]))
        return told
