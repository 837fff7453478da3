"""A device with a known power law and a clock that costs no time: what a meter reads is held against exact joules."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from benchmarks.measure.meters.base import MeterError
from benchmarks.measure.meters.nvml import BoardState
from benchmarks.measure.meters.timeline import Line, ticks, watch


class FakeClock:
    """Time that passes when someone sleeps."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += max(seconds, 0.0)


class Law(Protocol):
    """Power over time, as its exact integral."""

    def energy_j(self, t: float) -> float: ...


@dataclass(frozen=True)
class Constant:
    watts: float

    def energy_j(self, t: float) -> float:
        return self.watts * t


@dataclass(frozen=True)
class Step:
    before_w: float
    after_w: float
    at: float

    def energy_j(self, t: float) -> float:
        return self.before_w * min(t, self.at) + self.after_w * max(t - self.at, 0.0)


@dataclass(frozen=True)
class Square:
    low_w: float
    high_w: float
    period_s: float
    duty: float = 0.5
    phase: float = 0.0

    def energy_j(self, t: float) -> float:
        turns = t / self.period_s + self.phase
        whole = math.floor(turns)
        high_s = self.period_s * (whole * self.duty + min(turns - whole, self.duty))
        return self.low_w * t + (self.high_w - self.low_w) * high_s


@dataclass(frozen=True)
class Ramp:
    """Power that drifts."""

    watts: float
    watts_per_s: float
    since: float

    def energy_j(self, t: float) -> float:
        return self.watts * t + 0.5 * self.watts_per_s * max(t - self.since, 0.0) ** 2


class Schedule:
    """Power by a list of (second, watts), which the fake work appends to; or by a file of such lines."""

    def __init__(self, idle_w: float) -> None:
        self._times, self._watts, self._energy = [0.0], [idle_w], [0.0]

    @classmethod
    def of_file(cls, path: Path) -> Schedule:
        rows = [tuple(map(float, line.split())) for line in path.read_text().splitlines()]
        made = cls(rows[0][1])
        for t, watts in rows[1:]:
            made.set(t, watts)
        return made

    def set(self, t: float, watts: float) -> None:
        self._energy.append(self.energy_j(t))
        self._times.append(t)
        self._watts.append(watts)

    def energy_j(self, t: float) -> float:
        at = bisect.bisect_right(self._times, t) - 1
        return self._energy[at] + self._watts[at] * (t - self._times[at])


@dataclass
class FakeBoard:
    """A board by a law; faults come at a moment of its clock.

    Attributes:
        refresh_s: of counter and power.
        seen_s: what the power of the moment sees of each refresh.
        wrap_j: the counter starts again here.
        reset_at, stuck_at, lost_at, counter_ends_at: faults.
        state_of: temperature, clock and reasons at a moment.
    """

    law: Law
    clock: FakeClock
    refresh_s: float = 0.1
    seen_s: float = 0.025
    offset_j: float = 0.0
    wrap_j: float = math.inf
    reset_at: float = math.inf
    stuck_at: float = math.inf
    lost_at: float = math.inf
    counter_ends_at: float = math.inf
    has_average: bool = True
    has_power: bool = True
    state_of: Callable[[float], BoardState] = lambda t: BoardState()
    listed: Sequence[int] | None = None
    uuid: str = "GPU-fake"
    facts: dict[str, Any] = field(default_factory=lambda: {"name": "Fake"})

    def energy_j(self) -> float | None:
        now = self._now()
        if now >= self.counter_ends_at:
            return None
        t = self._tick(min(now, self.stuck_at))
        joules = self.law.energy_j(t) + self.offset_j
        if t >= self.reset_at:
            joules -= self.law.energy_j(self.reset_at) + self.offset_j
        joules -= self.wrap_j * (joules // self.wrap_j) if math.isfinite(self.wrap_j) else 0.0
        return math.floor(joules * 1000.0) / 1000.0

    def power_w(self) -> tuple[float | None, float | None]:
        t = self._tick(self._now())
        if not self.has_power:
            return None, None
        average = self._mean(t, 1.0) if self.has_average else None
        return average, self._mean(t, self.seen_s)

    def state(self) -> BoardState:
        return self.state_of(self._now())

    def pids(self) -> list[int] | None:
        return None if self.listed is None else list(self.listed)

    def seen_by(self, clock: FakeClock) -> FakeBoard:
        return replace(self, clock=clock)

    def _now(self) -> float:
        now = self.clock.now()
        if now >= self.lost_at:
            raise MeterError("device lost: GPU-fake does not answer any more")
        return now

    def _tick(self, t: float) -> float:
        return math.floor(t / self.refresh_s + 1e-9) * self.refresh_s

    def _mean(self, t: float, seconds: float) -> float:
        return (self.law.energy_j(t) - self.law.energy_j(t - seconds)) / seconds


class FakeTimeline:
    """The real looking at a board, replayed when the line is closed."""

    def __init__(self, board: FakeBoard, hz: float = 20.0) -> None:
        self.board, self.hz = board, hz
        self._began: float | None = None
        self._line = Line(error="the timeline was never opened")

    def open(self) -> None:
        if self._began is None:
            self._began = self.board.clock.now()

    def close(self) -> Line:
        if self._began is not None:
            clock, end = FakeClock(self._began), self.board.clock.now()

            def wait(seconds: float) -> bool:
                clock.sleep(seconds)
                return clock.now() <= end

            self._line = watch(self.board.seen_by(clock), clock, ticks(clock, self.hz, wait))
            self._began = None
        return self._line


@dataclass
class Work:
    """Calls that take time, and power where the law is a schedule."""

    clock: FakeClock
    call_s: float = 0.05
    watts: float = 0.0
    idle_w: float = 0.0
    schedule: Schedule | None = None
    calls: int = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.schedule:
            self.schedule.set(self.clock.now(), self.watts)
        self.clock.sleep(self.call_s)
        if self.schedule:
            self.schedule.set(self.clock.now(), self.idle_w)
