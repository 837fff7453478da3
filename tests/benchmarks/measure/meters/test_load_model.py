"""CodeCarbon's model with this process's CPU time: the same number as CodeCarbon's, and only modelled."""

from __future__ import annotations

import time
from typing import Any

import pytest

from benchmarks.measure.meters import MeterError, Windows
from benchmarks.measure.meters.load_model import LoadModel, Processor, processor
from benchmarks.measure.meters.rules import EnergyRules
from tests.benchmarks.measure.meters.fakes import FakeClock, Work

CHIP = Processor("a chip", 120.0, 8, True)


class Times:
    """Wall and CPU seconds of a process that a test writes down."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def clocks(self) -> Any:
        return (lambda: self.wall), (lambda: self.cpu)


def joules(wall_s: float, cpu_s: float, chip: Processor = CHIP) -> Any:
    times = Times()
    meter = LoadModel(lambda: chip, times.clocks())
    meter.open()
    meter.start()
    times.wall, times.cpu = wall_s, cpu_s
    meter.stop()
    return meter.close()


def test_a_busy_thread_of_eight_takes_an_eighth_of_the_design_power() -> None:
    reading = joules(10.0, 10.0)
    assert reading.energy_j == pytest.approx(150.0) and reading.window_s == 10.0
    assert (reading.sensor, reading.basis) == ("tdp_load_model", "modelled")


def test_it_is_a_constant_times_cpu_time_whatever_the_wall_says() -> None:
    assert joules(10.0, 4.0).energy_j == joules(40.0, 4.0).energy_j == pytest.approx(60.0)


def test_no_cpu_time_is_a_null() -> None:
    with pytest.raises(MeterError, match="no CPU time"):
        joules(10.0, 0.0)


def test_an_assumed_design_power_is_flagged() -> None:
    assert joules(1.0, 1.0, Processor("?", 8.0, 2, False)).flags == ("design power assumed",)
    assert joules(1.0, 1.0).flags == ()


def test_codecarbons_own_class_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real class of CodeCarbon, tracking this process, fed with the same times."""
    from codecarbon.core.resource_tracker import MODE_CPU_LOAD
    from codecarbon.external import hardware

    chip = processor()
    cpu = hardware.CPU.from_utils(".", MODE_CPU_LOAD, chip.name, chip.tdp_w, tracking_mode="process")
    now, used = [1000.0], [5.0]
    monkeypatch.setattr(hardware.time, "time", lambda: now[0])
    monkeypatch.setattr(cpu, "_get_process_cpu_times", lambda: {1: used[0]})
    cpu.start()
    now[0], used[0] = 1010.0, 12.5
    theirs_w = cpu._get_power_from_cpus().W
    monkeypatch.undo()
    assert joules(10.0, 7.5, chip).energy_j == pytest.approx(theirs_w * 10.0)


def test_it_follows_this_process_and_not_the_machine() -> None:
    meter = LoadModel(lambda: CHIP)
    meter.open()
    meter.start()
    began = time.process_time()
    while time.process_time() - began < 0.05:
        pass
    used = time.process_time() - began
    meter.stop()
    assert meter.close().energy_j == pytest.approx(15.0 * used, rel=0.05)


def test_a_missing_table_entry_is_a_reason_in_a_window() -> None:
    def unknown() -> Processor:
        raise MeterError("CodeCarbon knows no design power")

    clock = FakeClock()
    (reading,) = Windows([LoadModel(unknown)], EnergyRules(idle_s=1.0), clock=clock).measure(Work(clock, 0.1))
    assert reading.energy_j is None and reading.reason == "CodeCarbon knows no design power"
