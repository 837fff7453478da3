"""Samples of wall, thread CPU and process CPU time around the same calls, for cells that take turns.

cycle 1:  [warm B][  B  ][warm C][  C  ][warm A][  A  ]      a new random order each cycle,
cycle 2:  [warm A][  A  ][warm B][  B  ][warm C][  C  ]      samples of 20 ms, one call before each thrown away
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from benchmarks.measure import protocol

if TYPE_CHECKING:
    from benchmarks.measure.devices import Timer


#: Columns of the samples that lie beside a visit; the device's own time is NaN where it has none.
COLUMNS = ("cycle", "wall_s", "thread_s", "process_s", "device_s")


@dataclass(frozen=True)
class Sample:
    """Seconds a call of one sample, by three clocks, and by the device's own where it has one."""

    cycle: int
    wall_s: float
    thread_s: float
    process_s: float
    phase: str = ""
    device_s: float | None = None

    @property
    def clean(self) -> bool:
        """True when the thread ran all the time: nothing pre-empted it (one that waits for a device spins)."""
        return 1.0 - self.thread_s / self.wall_s < protocol.CLEAN_SHARE if self.wall_s > 0 else False

    @property
    def time_s(self) -> float:
        """The device's own time where it has one, else wall time."""
        return self.wall_s if self.device_s is None else self.device_s


class Runner(Protocol):
    """What takes turns in a round."""

    def warm(self) -> float:
        """One call that is thrown away; returns its wall seconds."""

    def sample(self, cycle: int, calls: int) -> Sample:
        """`calls` calls, timed together."""


@dataclass
class CallRunner:
    """A workload's call. `clocks` (wall, thread, process) are there so that tests can bring their own time.

    Attributes:
        sync: waits for the device; part of a sample.
        timer: the device's own time, beside the clocks.
    """

    call: Callable[[], Any]
    sync: Callable[[], None] = lambda: None
    clocks: tuple[Callable[[], float], ...] = (time.perf_counter, time.thread_time, time.process_time)
    timer: Timer | None = None

    def warm(self) -> float:
        """One call that is thrown away; returns its wall seconds."""
        began = self.clocks[0]()
        self.call()
        self.sync()
        return self.clocks[0]() - began

    def sample(self, cycle: int, calls: int) -> Sample:
        """`calls` calls, timed together."""
        wall, thread, process = self.clocks
        call, timer = self.call, self.timer
        if timer:
            timer.start()
        begun = (process(), thread(), wall())
        for _ in range(calls):
            call()
        device_s = timer.stop() / calls if timer else None
        self.sync()
        ended = (wall(), thread(), process())
        return Sample(
            cycle,
            (ended[0] - begun[2]) / calls,
            (ended[1] - begun[1]) / calls,
            (ended[2] - begun[0]) / calls,
            device_s=device_s,
        )

    def overhead_s(self, calls: int) -> float:
        """What the harness adds to a call when `calls` are timed together: an empty body's wall time."""
        empty = replace(self, call=lambda: None)
        return statistics.median(empty.sample(-1, calls).wall_s for _ in range(5))


@dataclass
class Series:
    """All samples of one runner in a round."""

    calls: int = 1
    first_call_s: float = 0.0
    long: bool = False
    samples: list[Sample] = field(default_factory=list)

    @property
    def clean(self) -> list[Sample]:
        """The samples that nothing pre-empted."""
        return [sample for sample in self.samples if sample.clean]


def take_turns(runners: Sequence[Runner], rng: np.random.Generator, warm_s: float = 0.0) -> list[Series]:
    """Let runners sample in turn until each has enough clean samples. No stop rule looks at a spread.

    Args:
        runners: the baseline first.
        rng: draws a new order every cycle.
        warm_s: work at least so long before the first cycle (devices that heat up and change their clock).
    """
    series = [_calibrated(runner) for runner in runners]
    if warm_s:
        warm_up(runners, series, warm_s)
    long = any(own.long for own in series)
    most, least, enough = (
        (protocol.LONG_SAMPLES,) * 3
        if long
        else (protocol.MAX_CYCLES, protocol.MIN_CYCLES, protocol.CLEAN_SAMPLES)
    )
    for cycle in range(most):
        if cycle >= least and all(len(own.clean) >= enough for own in series):
            break
        for at in rng.permutation(len(runners)):
            if not series[at].long:
                runners[at].warm()
            series[at].samples.append(runners[at].sample(cycle, series[at].calls))
    return series


def _calibrated(runner: Runner) -> Series:
    """Two calls, then one sample that is thrown away; how many calls a sample needs to last its slot.

    The second call alone may have been pre-empted, or met cold caches: the sample corrects it, and is taken again
    where it was too short by half.
    """
    own = Series(first_call_s=runner.warm())
    once = min(own.first_call_s, runner.warm())
    own.long = once >= protocol.LONG_CALL_S
    if not own.long:
        before, own.calls, tries = 0, _calls(once), 0
        while own.calls > 2 * before and tries < 4:
            once = min(once, runner.sample(-1, own.calls).time_s)
            before, own.calls, tries = own.calls, _calls(once), tries + 1
    return own


def _calls(seconds: float) -> int:
    return max(1, round(protocol.SLOT_S / max(seconds, 1e-9)))


def warm_up(runners: Sequence[Runner], series: Sequence[Series], seconds: float) -> int:
    """Samples that are thrown away, in blocks of one each, until `seconds` are over and three blocks agree.

    Ends after ten times as long in any case: a device that never settles shows it in the spread of its rounds.

    Returns:
        the number of blocks.
    """
    blocks: list[float] = []
    spent = 0.0
    while spent < 10 * seconds:
        taken = [
            runner.sample(-1, own.calls).time_s * own.calls
            for runner, own in zip(runners, series, strict=True)
        ]
        blocks.append(sum(taken))
        spent += blocks[-1]
        last = blocks[-3:]
        if (
            spent >= seconds
            and len(last) == 3
            and max(last) - min(last) <= protocol.SETTLED_SHARE * min(last)
        ):
            break
    return len(blocks)


@dataclass(frozen=True)
class Ratio:
    """A visit's cost over the baseline's, as a log ratio.

    Attributes:
        log: log(cell / baseline), median over cycles in which both were clean, or of the CPU clocks' p10.
        clock: `wall` (or `device` where the device takes its own time), `cpu` where too few samples were clean.
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
    logs = [math.log(a.time_s / b.time_s) for a, b in pairs if a.clean and b.clean]
    by_cpu = math.log(_p10([s.thread_s for s in cell]) / _p10([s.thread_s for s in base]))
    if len(logs) < min(enough, len(pairs)):
        return Ratio(by_cpu, "cpu", ("preempted",))
    middle = statistics.median(logs)
    half = 1.96 * 1.2533 * statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else 0.0
    apart = abs(middle - by_cpu) > protocol.CLOCK_GAP + half
    clock = "wall" if cell[0].device_s is None else "device"
    return Ratio(middle, clock, ("clocks disagree",) if apart else ())


def _p10(values: Sequence[float]) -> float:
    return max(float(np.quantile(values, 0.1)), 1e-12)


def write_samples(path: Path, series: Mapping[str, Series]) -> None:
    """Every sample beside its record, compressed: form -> float64 [samples, 5], columns as in `COLUMNS`."""
    arrays: dict[str, Any] = {
        form: np.array(
            [[s.cycle, s.wall_s, s.thread_s, s.process_s, s.device_s or np.nan] for s in own.samples]
        )
        for form, own in series.items()
    }
    if arrays:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(temporary, path)
