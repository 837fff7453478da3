"""Samples of wall, thread CPU and process CPU time around the same calls, for cells that take turns.

cycle 1:  [warm B][  B  ][warm C][  C  ][warm A][  A  ]      a new random order each cycle,
cycle 2:  [warm A][  A  ][warm B][  B  ][warm C][  C  ]      samples of 20 ms, one call before each thrown away
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from benchmarks.measure import protocol


@dataclass(frozen=True)
class Sample:
    """Seconds a call of one sample, by three clocks."""

    cycle: int
    wall_s: float
    thread_s: float
    process_s: float
    phase: str = ""

    @property
    def clean(self) -> bool:
        """True when the thread ran all the time: nothing pre-empted it."""
        return 1.0 - self.thread_s / self.wall_s < protocol.CLEAN_SHARE if self.wall_s > 0 else False


class Runner(Protocol):
    """What takes turns in a round."""

    def warm(self) -> float:
        """One call that is thrown away; returns its wall seconds."""

    def sample(self, cycle: int, calls: int) -> Sample:
        """`calls` calls, timed together."""


@dataclass
class CallRunner:
    """A workload's call. `clocks` is there so that tests can bring their own time."""

    call: Callable[[], Any]
    sync: Callable[[], None] = lambda: None
    clocks: tuple[Callable[[], float], ...] = (time.perf_counter, time.thread_time, time.process_time)

    def warm(self) -> float:
        """One call that is thrown away; returns its wall seconds."""
        began = self.clocks[0]()
        self.call()
        self.sync()
        return self.clocks[0]() - began

    def sample(self, cycle: int, calls: int) -> Sample:
        """`calls` calls, timed together."""
        wall, thread, process = self.clocks
        call = self.call
        begun = (process(), thread(), wall())
        for _ in range(calls):
            call()
        self.sync()
        ended = (wall(), thread(), process())
        return Sample(
            cycle, (ended[0] - begun[2]) / calls, (ended[1] - begun[1]) / calls, (ended[2] - begun[0]) / calls
        )


@dataclass
class Series:
    """All samples of one runner in a round."""

    calls: int = 1
    first_call_s: float = 0.0
    samples: list[Sample] = field(default_factory=list)

    @property
    def clean(self) -> list[Sample]:
        """The samples that nothing pre-empted."""
        return [sample for sample in self.samples if sample.clean]


def take_turns(runners: Sequence[Runner], rng: np.random.Generator) -> list[Series]:
    """Let runners sample in turn until each has enough clean samples. No stop rule looks at a spread."""
    series = [Series() for _ in runners]
    long = False
    for runner, own in zip(runners, series, strict=True):
        own.first_call_s = runner.warm()
        second = runner.warm()
        own.calls = max(1, round(protocol.SLOT_S / max(second, 1e-9)))
        long = long or second >= protocol.LONG_CALL_S
        if second < protocol.LONG_CALL_S:
            runner.sample(-1, own.calls)
    most, least, enough = (
        (protocol.LONG_SAMPLES,) * 3
        if long
        else (protocol.MAX_CYCLES, protocol.MIN_CYCLES, protocol.CLEAN_SAMPLES)
    )
    for cycle in range(most):
        if cycle >= least and all(len(own.clean) >= enough for own in series):
            break
        for at in rng.permutation(len(runners)):
            if not long:
                runners[at].warm()
            series[at].samples.append(runners[at].sample(cycle, series[at].calls))
    return series


@dataclass(frozen=True)
class Ratio:
    """A visit's cost over the baseline's, as a log ratio.

    Attributes:
        log: log(cell / baseline), median over cycles in which both were clean, or of the CPU clocks' p10.
        clock: `wall`, or `cpu` where too few samples were clean.
        flags: `preempted`, `clocks disagree`.
    """

    log: float
    clock: str
    flags: tuple[str, ...]


def paired_ratio(
    cell: Sequence[Sample], base: Sequence[Sample], enough: int = protocol.CLEAN_SAMPLES
) -> Ratio:
    """The log ratio of a cell to the baseline in the same cycles (MEASUREMENT, section 2.4)."""
    bases = {sample.cycle: sample for sample in base}
    pairs = [(sample, bases[sample.cycle]) for sample in cell if sample.cycle in bases]
    logs = [math.log(a.wall_s / b.wall_s) for a, b in pairs if a.clean and b.clean]
    by_cpu = math.log(_p10([s.thread_s for s in cell]) / _p10([s.thread_s for s in base]))
    if len(logs) < min(enough, len(pairs)):
        return Ratio(by_cpu, "cpu", ("preempted",))
    middle = statistics.median(logs)
    half = 1.96 * 1.2533 * statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else 0.0
    apart = abs(middle - by_cpu) > protocol.CLOCK_GAP + half
    return Ratio(middle, "wall", ("clocks disagree",) if apart else ())


def _p10(values: Sequence[float]) -> float:
    return max(float(np.quantile(values, 0.1)), 1e-12)
