"""The lease between workflows is fair: a waiting round lets no new training pass, and the dead block nobody.

Every step waits for what it needs to see (a line of a child, or the kernel's own list of waiters in /proc/locks),
so nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.host import lease

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
from benchmarks.host import lease
print("asks", flush=True)
with lease(exclusive=sys.argv[1] == "round", device=sys.argv[2]):
    print("has", flush=True)
    sys.stdin.readline()
print("gave", flush=True)
"""
#: A child that never gets there is a failure, not a hang.
PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs /proc/locks to see who waits")


class Job:
    """A process that asks for the lease, says when it has it, and gives it back when told."""

    def __init__(self, kind: str, device: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, kind, device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.said() == "asks"

    def said(self) -> str:
        """Its next line."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def ends(self) -> None:
        """Give the lease back."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.said() == "gave"
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Job]]:
    monkeypatch.setenv("JOULEMARK_LEASE", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    jobs: list[Job] = []

    def make(kind: str, device: str = "") -> Job:
        jobs.append(Job(kind, device))
        return jobs[-1]

    yield make
    for job in jobs:
        job.process.kill()
        job.process.wait()
        for stream in (job.process.stdin, job.process.stdout):
            assert stream
            stream.close()


def waits_for(path: Path, job: Job) -> bool:
    """True when the kernel lists the job among those that wait for this file."""
    inode = str(path.stat().st_ino) if path.exists() else "none"
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if "->" in words and str(job.process.pid) in words and any(w.endswith(f":{inode}") for w in words):
            return True
    return False


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def lease_of(folder: Path) -> Path:
    return folder / "joulemark.lease"


def turnstile_of(folder: Path) -> Path:
    return folder / "joulemark.turnstile"


def test_a_waiting_round_lets_no_new_training_pass(start: Callable[..., Job], tmp_path: Path) -> None:
    first = start("train")
    assert first.said() == "has"
    beside = start("train")
    assert beside.said() == "has"  # trainings share
    round = start("round")
    until(lambda: waits_for(lease_of(tmp_path), round))
    later = start("train")
    until(
        lambda: waits_for(turnstile_of(tmp_path), later)
    )  # not beside the others: it would starve the round
    first.ends()
    beside.ends()
    assert round.said() == "has"
    until(lambda: waits_for(lease_of(tmp_path), later))
    round.ends()
    assert later.said() == "has"
    later.ends()


def test_a_dead_waiter_blocks_nobody(start: Callable[..., Job], tmp_path: Path) -> None:
    first = start("train")
    assert first.said() == "has"
    round = start("round")
    until(lambda: waits_for(lease_of(tmp_path), round))
    later = start("train")
    until(lambda: waits_for(turnstile_of(tmp_path), later))
    round.process.send_signal(signal.SIGKILL)
    round.process.wait()
    assert later.said() == "has"
    first.process.send_signal(signal.SIGKILL)  # whoever holds the lease may die, too
    first.process.wait()
    later.ends()
    again = start("round")
    assert again.said() == "has"
    again.ends()


def test_devices_have_leases_of_their_own(start: Callable[..., Job], tmp_path: Path) -> None:
    one, other = start("round", "GPU-1"), start("round", "GPU-2")
    assert one.said() == other.said() == "has"
    third = start("round", "GPU-1")
    until(lambda: waits_for(tmp_path / "joulemark.GPU-1.lease", third))
    one.ends()
    assert third.said() == "has"
    with lease(exclusive=True):  # a device's lease is not the machine's
        pass


def test_a_device_name_cannot_leave_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEMARK_LEASE", str(tmp_path))
    with lease(exclusive=True, device="../../GPU 1"), open(next(tmp_path.glob("*GPU_1.lease"))) as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert sorted(os.listdir(tmp_path)) == [
            "joulemark.______GPU_1.lease",
            "joulemark.______GPU_1.turnstile",
        ]
