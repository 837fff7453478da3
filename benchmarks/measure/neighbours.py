"""Neighbours made on purpose, to see what they do to a round: they compute, or they stream memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.digests import ROOT

#: What a neighbour does until its standard input ends: `busy` computes in the caches, `memory` copies 256 MB.
WORK = {
    "busy": "a = np.random.default_rng(0).standard_normal((96, 96))\nwork = lambda: a @ a",
    "memory": "a = np.ones(2**24)\nb = np.empty_like(a)\nwork = lambda: np.copyto(b, a)",
}
_CODE = """
import select, sys
import numpy as np
{work}
work()
print("at work", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(4):
        work()
"""


@contextmanager
def neighbours(kind: str, count: int) -> Iterator[list[int]]:
    """`count` processes at work beside the body; they end with it, and also when this process dies.

    Args:
        kind: `busy`, `memory`, or `quiet` for none.
        count: how many.

    Yields:
        their process ids.
    """
    started: list[subprocess.Popen[str]] = []
    try:
        for _ in range(count if kind != "quiet" else 0):
            started.append(_start(WORK[kind]))
        for child in started:
            assert child.stdout
            if child.stdout.readline().strip() != "at work":
                raise SystemExit(f"the {kind} neighbour did not start")
        yield [child.pid for child in started]
    finally:
        for child in started:
            _end(child)


def _start(work: str) -> subprocess.Popen[str]:
    # standard input is the leash: it closes when this process ends, however it ends
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", _CODE.format(work=work)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=env,
    )


def _end(child: subprocess.Popen[str]) -> None:
    assert child.stdin and child.stdout
    child.stdin.close()
    child.stdout.close()
    try:
        child.wait(timeout=20)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
