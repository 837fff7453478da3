"""The power timeline of a board, taken by a process of its own, so that reading it costs the work nothing.

parent                                          python -m benchmarks.measure.meters.watcher UUID HZ
  open   -> starts the process, waits for "ready"     polls power at 20 Hz, temperature and clock at 2 Hz
  close  -> closes its standard input                 writes one JSON document and ends
                                                      (so it does when the parent dies)

Both power fields are kept: the mean over the last second, which the integral uses, and that of the moment, which
sees 25 of 100 ms on some boards and is of use only to show that.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.digests import ROOT
from benchmarks.measure.meters.base import Clock, MeterError
from benchmarks.measure.meters.nvml import Board, BoardState

#: A process that does not say that it is ready after this long will not.
_READY_S = 30.0
#: Temperature, clock and processes are asked once in so many polls.
_STATE_EVERY = 10


@dataclass(frozen=True)
class Poll:
    """One look at the power.

    Attributes:
        t: monotonic seconds.
        average_w: mean over the last second; None where the board does not tell.
        instant_w: of the moment.
    """

    t: float
    average_w: float | None
    instant_w: float | None


@dataclass(frozen=True)
class Line:
    """A timeline: looks at the power, and less often at what may make them doubtful.

    Attributes:
        polls: in order of time.
        states: (time, state) in order of time.
        error: why the timeline ended early; "" where it did not.
    """

    polls: Sequence[Poll] = ()
    states: Sequence[tuple[float, BoardState]] = ()
    error: str = ""


class Timeline(Protocol):
    """Something that looks at a board while others work."""

    def open(self) -> None:
        """Begin; a second time does nothing."""

    def close(self) -> Line:
        """End; a second time hands out the same line."""


class ProcessTimeline:
    """A timeline by a process of its own.

    Args:
        uuid: of the board.
        hz: looks a second.
    """

    def __init__(self, uuid: str, hz: float) -> None:
        self._command = [sys.executable, "-m", "benchmarks.measure.meters.watcher", uuid, str(hz)]
        self._child: subprocess.Popen[bytes] | None = None
        self._line = Line(error="the timeline was never opened")

    def open(self) -> None:
        """Start the process and wait until it looks."""
        if self._child is not None:
            return
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
        assert self._child.stdout is not None
        ready, _, _ = select.select([self._child.stdout], [], [], _READY_S)
        if not ready or self._child.stdout.readline() != b"ready\n":
            self._line = Line(error="the timeline's process did not start")
            self._end()

    def close(self) -> Line:
        """Let the process end and read what it saw."""
        if self._child is not None:
            self._line = _parsed(self._end())
        return self._line

    def _end(self) -> bytes:
        child, self._child = self._child, None
        assert child is not None
        try:
            return child.communicate(timeout=_READY_S)[0]
        except subprocess.TimeoutExpired:
            child.kill()
            return child.communicate()[0]


def _parsed(text: bytes) -> Line:
    try:
        told = json.loads(text)
    except ValueError:
        return Line(error="the timeline's process died")
    return Line(
        [Poll(*row) for row in told["polls"]],
        [(t, BoardState(**state)) for t, state in told["states"]],
        told["error"],
    )


def watch(board: Board, clock: Clock, waits: Iterator[bool]) -> Line:
    """Look at a board again and again.

    Args:
        board: to look at.
        clock: monotonic seconds.
        waits: lets time pass until the next look is due; ends when the line shall end.
    """
    polls: list[Poll] = []
    states: list[tuple[float, BoardState]] = []
    try:
        for count, _ in enumerate(waits):
            now = clock.now()
            polls.append(Poll(now, *board.power_w()))
            if count % _STATE_EVERY == 0:
                states.append((clock.now(), board.state()))
    except MeterError as error:
        return Line(polls, states, str(error))
    return Line(polls, states)


def ticks(clock: Clock, hz: float, wait: Callable[[float], bool]) -> Iterator[bool]:
    """True at every look that is due; a look that comes late shifts no later one.

    Args:
        clock: monotonic seconds.
        hz: looks a second.
        wait: lets so many seconds pass; False when the line shall end.
    """
    due = clock.now()
    yield True
    while True:
        due = max(due + 1.0 / hz, clock.now())
        if not wait(due - clock.now()):
            return
        yield True
