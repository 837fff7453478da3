"""The window itself: work around the edges, waits for the device, meters that fail or are not there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from benchmarks.measure.meters import (
    EnergyRules,
    Meter,
    MeterError,
    Reading,
    Windows,
    energy_record,
    missing,
    sensors,
)
from benchmarks.measure.meters.found import meters_for
from benchmarks.measure.meters.none import NoMeter
from benchmarks.measure.meters.windows import alias_risk
from tests.benchmarks.measure.meters.fakes import FakeClock, Work


@dataclass
class Noted(Meter):
    """A meter that notes when it was asked, and fails where it shall."""

    clock: FakeClock
    fails: str = ""
    refresh_s: float = 0.1
    settle_s: float = 1.0
    component: str = "gpu"
    sensor: str = "nvml_counter"
    steps: list[tuple[str, float]] = field(default_factory=list)

    def note(self, step: str) -> None:
        self.steps.append((step, self.clock.now()))
        if self.fails == step:
            raise MeterError(f"{step} failed")

    def open(self) -> None:
        self.note("open")

    def start(self) -> None:
        self.note("start")

    def stop(self) -> None:
        self.note("stop")

    def close(self, loaded: bool = True) -> Reading:
        self.note("close")
        times = dict(self.steps[-4:])
        if "stop" not in times:
            raise MeterError("the window was not closed")
        return Reading(self.component, self.sensor, self.basis, 1.0, times["stop"] - times["start"])


def test_work_stands_before_between_and_after_the_edges() -> None:
    clock = FakeClock()
    meter = Noted(clock)
    work = Work(clock, 0.1)
    (reading,) = Windows([meter], EnergyRules(idle_s=4.0), clock=clock).measure(work)
    names = [name for name, _ in meter.steps]
    assert names == ["open", "start", "stop", "close"] * 3, "two halves of idle, one window"
    opened, start, stop, close = (at for _, at in meter.steps[8:])
    assert start - opened == pytest.approx(2.0, abs=0.3)
    assert stop - start == pytest.approx(10.0, abs=0.3)
    assert close - stop == pytest.approx(1.0, abs=0.3)
    assert reading.calls == pytest.approx((stop - start) / 0.1), (
        "every call inside the window counts, no other does"
    )
    idle = meter.steps[4][1] - meter.steps[0][1]
    assert idle == pytest.approx(2.0 + 2.0 + 1.0)


@pytest.mark.parametrize(
    ("refresh_s", "asked_s", "long_s"), [(0.1, 2.0, 5.0), (0.001, 10.0, 10.0), (0.5, 10.0, 25.0)]
)
def test_no_window_is_shorter_than_five_seconds_and_fifty_refreshes(
    refresh_s: float, asked_s: float, long_s: float
) -> None:
    assert (
        Windows([Noted(FakeClock(), refresh_s=refresh_s)], EnergyRules(window_s=asked_s)).window_s == long_s
    )


def test_the_device_is_waited_for_at_both_edges_and_its_queue_stays_short() -> None:
    """A device that works behind the caller's back: 10 ms a call, which itself returns after 10 us."""
    clock = FakeClock()
    queue = {"s": 0.0, "most": 0.0}
    meter = Noted(clock)

    def call() -> None:
        clock.sleep(1e-5)
        queue["s"] += 0.01
        queue["most"] = max(queue["most"], queue["s"])

    def synchronize() -> None:
        clock.sleep(queue["s"])
        queue["s"] = 0.0

    waiting: list[float] = []
    meter.note = lambda step: (waiting.append(queue["s"]), Noted.note(meter, step))[1]  # type: ignore
    (reading,) = Windows([meter], EnergyRules(idle_s=1.0), synchronize, clock).measure(call)
    assert set(waiting) == {0.0}, "no edge while the device still works"
    assert queue["most"] <= 0.5
    assert reading.window_s / reading.calls == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize("step", ["open", "start", "stop", "close"])
def test_a_meter_that_fails_reads_null_and_disturbs_no_other(step: str) -> None:
    clock = FakeClock()
    bad, good = Noted(clock, fails=step), Noted(clock)
    first, second = Windows([bad, good], EnergyRules(idle_s=1.0), clock=clock).measure(Work(clock, 0.1))
    assert first.energy_j is None and first.reason == f"{step} failed"
    assert second.energy_j == 1.0 and second.calls == first.calls > 0


def test_work_that_raises_closes_the_meters() -> None:
    clock = FakeClock()
    meter = Noted(clock)
    work = Work(clock, 0.1)

    def breaks() -> None:
        work()
        if clock.now() > 1010.0:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        Windows([meter], EnergyRules(idle_s=1.0), clock=clock).measure(breaks)
    assert [name for name, _ in meter.steps][-1] == "close"
    assert [name for name, _ in meter.steps].count("open") == [name for name, _ in meter.steps].count("close")


def test_an_interrupt_closes_the_meters_too() -> None:
    clock = FakeClock()
    meter = Noted(clock)

    def breaks() -> None:
        clock.sleep(1.0)
        if clock.now() > 1012.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Windows([meter], EnergyRules(idle_s=1.0), clock=clock).measure(breaks)
    assert meter.steps[-1][0] == "close"


@pytest.mark.parametrize(
    ("period_s", "risk"),
    [(0.1, True), (0.095, True), (0.109, True), (0.112, False), (0.05, True), (0.0333, True), (0.0255, True)]
    + [(0.07, False), (0.2, False), (0.012, False), (1e-4, False)],
)
def test_alias_risk_is_near_the_sensors_period_and_its_fractions(period_s: float, risk: bool) -> None:
    assert alias_risk(period_s, 0.1, 0.10) is risk


def test_none_reads_null_with_its_reason() -> None:
    meters: list[Any] = [NoMeter("gpu", "no driver"), NoMeter("cpu_package", "no RAPL", "rapl")]
    clock = FakeClock()
    for readings in (missing(meters), Windows(meters, EnergyRules(), clock=clock).measure(Work(clock, 0.1))):
        assert [reading.energy_j for reading in readings] == [None, None]
        assert [reading.reason for reading in readings] == ["no driver", "no RAPL"]
        record = energy_record(readings, "cuda")
        assert (record["energy_j"], record["energy_sensor"], record["reason"]) == (None, "none", "no driver")
        assert energy_record(readings, "cpu")["reason"] == "no RAPL"
    assert sensors(meters) == []


def test_a_modelled_number_is_never_the_visits() -> None:
    readings = [
        NoMeter("cpu_package", "no RAPL").null("no RAPL"),
        Reading("cpu_package", "tdp_load_model", "modelled", 40.0, 10.0, calls=4),
    ]
    record = energy_record(readings, "cpu")
    assert record["energy_j"] is None and record["energy_sensor"] == "none"
    assert record["readings"][1]["energy_j"] == 40.0
    assert record["readings"][1]["basis"] == "modelled"


def test_dram_is_not_the_device() -> None:
    record = energy_record([Reading("dram", "rapl", "measured", 40.0, 10.0, calls=4)], "cpu")
    assert record["energy_j"] is None and "cpu_package" in record["reason"]


def test_every_kind_has_meters_and_no_error(tmp_path: Any) -> None:
    for kind in ("cpu", "cuda", "cuda:1", "tpu"):
        found = meters_for(kind, "GPU-none", powercap=tmp_path)
        assert found
        for meter in found:
            assert isinstance(meter, Meter) and meter.component and meter.sensor and meter.basis
    assert [meter.component for meter in meters_for("cuda", "GPU-none", powercap=tmp_path)][0] == "gpu"
