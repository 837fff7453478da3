"""Freed memory is kept during a round, and handed back when asked."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Ten rounds of eight blocks of 1.5 MiB, freed at the end of each; prints the page faults of later rounds.
CODE = """
import resource, sys
import numpy as np
from benchmarks.measure.allocator import keep_freed_memory, return_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work():
    blocks = [np.ones(196_608) for _ in range(8)]
work(), work()
before = faults()
for _ in range(10): work()
after = faults()
return_freed_memory()
work()
print(kept, after - before, faults() - after)
"""


def run(mode: str) -> list[str]:
    child = subprocess.run(
        [sys.executable, "-c", CODE, mode], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return child.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tells glibc what to do")
def test_freed_memory_is_kept_until_it_is_handed_back():
    """A round of the work touches 12 MiB, 3,072 pages (fewer faults where pages are huge)."""
    kept, later, after_return = run("keep")
    assert kept == "True"
    assert int(later) < 30
    assert int(after_return) > int(later)
    assert int(run("default")[1]) > 10 * max(int(later), 1)
