"""The step iterator is the clock: a method's own `fit` runs in a thread and takes its turns step by step."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import protocol
from benchmarks.measure.clocks import Sample, paired_ratio


class Stop(BaseException):
    """Ends the fit of a preview; not an Exception, so that no method catches it."""


class StepRunner:
    """Runs `fit` with a preview of the training loop, some steps at each turn.

    Each phase lasts as long as the round asks for, and the steps jump along the phase's progress, so that schedules
    are crossed as in the whole training.

    Args:
        fit: makes a whole training under this preview.
        places: parts of a phase that its steps are taken from.
        sync: waits for the device; part of a sample.
        busy: the clock that says whether the work was pre-empted (default: that of the fit's thread).
    """

    def __init__(
        self,
        fit: Callable[[StepRunner], Any],
        places: int = 25,
        sync: Callable[[], None] = lambda: None,
        busy: Callable[[], float] | None = None,
    ) -> None:
        self._sync, self._busy = sync, busy or time.thread_time
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._left, self._steps, self._turn, self._places = 0, 0, 0, places
        self._advance = self._ending = self._resting = False
        self._begun: tuple[float, ...] = ()
        self._sample: tuple[float, ...] = ()
        self.phase, self.finished = "", False
        self.phases: list[str] = []
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
        self._sync()
        self._begun = (time.process_time(), self._busy(), time.perf_counter())

    def _close(self) -> None:
        if self._begun:
            self._sync()
            now = (time.perf_counter(), self._busy(), time.process_time())
            self._sample = (now[0] - self._begun[2], now[1] - self._begun[1], now[2] - self._begun[0])
            self._begun = ()

    # ------------------------------------------------------------ the round's side

    def _grant(self, steps: int) -> None:
        if self.error:  # it failed before its first step
            raise self.error
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


@dataclass(frozen=True)
class TrainingTime:
    """How long a training lasts.

    Attributes:
        seconds: of all its steps.
        step_s: phase -> seconds a step.
        log_ratio: log(training / baseline's training).
        step_log_ratio: log(mean step / baseline's mean step).
        clock, flags: as in `Ratio`, of the phases together.
    """

    seconds: float
    step_s: Mapping[str, float]
    log_ratio: float
    step_log_ratio: float
    clock: str
    flags: tuple[str, ...]


def whole_training(
    steps: Mapping[str, int], base_steps: Mapping[str, int], own: Sequence[Sample], base: Sequence[Sample]
) -> TrainingTime | None:
    """Steps of the log x seconds a step, phase by phase; None where a phase of either side was not timed.

    Args:
        steps: phase -> steps of the cell's whole training.
        base_steps: the same of the baseline.
        own: samples of the cell.
        base: samples of the baseline; in one cycle it is in one of its phases.
    """
    step_s, base_s = _typical(steps, own), _typical(base_steps, base)
    if step_s is None or base_s is None:
        return None
    mean = sum(count * base_s[phase] for phase, count in base_steps.items()) / sum(base_steps.values())
    total, flags, clock = 0.0, set(), "wall"
    for phase, count in steps.items():
        mine = [sample for sample in own if sample.phase == phase]
        cycles = {sample.cycle for sample in mine}
        # at other times the machine was another one
        beside = [sample for sample in base if sample.cycle in cycles]
        ratio = paired_ratio(mine, beside, min(protocol.CLEAN_SAMPLES, len(mine)))
        total += count * math.exp(ratio.log) * (base_s[beside[0].phase] / mean if len(base_s) > 1 else 1.0)
        flags |= {*ratio.flags}
        clock = "cpu" if ratio.clock == "cpu" else clock
    return TrainingTime(
        seconds=sum(count * step_s[phase] for phase, count in steps.items()),
        step_s=step_s,
        log_ratio=math.log(total / sum(base_steps.values())),
        step_log_ratio=math.log(total / sum(steps.values())),
        clock=clock,
        flags=tuple(sorted(flags)),
    )


def _typical(steps: Mapping[str, int], samples: Sequence[Sample]) -> dict[str, float] | None:
    """Phase -> median seconds a step of its clean samples, else of all; None where a phase has none."""
    found = {}
    for phase in steps:
        own = [sample for sample in samples if sample.phase == phase]
        if not own:
            return None
        clean = [sample for sample in own if sample.clean]
        found[phase] = statistics.median(sample.wall_s for sample in clean or own)
    return found or None
