"""The equal-cost twin: the task's dense model, as small as another cell is."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method, cell, knob


@dataclass(frozen=True)
class Dense(Method):
    """A dense model of the width at which its cost is that of the cell `like`, trained by the same recipe.

    Paper: none; the small dense rival of Zhu and Gupta (2017), section 4, and of every claim "at equal size".
    Deviations: width is an integer, so the match is the nearest from below; the record holds both numbers.
    """

    like: str = cell("baseline", help="the cell whose cost is matched")
    match: str = knob("params", choices=("params", "bytes", "macs"), help="the cost that is made equal")

    cpu_factor = 0.4

    def build(self, run):
        wanted = run.cost(run.load(self.like), self.match)
        run.log.note(matched=self.match, wanted=wanted)
        return run.task.model(run, width=self._widest(run, wanted))

    def _widest(self, run, wanted):
        """The widest model that costs no more: cost grows with width."""
        low, high = 1, 1
        while self._cost(run, high) <= wanted:
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._cost(run, middle) <= wanted else (low, middle)
        return low

    def _cost(self, run, width):
        return run.cost(run.task.model(run, width=width), self.match)
