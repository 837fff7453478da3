"""Chunked prefill: a prompt enters piece by piece beside the decoding batch."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.models.serving import run_colocated
from methods.base import Method

#: Chunk sizes that the search tries: as many settings as the splits of a pool of six.
CHUNKS = (64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class ChunkedPrefill(Method):
    """Every worker does both phases, with at most `chunk` tokens an iteration; the chunk is searched like the split.

    Paper: Agrawal et al. (2023), SARATHI: the colocated rival of DistServe.
    Deviations: the chunk is the same for all workers of a draw.
    """

    needs = ("serving",)
    cpu_factor = 4.0

    def build(self, run):
        return [lambda cluster, requests, c=c: run_colocated(cluster, requests, c) for c in CHUNKS]
