"""Joules from a power timeline, and what the same timeline says against a window."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from benchmarks.measure.meters.base import MeterError
from benchmarks.measure.meters.rules import EnergyRules
from benchmarks.measure.meters.timeline import Line

#: The averaging time of the field that the integral uses: what it shows is the middle of the last second.
AVERAGE_S = 1.0
#: A timeline with a longer hole says nothing of the window around it.
_LONGEST_HOLE_S = 0.5
#: Bits of nvml.h's clocks-event reasons, with the flag that they become.
_REASONS = {
    0x04: "power cap",  # SwPowerCap
    0x08: "throttled",  # HwSlowdown
    0x20: "throttled",  # SwThermalSlowdown
    0x40: "throttled",  # HwThermalSlowdown
    0x80: "throttled",  # HwPowerBrakeSlowdown
}


def integral_j(line: Line, began: float, ended: float) -> tuple[float, bool]:
    """Joules between two moments by the trapezoidal rule, and whether the averaged field gave them.

    The averaged field shows the mean of the second before, so it is read half a second later: a step of the load
    inside the window then counts from where it was.

    Raises:
        MeterError: the timeline ended early, has a hole, or the board tells no power.
    """
    averaged = [(poll.t, poll.average_w) for poll in line.polls if poll.average_w is not None]
    instant = [(poll.t, poll.instant_w) for poll in line.polls if poll.instant_w is not None]
    points = averaged or instant
    if not points:
        raise MeterError(line.error or "the board tells no power")
    late = AVERAGE_S / 2 if averaged else 0.0
    if line.error and points[-1][0] < ended + late:
        raise MeterError(line.error)
    return _trapezoids(points, began + late, ended + late), bool(averaged)


def _trapezoids(points: Sequence[tuple[float, float]], began: float, ended: float) -> float:
    """The area under points that are joined by straight lines."""
    if points[0][0] > began or points[-1][0] < ended - _LONGEST_HOLE_S:
        raise MeterError("the power timeline does not cover the window")
    area = 0.0
    if points[-1][0] < ended:  # the last look was just before the edge
        points = [*points, (ended, points[-1][1])]
    for (t0, w0), (t1, w1) in pairwise(points):
        left, right = max(t0, began), min(t1, ended)
        if right <= left:
            continue
        if t1 - t0 > _LONGEST_HOLE_S:
            raise MeterError(f"the power timeline has a hole of {t1 - t0:.2g} s")
        slope = (w1 - w0) / (t1 - t0)
        area += (right - left) * (w0 + slope * ((left + right) / 2 - t0))
    return area


def doubts(line: Line, began: float, ended: float, rules: EnergyRules) -> tuple[str, ...]:
    """Flags of a window: throttling, power cap, temperature drift, clock changed."""
    inside = [state for t, state in line.states if began <= t <= ended]
    flags = {flag for state in inside for bit, flag in _REASONS.items() if (state.reasons or 0) & bit}
    degrees = [state.temperature_c for state in inside if state.temperature_c is not None]
    if degrees and max(degrees) - min(degrees) > rules.drift_c:
        flags.add("temperature drift")
    clocks = [state.sm_mhz for state in inside if state.sm_mhz]
    if clocks and max(clocks) - min(clocks) > rules.clock_share * max(clocks):
        flags.add("clock changed")
    return tuple(sorted(flags))
