"""A real check of the clocks: the same work once, again by a copy, and twice. The ratios must be 1 and 2.

In a process of its own with one thread, as a round: a library that spins with two threads beside a neighbour would
be off by half.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks.measure.clocks import CallRunner, paired_ratio, take_turns
from benchmarks.measure.rounds import round_environment

#: Numbers in a row of the matrix: its product takes about 0.1 ms.
SIZE = 160


def in_a_process(times: int) -> dict[str, Any]:
    """`times` repeats in a fresh process: logs of both ratios, the share of clean samples, the clocks that told."""
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.measure.known", str(times)],
        capture_output=True,
        text=True,
        env=round_environment({"OPENBLAS_NUM_THREADS": "1"}),
    )
    if child.returncode:
        raise SystemExit(f"the known-ratio check failed:\n{child.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(child.stdout)
    return found


def repeats(times: int) -> dict[str, Any]:
    """The same in this process."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((SIZE, SIZE))
    twin = matrix.copy()

    def twice() -> None:
        matrix @ matrix
        matrix @ matrix

    found: dict[str, Any] = {"same": [], "double": [], "clocks": []}
    clean = samples = 0
    for _ in range(times):
        runners = [CallRunner(lambda: matrix @ matrix), CallRunner(lambda: twin @ twin), CallRunner(twice)]
        base, copied, two = take_turns(runners, rng)
        for name, series in (("same", copied), ("double", two)):
            ratio = paired_ratio(series.samples, base.samples)
            found[name].append(ratio.log)
            found["clocks"].append(ratio.clock)
        clean, samples = clean + len(base.clean), samples + len(base.samples)
    return found | {"clean": clean / samples, "clocks": sorted(set(found["clocks"]))}


if __name__ == "__main__":
    print(json.dumps(repeats(int(sys.argv[1]))))
