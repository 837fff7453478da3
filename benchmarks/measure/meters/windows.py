"""Energy windows: the same work before, between and after the edges (docs/measurement.md, Energy and carbon).

idle (once a process)   warm        lead-in    | window              |  lead-out
no work, model loaded   until the   2 settling | >= 5 s, >= 50       |  1 settling time
two halves, compared    heat stays  times      | refreshes           |
                                               ^ device synchronised ^ one reading of each meter an edge

A counter lags its truth, so an edge beside idle is biased and not only noisy: lead-in and lead-out put the lag
of both edges into the same work. No setting of a device is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from benchmarks.measure.meters.base import Clock, Meter, MeterError, Reading, SystemClock
from benchmarks.measure.meters.rules import EnergyRules

Work = Callable[[], Any]


def _nothing() -> None:
    """No work, or no device to wait for."""


class Windows:
    """The meters of a process, its idle power, and one window for each piece of work.

    Args:
        meters: from `meters_for`.
        rules: the protocol's numbers.
        synchronize: returns when the device has done all work that was handed to it.
        clock: tests bring their own.
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        rules: EnergyRules | None = None,
        synchronize: Callable[[], None] = _nothing,
        clock: Clock | None = None,
    ) -> None:
        self.meters, self.rules = list(meters), rules or EnergyRules()
        self.synchronize, self.clock = synchronize, clock or SystemClock()
        self._idle: dict[int, tuple[float, bool]] | None = None

    @property
    def window_s(self) -> float:
        """The length of a window in seconds."""
        slowest = max((meter.refresh_s for meter in self.meters), default=0.0)
        return max(self.rules.window_s, self.rules.least_s, self.rules.least_refreshes * slowest)

    @property
    def _settle_s(self) -> float:
        return max((max(meter.settle_s, meter.refresh_s) for meter in self.meters), default=0.0)

    def idle(self) -> dict[int, tuple[float, bool]]:
        """Power beside no work: of each meter that answers (by its place), watts and whether both halves agree."""
        if self._idle is None and self.rules.idle_s <= 0:
            self._idle = {}
        if self._idle is None:
            half = self.rules.idle_s / 2
            first, second = (self._between(_nothing, half, 0, loaded=False) for _ in range(2))
            self._idle = {}
            for at, (one, two) in enumerate(zip(first, second, strict=True)):
                if one.power_w is not None and two.power_w is not None:
                    mean = (one.power_w + two.power_w) / 2
                    self._idle[at] = mean, abs(one.power_w - two.power_w) <= self.rules.idle_drift * mean
        return self._idle

    def measure(self, work: Work, period_s: float | None = None) -> list[Reading]:
        """One window of one piece of work.

        Args:
            work: one call of it; may return before the device is done.
            period_s: of what repeats inside the work (a training step); the call itself where nothing is said.

        Returns:
            a reading of each meter, in their order.
        """
        idle = self.idle()
        batch, call_s = self._calibrate(work)
        self._warm(work, batch)
        readings = self._between(work, self.window_s, batch)
        period = period_s or call_s
        return [
            _with_idle(self._with_alias(reading, meter, period), idle.get(at))
            for at, (reading, meter) in enumerate(zip(readings, self.meters, strict=True))
        ]

    # ------------------------------------------------------------ steps of a window

    def _calibrate(self, work: Work) -> tuple[int, float]:
        """(calls of a batch, seconds a call): calls are doubled until they last half a batch."""
        calls = 1
        work()
        while True:
            self.synchronize()
            began = self.clock.now()
            for _ in range(calls):
                work()
            self.synchronize()
            spent = self.clock.now() - began
            if spent >= self.rules.batch_s / 2 or calls >= 1 << 20:
                call_s = spent / calls
                return max(1, round(self.rules.batch_s / max(call_s, 1e-9))), call_s
            calls *= 2

    def _warm(self, work: Work, batch: int) -> None:
        """Work until the temperature stays; where no meter tells one, the lead-in is all the warming there is."""
        spent, before = 0.0, self._temperature_c()
        while before is not None and spent < self.rules.warm_most_s:
            self._run(work, self.rules.warm_s, batch)
            spent += self.rules.warm_s
            after = self._temperature_c()
            if after is None or after - before < self.rules.warm_rise_c:
                return
            before = after

    def _temperature_c(self) -> float | None:
        told = [meter.temperature_c() for meter in self.meters]
        return max((value for value in told if value is not None), default=None)

    def _between(self, work: Work, seconds: float, batch: int, loaded: bool = True) -> list[Reading]:
        """Readings of `seconds` of work, with the same work before and after."""
        errors: dict[int, str] = {}
        calls = 0
        with self._opened(errors):
            self._run(work, self.rules.lead_in * self._settle_s, batch)
            self._each("start", errors)
            calls = self._run(work, seconds, batch)
            self._each("stop", errors)
            self._run(work, self.rules.lead_out * self._settle_s, batch)
        return [self._close(at, errors, calls, loaded) for at in range(len(self.meters))]

    @contextmanager
    def _opened(self, errors: dict[int, str]) -> Iterator[None]:
        """Meters open; all are closed even where the work raises."""
        self._each("open", errors)
        try:
            yield
        except BaseException:
            for at in range(len(self.meters)):
                self._close(at, dict(errors), 0, True)
            raise

    def _each(self, step: str, errors: dict[int, str]) -> None:
        """One step of every meter that has not failed; one that fails does not disturb the others."""
        for at, meter in enumerate(self.meters):
            if at not in errors:
                try:
                    getattr(meter, step)()
                except MeterError as error:
                    errors[at] = str(error)

    def _close(self, at: int, errors: dict[int, str], calls: int, loaded: bool) -> Reading:
        meter = self.meters[at]
        try:
            reading = meter.close(loaded)
        except MeterError as error:
            return replace(meter.null(errors.get(at, str(error))), calls=calls)
        if at in errors:
            return replace(meter.null(errors[at], reading.flags), calls=calls, conditions=reading.conditions)
        return replace(reading, calls=calls)

    def _run(self, work: Work, seconds: float, batch: int) -> int:
        """Work for at least `seconds`, in batches; sleep where a batch has no calls. Returns the calls."""
        if not batch:
            self.clock.sleep(seconds)
            return 0
        calls, end = 0, self.clock.now() + seconds
        while self.clock.now() < end:
            for _ in range(batch):
                work()
            self.synchronize()
            calls += batch
        return calls

    def _with_alias(self, reading: Reading, meter: Meter, period_s: float) -> Reading:
        if meter.seen_every_s and alias_risk(period_s, meter.seen_every_s, self.rules.alias_share):
            return replace(reading, flags=(*reading.flags, "alias_risk"))
        return reading


#: Fractions of a sensor's period that are told apart: below a quarter (25 of 100 ms seen) a look averages over
#: whole periods of the work.
_FRACTIONS = 4


def alias_risk(period_s: float, sensor_s: float, share: float) -> bool:
    """True where work of this period meets a sensor that looks every `sensor_s` at the same phase again and again.

    Random phase is no cure: a 100 ms load on a sensor that sees 25 of 100 ms errs by up to 60 % at any length.
    """
    return any(abs(period_s * part / sensor_s - 1.0) <= share for part in range(1, _FRACTIONS + 1))


def _with_idle(reading: Reading, idle: tuple[float, bool] | None) -> Reading:
    """Net of idle beside the gross reading; null where idle is not known."""
    if idle is None or reading.energy_j is None:
        return reading
    watts, steady = idle
    return replace(
        reading,
        idle_w=watts,
        net_j=reading.energy_j - watts * reading.window_s,
        flags=reading.flags if steady else (*reading.flags, "idle drifts"),
    )


def window(
    work: Work,
    meters: Sequence[Meter],
    rules: EnergyRules | None = None,
    synchronize: Callable[[], None] = _nothing,
    clock: Clock | None = None,
) -> list[Reading]:
    """Idle, warm-up and one window of one piece of work; a process with several uses `Windows`, idle once."""
    return Windows(meters, rules, synchronize, clock).measure(work)


def known_ratio(windows: Windows, work: Work) -> dict[str, float | None]:
    """Joules of the same work twice over joules of it once: 2 on a meter that can be believed.

    Returns:
        component and sensor -> the ratio; null where a reading is.
    """

    def twice() -> None:
        work()
        work()

    pairs = zip(windows.measure(work), windows.measure(twice), strict=True)
    return {
        f"{one.component} {one.sensor}": two.call_j / one.call_j if one.call_j and two.call_j else None
        for one, two in pairs
    }
