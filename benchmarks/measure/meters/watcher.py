"""The process that watches a board while another one works: `timeline.py` says how both talk."""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import IO, Any

from benchmarks.measure.meters.base import SystemClock
from benchmarks.measure.meters.nvml import open_board
from benchmarks.measure.meters.timeline import ticks, watch


def _until_closed(file: IO[Any]) -> Callable[[float], bool]:
    """Waits, and says False when the other side has closed the pipe."""

    def wait(seconds: float) -> bool:
        readable, _, _ = select.select([file], [], [], max(seconds, 0.0))
        return not readable

    return wait


def main(arguments: Sequence[str]) -> int:
    """Look at the board until standard input closes."""
    clock = SystemClock()
    board = open_board(arguments[0])
    board.power_w()
    print("ready", flush=True)
    line = watch(board, clock, ticks(clock, float(arguments[1]), _until_closed(sys.stdin)))
    if line.error:
        sys.stdin.read()  # hand out what was seen when the window is over
    told = {
        "polls": [[poll.t, poll.average_w, poll.instant_w] for poll in line.polls],
        "states": [(t, asdict(state)) for t, state in line.states],
        "error": line.error,
    }
    with open(sys.stdout.fileno(), "w", closefd=False) as out:
        json.dump(told, out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
