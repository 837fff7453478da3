"""The meter of a machine without a sensor: it reads null and says why, so that callers need no `if`."""

from __future__ import annotations

from benchmarks.measure.meters.base import Meter, MeterError, Reading


class NoMeter(Meter):
    """Nothing to read.

    Args:
        component: that no sensor covers.
        reason: why, with the remedy.
        sensor: the one that was looked for; `none` where nothing could be.
    """

    def __init__(self, component: str, reason: str, sensor: str = "none") -> None:
        self.component, self.reason, self.looked_for = component, reason, sensor

    def start(self) -> None:
        """Nothing to read."""

    def stop(self) -> None:
        """Nothing to read."""

    def close(self, loaded: bool = True) -> Reading:
        """Always raises: null, never 0."""
        raise MeterError(self.reason)
