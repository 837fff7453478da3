"""The process in which CodeCarbon tracks one board: `tracker.py` asks it over a pipe."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from benchmarks.measure.meters.base import MeterError
from benchmarks.measure.meters.nvml import nvml

#: A kilowatt hour in joules.
_KWH_J = 3.6e6


def _tracker(index: int) -> tuple[Any, str]:
    """CodeCarbon's tracker of one board and CodeCarbon's version.

    Raises:
        MeterError: CodeCarbon is missing, or sees no board.
    """
    nvml()  # the library that this process shall use, before CodeCarbon looks for one
    try:
        import codecarbon
    except ImportError:
        raise MeterError("the package codecarbon is missing: make setup") from None
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker = codecarbon.OfflineEmissionsTracker(
        country_iso_code="FRA",
        gpu_ids=[index],
        save_to_file=False,
        allow_multiple_runs=True,
        log_level="critical",
    )
    tracker.start_task("first")  # the first task of a process takes longer and finds the hardware
    tracker.stop_task("first")
    if not any(type(part).__name__ == "GPU" for part in tracker._hardware):
        raise MeterError("CodeCarbon sees no board: it wants the tool nvidia-smi on PATH")
    return tracker, str(codecarbon.__version__)


def _say(**told: Any) -> None:
    print(json.dumps(told), flush=True)


def main() -> int:
    """Answer `start` and `stop` until standard input closes."""
    try:
        tracker, version = _tracker(int(sys.argv[1]))
    except MeterError as error:
        _say(error=str(error))
        return 1
    _say(version=version)
    began, count = 0.0, 0
    for word in map(str.strip, sys.stdin):
        if word == "start":
            count += 1
            tracker.start_task(str(count))
            began = time.monotonic()
            _say()
        else:
            ended = time.monotonic()
            gpu_j = tracker.stop_task(str(count)).gpu_energy * _KWH_J
            _say(gpu_j=gpu_j, window_s=ended - began, version=version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
