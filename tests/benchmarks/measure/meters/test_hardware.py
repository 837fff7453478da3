"""The sensors of this very machine, where it has any; skipped with the reason elsewhere."""

from __future__ import annotations

import time

import pytest

from benchmarks.measure.meters import EnergyRules, Meter, Windows, energy_record, known_ratio, meters_for
from benchmarks.measure.meters.none import NoMeter

#: Windows as short as the protocol allows, idle in short.
RULES = EnergyRules(window_s=5.0, idle_s=2.0, warm_s=3.0)


def of_component(kind: str, component: str) -> list[Meter]:
    found = [
        meter for meter in meters_for(kind) if meter.component == component and meter.basis == "measured"
    ]
    for meter in found:
        if isinstance(meter, NoMeter):
            pytest.skip(meter.reason)
    return found


def spin() -> None:
    """10 ms of a busy thread."""
    end = time.perf_counter() + 0.01
    while time.perf_counter() < end:
        pass


@pytest.mark.slow
def test_rapl_sees_a_busy_thread() -> None:
    (package,) = of_component("cpu", "cpu_package")
    (reading,) = Windows([package], RULES).measure(spin)
    assert reading.energy_j is not None, reading.reason
    assert reading.power_w is not None and 0.5 < reading.power_w < 2000.0
    assert reading.idle_w is not None and reading.power_w > 0.9 * reading.idle_w


@pytest.mark.gpu
@pytest.mark.slow
def test_a_real_board_agrees_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Counter and averaged power within 10 %, twice the work twice the joules, more power than at rest."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    meters = of_component("cuda", "gpu")
    a = torch.randn(4096, 4096, device="cuda")
    windows = Windows(meters, RULES, torch.cuda.synchronize)
    readings = windows.measure(lambda: a @ a)
    counter = readings[0]
    with capsys.disabled():
        print({reading.sensor: (reading.power_w, reading.idle_w, reading.flags) for reading in readings})
    assert counter.sensor == "nvml_counter" and counter.energy_j is not None, counter.reason
    assert counter.integral_j == pytest.approx(counter.energy_j, rel=0.10)
    assert counter.idle_w is not None and (counter.power_w or 0.0) > counter.idle_w
    assert energy_record(readings, "cuda")["energy_j"] == counter.call_j
    assert known_ratio(windows, lambda: a @ a)["gpu nvml_counter"] == pytest.approx(2.0, rel=0.05)
