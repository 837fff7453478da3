"""Children: work in a process of its own, so that running out of memory or time is a record and not the end."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

#: Exit status of a child for a bug of the harness: its job fails after its other cells.
HARNESS_BUG = 70
#: What `in_child` returns for a child that was stopped for its time.
TIMEOUT = 1000


def in_child(work: Callable[[], int], limits: Mapping[str, Any]) -> int:
    """Run `work` in a forked child under limits of time and memory; returns its exit status.

    A negative status is the signal that ended it; TIMEOUT that it was stopped for its time. The fork happens after
    torch is imported and before any of its threads run. On macOS forking after Objective-C has started is unsafe, so
    the jobs there run cell by cell in this process (no limits, said in the record's environment).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform == "darwin":
        return work()
    pid = os.fork()
    if pid == 0:
        status = HARNESS_BUG
        try:
            _limit(limits)
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    return _wait(pid, limits["cell_minutes"] * 60)


def _limit(limits: Mapping[str, Any]) -> None:
    """Data segment, not address space: torch reserves far more of the latter than it touches."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    most = int(limits["memory_gb"] * 2**30)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with contextlib.suppress(Exception):  # a child must not outlive a killed parent
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _wait(pid: int, seconds: float) -> int:
    """Wait for the child without polling; an alarm ends it when its time is over."""
    expired = False

    def stop(*_: Any) -> None:
        nonlocal expired
        expired = True
        os.kill(pid, signal.SIGKILL)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        _, status = os.waitpid(pid, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return TIMEOUT if expired else os.waitstatus_to_exitcode(status)
