"""Known power laws: true joules within the stated bound (one refresh an edge), or a null with the right reason."""

from __future__ import annotations

import math
import os
import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.measure.meters import EnergyRules, Reading, Windows, energy_record, known_ratio, window
from benchmarks.measure.meters.integral import integral_j
from benchmarks.measure.meters.nvml import BoardState
from benchmarks.measure.meters.nvml_meters import nvml_meters
from tests.benchmarks.measure.meters.fakes import (
    Constant,
    FakeBoard,
    FakeClock,
    FakeTimeline,
    Law,
    Ramp,
    Schedule,
    Square,
    Step,
    Work,
)

#: A window of the protocol, without the idle time that most laws have no use for.
RULES = EnergyRules(idle_s=2.0)


def read(law: Law, rules: EnergyRules = RULES, call_s: float = 0.07, **board: Any) -> list[Reading]:
    """(counter, power) of one window under a law."""
    clock = board.pop("clock", None) or FakeClock()
    fake = FakeBoard(law, clock, **board)
    meters = nvml_meters(fake, rules, clock, FakeTimeline(fake), fake.refresh_s)
    return window(Work(clock, call_s), meters, rules, clock=clock)


def truth(law: Law, reading: Reading, began: float) -> float:
    return law.energy_j(began + reading.window_s) - law.energy_j(began)


def began_at(rules: EnergyRules = RULES, call_s: float = 0.07) -> float:
    """When the window of `read` begins: the same protocol on a clock of its own."""
    clock, edges = FakeClock(), []
    fake = FakeBoard(Constant(1.0), clock)
    meters = nvml_meters(fake, rules, clock, FakeTimeline(fake))
    start = meters[0].start

    def noted() -> None:
        edges.append(clock.now())
        start()

    meters[0].start = noted  # type: ignore[method-assign]
    window(Work(clock, call_s), meters, rules, clock=clock)
    return edges[-1]


BEGAN = began_at()
LAWS = {
    "constant": (Constant(200.0), 200.0),
    "step up inside": (Step(100.0, 400.0, BEGAN + 3.3), 400.0),
    "step down inside": (Step(400.0, 100.0, BEGAN + 7.77), 400.0),
    "square of 100 ms": (Square(100.0, 400.0, 0.1), 400.0),
    "square of 101 ms": (Square(100.0, 400.0, 0.101), 400.0),
    "square of 96 ms": (Square(100.0, 400.0, 0.096), 400.0),
    "square of 1.7 s": (Square(100.0, 400.0, 1.7), 400.0),
    "ramp": (Ramp(100.0, 5.0, BEGAN - 4.0), 200.0),
}


@pytest.mark.parametrize("name", LAWS)
def test_joules_are_true_to_one_refresh_an_edge(name: str) -> None:
    law, most_w = LAWS[name]
    counter, power = read(law)
    true_j = truth(law, counter, BEGAN)
    assert counter.sensor == "nvml_counter" and power.sensor == "nvml_power"
    assert counter.energy_j == pytest.approx(true_j, abs=0.1 * most_w)
    assert power.energy_j == pytest.approx(true_j, rel=0.02)
    assert counter.integral_j == pytest.approx(power.energy_j)
    assert counter.window_s >= 10.0 and counter.calls >= 140


@pytest.mark.parametrize("refresh_s", [0.02, 0.1, 0.5])
def test_the_bound_is_the_refresh(refresh_s: float) -> None:
    (counter, _) = read(Square(100.0, 400.0, 0.33), refresh_s=refresh_s)
    true_j = 250.0 * counter.window_s
    assert counter.energy_j == pytest.approx(true_j, abs=refresh_s * 400.0 + 0.33 * 150.0)
    assert counter.window_s >= 50 * refresh_s


def test_naive_polling_fails_on_the_square_wave_and_the_counter_repairs_it() -> None:
    """25 of 100 ms seen: the power of the moment says 100 or 400 W of 250, by phase, at any length."""
    naive, counted, averaged = [], [], []
    for phase in (0.0, 0.13, 0.3, 0.55, 0.8):
        clock = FakeClock()
        fake = FakeBoard(Square(100.0, 400.0, 0.1, phase=phase), clock)
        timeline = FakeTimeline(fake)
        counter, power = window(Work(clock), nvml_meters(fake, RULES, clock, timeline), RULES, clock=clock)
        line = timeline.close()
        naive.append(statistics.fmean(poll.instant_w or 0.0 for poll in line.polls))
        counted.append(counter.power_w)
        averaged.append(power.power_w)
        assert "alias_risk" in read(Square(100.0, 400.0, 0.1), call_s=0.1)[0].flags
    assert max(abs(watts / 250.0 - 1.0) for watts in naive) > 0.5
    assert min(naive) == pytest.approx(100.0) and max(naive) == pytest.approx(400.0)
    assert counted == [pytest.approx(250.0, rel=0.02)] * 5
    assert averaged == [pytest.approx(250.0, rel=0.01)] * 5


def test_no_length_cures_aliasing() -> None:
    """A hundred seconds of polling are as wrong as ten."""
    clock = FakeClock()
    fake = FakeBoard(Square(100.0, 400.0, 0.1, phase=0.8), clock, has_average=False)
    timeline = FakeTimeline(fake)
    timeline.open()
    clock.sleep(101.0)
    joules, averaged = integral_j(timeline.close(), 1000.5, 1100.5)
    assert not averaged
    assert abs(joules / 25000.0 - 1.0) > 0.5


def test_power_of_the_moment_is_flagged_and_does_not_overrule_the_counter() -> None:
    counter, power = read(Square(100.0, 400.0, 0.1, phase=0.8), has_average=False)
    assert counter.power_w == pytest.approx(250.0, rel=0.02)
    assert "integral disagrees" in counter.flags
    assert "instantaneous power" in power.flags


# -------------------------------------------------------------------- faults


FAULTS = {
    "wrap": ({"wrap_j": 1500.0 + 250.0 * BEGAN - 1000.0}, "went back"),
    "reset": ({"reset_at": BEGAN + 5.0}, "went back"),
    "stuck before": ({"stuck_at": BEGAN - 1.0}, "stood still"),
    "stuck inside": ({"stuck_at": BEGAN + 5.0}, "the power timeline"),
    "lost inside": ({"lost_at": BEGAN + 5.0}, "device lost"),
    "lost before": ({"lost_at": BEGAN - 5.0}, "device lost"),
    "counter ends": ({"counter_ends_at": BEGAN + 5.0}, "not supported any more"),
    "reset behind the first edge": (
        {"reset_at": BEGAN + 1.0, "offset_j": 100.0 - 250.0 * BEGAN},
        "the power timeline",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_a_null_with_its_reason(name: str) -> None:
    board, reason = FAULTS[name]
    counter, power = read(Constant(250.0), **board)
    assert counter.energy_j is None and reason in counter.reason, counter
    record = energy_record([counter, power], "cuda")
    assert record["energy_j"] is None and record["reason"] == counter.reason
    assert record["energy_sensor"] == "nvml_counter", (
        "a counter that failed is not replaced by another sensor"
    )
    if "lost" in name:
        assert power.energy_j is None and "lost" in power.reason
    else:
        assert power.energy_j == pytest.approx(250.0 * power.window_s, rel=0.01)


def test_a_board_without_a_counter_is_read_by_its_power() -> None:
    none, power = read(Constant(250.0), counter_ends_at=0.0)
    assert none.energy_j is None and "no energy counter" in none.reason
    record = energy_record([none, power], "cuda")
    assert record["energy_sensor"] == "nvml_power"
    assert record["energy_j"] == pytest.approx(250.0 * 0.07, rel=0.01)


def test_a_board_without_power_leaves_its_counter_unchecked() -> None:
    counter, none = read(Constant(250.0), has_power=False)
    assert counter.energy_j == pytest.approx(250.0 * counter.window_s, abs=25.0)
    assert counter.flags == ("unchecked",) and counter.integral_j is None
    assert none.energy_j is None and none.reason


# -------------------------------------------------------------------- idle, edges


def loaded(lead: float, idle_w: float = 60.0, watts: float = 300.0, shift: float = 0.0) -> Reading:
    """A counter's reading of work that alone draws power."""
    clock, law = FakeClock(1000.0 + shift), Schedule(idle_w)
    fake = FakeBoard(law, clock)
    rules = EnergyRules(window_s=5.0, idle_s=4.0, lead_in=2 * lead, lead_out=lead)
    meters = nvml_meters(fake, rules, clock, FakeTimeline(fake))[:1]
    return Windows(meters, rules, clock=clock).measure(Work(clock, 0.02, watts, idle_w, law))[0]


def test_gross_is_the_headline_and_net_stands_beside_it() -> None:
    reading = loaded(lead=1.0)
    assert reading.idle_w == pytest.approx(60.0, rel=0.02)
    assert reading.power_w == pytest.approx(300.0, rel=0.02)
    assert reading.net_j == pytest.approx(240.0 * reading.window_s, rel=0.02)
    record = energy_record([reading], "cuda")
    assert record["energy_j"] == pytest.approx(300.0 * 0.02, rel=0.02)
    assert record["net_j"] == pytest.approx(240.0 * 0.02, rel=0.02)


def test_an_edge_beside_idle_is_biased_and_a_lead_in_cures_it() -> None:
    """A pause before the edge, as a synchronisation of another device would make it."""

    def mean_error(lead_in: bool) -> float:
        errors = []
        for seed in range(40):
            clock, law = FakeClock(1000.0 + random.Random(seed).random()), Schedule(0.0)
            fake = FakeBoard(law, clock)
            work = Work(clock, 0.01, 300.0, 0.0, law)
            if lead_in:
                for _ in range(20):
                    work()
            before = fake.energy_j()
            for _ in range(30):
                work()
            errors.append(((fake.energy_j() or 0.0) - (before or 0.0)) / 90.0 - 1.0)
        return statistics.fmean(errors)

    assert mean_error(lead_in=False) < -0.10
    assert abs(mean_error(lead_in=True)) < 0.03


def test_a_drifting_idle_is_flagged() -> None:
    clock = FakeClock()
    law = Ramp(50.0, 3.0, 1000.0)
    fake = FakeBoard(law, clock)
    rules = EnergyRules(window_s=5.0, idle_s=10.0)
    windows = Windows(nvml_meters(fake, rules, clock, FakeTimeline(fake)), rules, clock=clock)
    counter, power = windows.measure(Work(clock))
    assert "idle drifts" in counter.flags and "idle drifts" in power.flags
    assert counter.energy_j is not None, "noise is told, not removed"


def test_idle_is_measured_once_a_process() -> None:
    clock = FakeClock()
    fake = FakeBoard(Constant(200.0), clock)
    windows = Windows(nvml_meters(fake, RULES, clock, FakeTimeline(fake)), RULES, clock=clock)
    began = clock.now()
    windows.measure(Work(clock))
    first = clock.now() - began
    windows.measure(Work(clock))
    assert first - (clock.now() - began - first) == pytest.approx(RULES.idle_s + 2 * 3.0, abs=0.5)


# -------------------------------------------------------------------- flags


def flags_of(**board: Any) -> tuple[str, ...]:
    return read(Constant(200.0), **board)[0].flags


@pytest.mark.parametrize(
    ("bits", "flag"),
    [(0x8, "throttled"), (0x20, "throttled"), (0x40, "throttled"), (0x80, "throttled"), (0x4, "power cap")],
)
def test_a_clock_that_is_held_down_is_flagged(bits: int, flag: str) -> None:
    assert flags_of(state_of=lambda t: BoardState(reasons=bits)) == (flag,)


def test_idle_bits_and_bits_before_the_window_are_no_flag() -> None:
    assert flags_of(state_of=lambda t: BoardState(reasons=0x1)) == ()
    assert flags_of(state_of=lambda t: BoardState(reasons=0x8 if t < BEGAN - 1 else 0)) == ()


def test_temperature_and_clock_are_watched_inside_the_window() -> None:
    assert flags_of(state_of=lambda t: BoardState(sm_mhz=1980 if t < BEGAN + 5 else 1900)) == (
        "clock changed",
    )
    assert flags_of(state_of=lambda t: BoardState(sm_mhz=1980 if t < BEGAN + 5 else 1965)) == ()
    late = {"clock": FakeClock()}
    rising = flags_of(state_of=lambda t: BoardState(temperature_c=40.0 + 0.08 * (t - 1000.0)), **late)
    assert rising == (), "0.8 degrees in 10 s end the warm-up and are no drift"


def test_warm_up_lasts_until_the_temperature_stays_and_a_drift_is_flagged() -> None:
    def heating(t: float) -> BoardState:
        return BoardState(temperature_c=80.0 - 40.0 * math.exp(-(t - 1000.0) / 20.0))

    def run(**rules: float) -> tuple[Reading, float]:
        clock = FakeClock()
        reading = read(Constant(200.0), EnergyRules(idle_s=2.0, **rules), clock=clock, state_of=heating)[0]
        return reading, clock.now() - 1000.0

    warmed, long = run()
    cold, short = run(warm_most_s=0.0)
    assert "temperature drift" not in warmed.flags and "temperature drift" in cold.flags
    assert long > short + 40.0
    low, high = warmed.conditions["temperature_c"]
    assert high - low < 1.5


def test_a_foreign_process_is_flagged_and_this_one_is_not() -> None:
    assert flags_of(listed=[os.getpid()]) == ()
    assert flags_of(listed=[os.getpid(), 999]) == ("foreign process",)
    assert flags_of(listed=[]) == ()
    assert flags_of(listed=[999]) == (), "a container's own process under the host's number"
    assert flags_of(listed=[998, 999]) == ("foreign process",)


# -------------------------------------------------------------------- properties


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    watts=st.floats(20.0, 700.0),
    swing=st.floats(0.0, 0.95),
    period=st.floats(0.01, 3.0),
    lengths=st.lists(st.floats(1.0, 20.0), min_size=2, max_size=6),
)
def test_adjacent_windows_add_up(watts: float, swing: float, period: float, lengths: list[float]) -> None:
    """Each edge is one reading, so a sum of windows is the window of the sum, to the counter's last digit."""
    clock = FakeClock()
    law = Square(watts * (1.0 - swing), watts, period)
    fake = FakeBoard(law, clock)
    edges = [fake.energy_j() or 0.0]
    parts = []
    for seconds in lengths:
        counter = nvml_meters(fake, RULES, clock, FakeTimeline(fake))[0]
        counter.timeline.open()  # type: ignore[attr-defined]
        counter._edges = [(clock.now(), edges[-1])]  # type: ignore[attr-defined]
        clock.sleep(seconds)
        counter.stop()
        edges.append(counter._edges[-1][1])  # type: ignore[attr-defined]
        parts.append(counter.close(loaded=False).energy_j)
    assert None not in parts
    assert sum(part or 0.0 for part in parts) == pytest.approx(edges[-1] - edges[0], abs=1e-6)
    true_j = law.energy_j(clock.now()) - law.energy_j(1000.0)
    assert sum(part or 0.0 for part in parts) == pytest.approx(true_j, abs=2 * 0.1 * watts + 0.01)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    watts=st.floats(1e-4, 700.0),
    fault=st.sampled_from(["", "reset_at", "stuck_at", "lost_at", "counter_ends_at"]),
    after=st.floats(-20.0, 20.0),
    wrap=st.one_of(st.just(math.inf), st.floats(1.0, 1e6)),
)
def test_null_never_becomes_zero(watts: float, fault: str, after: float, wrap: float) -> None:
    for reading in read(Constant(watts), wrap_j=wrap, **({fault: BEGAN + after} if fault else {})):
        assert reading.energy_j is None or reading.energy_j > 0
        assert (reading.energy_j is None) == bool(reading.reason)
        assert (reading.power_w is None) == (reading.energy_j is None)
        if reading.energy_j is None:
            assert reading.call_j is None and reading.net_j is None
            assert energy_record([reading], "cuda")["energy_j"] is None
        elif reading.sensor == "nvml_counter":
            assert reading.energy_j == pytest.approx(
                watts * reading.window_s, rel=0.12, abs=0.1 * watts + 0.002
            )


@pytest.mark.parametrize("joules", [0.0, -1.0, math.nan])
def test_a_reading_refuses_what_is_no_reading(joules: float) -> None:
    with pytest.raises(ValueError, match="is no reading"):
        Reading("gpu", "nvml_counter", "measured", joules, 10.0)
    with pytest.raises(ValueError, match="needs a reason"):
        Reading("gpu", "nvml_counter", "measured", None, 10.0)


def test_known_ratio_of_the_same_work_once_and_twice() -> None:
    """Twice the work a call is twice the joules a call, however the window's length falls."""
    clock, law = FakeClock(), Schedule(50.0)
    fake = FakeBoard(law, clock)
    windows = Windows(nvml_meters(fake, RULES, clock, FakeTimeline(fake)), RULES, clock=clock)
    found = known_ratio(windows, Work(clock, 0.013, 320.0, 50.0, law))
    assert found == {
        "gpu nvml_counter": pytest.approx(2.0, rel=0.01),
        "gpu nvml_power": pytest.approx(2.0, rel=0.01),
    }


def test_a_known_ratio_of_a_sensor_that_fails_is_null() -> None:
    clock = FakeClock()
    fake = FakeBoard(Constant(200.0), clock, stuck_at=1001.0)
    windows = Windows(nvml_meters(fake, RULES, clock, FakeTimeline(fake)), RULES, clock=clock)
    found = known_ratio(windows, Work(clock, 0.013))
    assert found == {"gpu nvml_counter": None, "gpu nvml_power": pytest.approx(2.0, rel=0.01)}


def test_a_file_schedules_power(tmp_path: Path) -> None:
    path = tmp_path / "schedule"
    path.write_text(f"0 60\n{BEGAN - 1} 60\n{BEGAN + 2} 400\n{BEGAN + 6} 60\n{BEGAN + 8} 200\n")
    law = Schedule.of_file(path)
    counter, power = read(law)
    true_j = 2 * 60 + 4 * 400 + 2 * 60 + (counter.window_s - 8) * 200
    assert truth(law, counter, BEGAN) == pytest.approx(true_j)
    assert counter.energy_j == pytest.approx(true_j, abs=0.1 * 200)
    assert power.energy_j == pytest.approx(true_j, rel=0.02)
