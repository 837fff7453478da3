"""The two readings of an NVIDIA board: its energy counter, and the integral of its power timeline.

Both watch the same timeline. The counter is read once an edge and never polled: read often, it loses energy. Each
delta is checked here, since libraries hand out 0 J, or less, where a counter was reset, wrapped, stuck or lost.

Yang, Adamek, Armour: "Part-time Power Measurements: nvidia-smi's Lack of Attention" (SC 2024, arXiv:2312.02741):
which boards average, and which see 25 of 100 ms.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from benchmarks.measure.meters.base import Clock, Meter, MeterError, Reading, SystemClock
from benchmarks.measure.meters.integral import AVERAGE_S, doubts, integral_j
from benchmarks.measure.meters.none import NoMeter
from benchmarks.measure.meters.nvml import Board
from benchmarks.measure.meters.rules import EnergyRules
from benchmarks.measure.meters.timeline import Line, ProcessTimeline, Timeline

#: Counter and power change their number about this often; boards differ (20 to 100 ms were seen).
REFRESH_S = 0.1


class BoardMeter(Meter):
    """What both readings of a board share.

    Args:
        board: to read.
        timeline: shared by both.
        rules: of the window.
        clock: tests bring their own.
        refresh_s: of the sensor.
        pid: of the process that works.
    """

    component = "gpu"
    settle_s = AVERAGE_S

    def __init__(
        self,
        board: Board,
        timeline: Timeline,
        rules: EnergyRules | None = None,
        clock: Clock | None = None,
        refresh_s: float = REFRESH_S,
        pid: int | None = None,
    ) -> None:
        self.board, self.timeline = board, timeline
        self.rules, self.clock = rules or EnergyRules(), clock or SystemClock()
        self.refresh_s = self.seen_every_s = refresh_s
        self.pid = pid or os.getpid()
        self._edges: list[tuple[float, float]] = []
        self._strangers: set[int] = set()

    def open(self) -> None:
        """Begin the timeline and see who else is there."""
        self._edges, self._strangers = [], set()
        self.timeline.open()
        self._meet()

    def start(self) -> None:
        """The first edge: one reading and nothing else, since the board waits."""
        self._edges = [self._edge()]

    def stop(self) -> None:
        """The last edge."""
        self._edges.append(self._edge())

    def close(self, loaded: bool = True) -> Reading:
        """What was between the edges, checked."""
        line = self.timeline.close()
        if len(self._edges) != 2:
            raise MeterError(line.error or "the window was not closed")
        self._meet()
        (began, first), (ended, last) = self._edges
        joules, integral, flags = self._joules(line, began, ended, last - first, loaded)
        flags = (
            *flags,
            *doubts(line, began, ended, self.rules),
            *(["foreign process"] * bool(self._strangers)),
        )
        states = [state for t, state in line.states if began <= t <= ended]
        return Reading(
            self.component, self.sensor, self.basis, joules, ended - began, flags=flags, integral_j=integral,
            refresh_s=self.refresh_s, conditions={**self.board.facts, **_range(states)},
        )  # fmt: skip

    def temperature_c(self) -> float | None:
        """Of the chip; None of a board that is gone, which the next edge will say."""
        try:
            return self.board.state().temperature_c
        except MeterError:
            return None

    def _edge(self) -> tuple[float, float]:
        raise NotImplementedError

    def _joules(
        self, line: Line, began: float, ended: float, delta_j: float, loaded: bool
    ) -> tuple[float, float | None, tuple[str, ...]]:
        raise NotImplementedError

    def _meet(self) -> None:
        """Note who else has a context on the board.

        A container sees the host's numbers of processes and not its own: where this process is not among them,
        one of them is taken to be it.
        """
        pids = set(self.board.pids() or ())
        others = pids - {self.pid}
        self._strangers |= others if self.pid in pids or len(others) > 1 else set()


class NvmlCounter(BoardMeter):
    """Joules by the board's own energy counter (Volta and later)."""

    sensor = "nvml_counter"

    def _edge(self) -> tuple[float, float]:
        joules = self.board.energy_j()
        now = self.clock.now()
        if joules is None:
            raise MeterError(f"the energy counter of {self.board.uuid} is not supported any more")
        return now, joules

    def _joules(
        self, line: Line, began: float, ended: float, delta_j: float, loaded: bool
    ) -> tuple[float, float | None, tuple[str, ...]]:
        window_s = ended - began
        if delta_j < 0:
            raise MeterError(f"the energy counter went back by {-delta_j:.0f} J: it was reset, or wrapped")
        if delta_j == 0:
            late = window_s > self.rules.stuck_refreshes * self.refresh_s
            raise MeterError(
                f"the energy counter {'stood still for' if late else 'needs more than'} {window_s:.2g} s"
            )
        try:
            integral, averaged = integral_j(line, began, ended)
        except MeterError as error:
            if "lost" in str(error):
                raise
            return delta_j, None, ("unchecked",)
        gap = delta_j / integral - 1.0 if integral > 0 else float("inf")
        if not loaded or abs(gap) <= self.rules.integral_gap:
            return delta_j, integral, ()
        if not averaged:  # a power of the moment may be the one that errs
            return delta_j, integral, ("integral disagrees",)
        raise MeterError(
            f"the energy counter says {delta_j:.1f} J, the power timeline {integral:.1f} J ({gap:+.0%})"
        )


class NvmlPower(BoardMeter):
    """Joules by integrating the board's averaged power."""

    sensor = "nvml_power"

    def _edge(self) -> tuple[float, float]:
        return self.clock.now(), 0.0

    def _joules(
        self, line: Line, began: float, ended: float, delta_j: float, loaded: bool
    ) -> tuple[float, float | None, tuple[str, ...]]:
        joules, averaged = integral_j(line, began, ended)
        if joules <= 0:
            raise MeterError("the board tells a power of 0 W")
        return joules, None, () if averaged else ("instantaneous power",)


def nvml_meters(
    board: Board,
    rules: EnergyRules | None = None,
    clock: Clock | None = None,
    timeline: Timeline | None = None,
    refresh_s: float = REFRESH_S,
    make: Callable[..., Timeline] = ProcessTimeline,
) -> list[Meter]:
    """Counter and power of one board; each that it does not have with the reason."""
    rules = rules or EnergyRules()
    shared = timeline or make(board.uuid, rules.poll_hz)
    found: list[Meter] = []
    try:
        if board.energy_j() is None:
            raise MeterError(
                f"{board.facts.get('name')} has no energy counter (before Volta, or an old driver)"
            )
        found.append(NvmlCounter(board, shared, rules, clock, refresh_s))
    except MeterError as error:
        found.append(NoMeter("gpu", str(error), "nvml_counter"))
    try:
        if board.power_w() == (None, None):
            raise MeterError(f"{board.facts.get('name')} tells no power")
        found.append(NvmlPower(board, shared, rules, clock, refresh_s))
    except MeterError as error:
        found.append(NoMeter("gpu", str(error), "nvml_power"))
    return found


def _range(states: list[Any]) -> dict[str, Any]:
    """Lowest and highest temperature and clock of a window."""
    found: dict[str, Any] = {}
    for name in ("temperature_c", "sm_mhz"):
        values = [getattr(state, name) for state in states if getattr(state, name) is not None]
        found[name] = [min(values), max(values)] if values else None
    return found
