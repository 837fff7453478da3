"""The step iterator is the clock: a method's own `fit` runs in a thread and takes its turns step by step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.measure.clocks import Sample


class Stop(BaseException):
    """Ends the fit of a preview; not an Exception, so that no method catches it."""


class StepRunner:
    """Runs `fit` with a preview of the training loop, some steps at each turn.

    Each phase lasts as long as the round asks for, and the steps jump along the phase's progress, so that schedules
    are crossed as in the whole training.
    """

    def __init__(self, fit: Callable[[StepRunner], Any], places: int = 25) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._left, self._steps, self._turn, self._places = 0, 0, 0, places
        self._advance = self._ending = self._resting = False
        self._begun: tuple[float, ...] = ()
        self._sample: tuple[float, ...] = ()
        self.phase, self.phases, self.finished = "", [], False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(fit,), daemon=True)
        self._thread.start()
        self._done.acquire()  # it stands before its first step

    # ------------------------------------------------------------ the fit's side

    def _work(self, fit: Callable[[StepRunner], Any]) -> None:
        try:
            fit(self)
        except Stop:
            pass
        except BaseException as error:
            self.error = error
        self._close()
        self.finished = True
        self._done.release()

    def longest(self, total: int) -> int:
        """How many batches a phase may draw."""
        return 10**9

    def pace(self, phase: str, total: int) -> Iterator[tuple[int, int]]:
        """Step numbers of a phase; each is handed out when the round grants it."""
        self.phase, self._advance = phase, False
        self.phases.append(phase)
        turn = 0
        while True:
            self._checkpoint()
            if self._advance:
                return
            start = (self._turn % self._places) * total // self._places
            yield turn, min(start + self._steps, max(total - 1, 0))
            turn += 1

    def _checkpoint(self) -> None:
        if self._left > 0 and not self._resting:
            self._left -= 1
            self._steps += 1
            return
        self._close()
        self._resting = False
        self._done.release()
        self._go.acquire()
        if self._ending:
            raise Stop
        self._steps = 0
        self._left -= 1
        self._begun = (time.process_time(), time.thread_time(), time.perf_counter())

    def _close(self) -> None:
        if self._begun:
            now = (time.perf_counter(), time.thread_time(), time.process_time())
            self._sample = (now[0] - self._begun[2], now[1] - self._begun[1], now[2] - self._begun[0])
            self._begun = ()

    # ------------------------------------------------------------ the round's side

    def _grant(self, steps: int) -> None:
        if self.finished:
            raise RuntimeError("the training ended before the round did")
        self._left = steps
        self._go.release()
        self._done.acquire()
        if self.error:
            raise self.error

    def warm(self) -> float:
        """One step that is thrown away."""
        self._grant(1)
        return self._sample[0]

    def sample(self, cycle: int, calls: int) -> Sample:
        """`calls` steps, timed together."""
        self._turn = max(cycle, 0)
        self._grant(calls)
        wall, thread, process = self._sample
        return Sample(cycle, wall / calls, thread / calls, process / calls, self.phase)

    def next_phase(self) -> bool:
        """Let the current phase end; False when that was the last one."""
        self._advance, self._left = True, 1
        self._go.release()
        self._done.acquire()
        if self.error:
            raise self.error
        return not self.finished

    def close(self) -> None:
        """End the thread."""
        if not self.finished:
            self._ending = True
            self._go.release()
            self._done.acquire()
        self._thread.join()
