"""DistServe: prefill and decoding on devices of their own."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.models.serving import run_disaggregated
from methods.base import Method


@dataclass(frozen=True)
class Distserve(Method):
    """Split the pool into prefill and decoding workers; the split is searched in the simulator.

    Paper: distserve (Zhong et al., 2024), section 4: placement by simulated goodput per device.
    Deviations: no tensor or pipeline parallelism within a phase, so the search is over the split alone; the cache's
        transfer is charged to the first token.
    """

    needs = ("serving",)
    cpu_factor = 3.0

    def build(self, run):
        return [
            lambda cluster, requests, n=n: run_disaggregated(cluster, requests, n)
            for n in range(1, run.task.workers)
        ]
