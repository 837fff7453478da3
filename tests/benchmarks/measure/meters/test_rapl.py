"""RAPL against a tree as the kernel shows it: apart, wrapped, stuck, reset, forbidden."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.measure.meters import EnergyRules, MeterError, Windows
from benchmarks.measure.meters.none import NoMeter
from benchmarks.measure.meters.rapl import Rapl, Zone, rapl_meters
from tests.benchmarks.measure.meters.fakes import FakeClock, Work

RANGE_UJ = 262_143_328_850


class TreeClock(FakeClock):
    """A clock that writes the counters as time passes: every reading of it costs 0.2 ms, ticks are 1 ms."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.counters: dict[Path, Callable[[float], float]] = {}
        self._written: dict[Path, int] = {}

    def now(self) -> float:
        self.sleep(2e-4)
        return super().now()

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        tick = int(self._now * 1000 + 1e-6) / 1000
        for path, microjoules in self.counters.items():
            value = int(microjoules(tick))
            if self._written.get(path) != value:
                path.write_text(f"{value}\n")
                self._written[path] = value


def zone(root: Path, place: str, name: str, clock: TreeClock, microjoules: Callable[[float], float]) -> Path:
    folder = root / place
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    clock.counters[folder / "energy_uj"] = microjoules
    clock.sleep(0.0)
    return folder


def socket(root: Path, clock: TreeClock, number: int, watts: float, start_uj: float = 0.0) -> None:
    place = f"intel-rapl:{number}"
    zone(root, place, f"package-{number}", clock, lambda t: (start_uj + watts * t * 1e6) % RANGE_UJ)
    zone(root, f"{place}/{place}:0", "core", clock, lambda t: 0.8 * watts * t * 1e6)
    zone(root, f"{place}/{place}:1", "dram", clock, lambda t: 0.1 * watts * t * 1e6)


def read(root: Path, clock: TreeClock, seconds: float = 2.0) -> dict[str, float | None]:
    found = {}
    for meter in rapl_meters(root, clock=clock):
        meter.open()
        meter.start()
        clock.sleep(seconds)
        meter.stop()
        found[meter.component] = meter.close().power_w
    return found


def test_package_and_dram_are_read_apart_and_core_is_not_added(tmp_path: Path) -> None:
    clock = TreeClock()
    socket(tmp_path, clock, 0, 50.0)
    assert read(tmp_path, clock) == {
        "cpu_package": pytest.approx(50.0, rel=1e-4),
        "dram": pytest.approx(5.0, rel=1e-4),
    }


def test_sockets_add_up_and_psys_does_not(tmp_path: Path) -> None:
    clock = TreeClock()
    socket(tmp_path, clock, 0, 50.0)
    socket(tmp_path, clock, 1, 70.0)
    zone(tmp_path, "intel-rapl:2", "psys", clock, lambda t: 300e6 * t)
    assert read(tmp_path, clock)["cpu_package"] == pytest.approx(120.0, rel=1e-3)


def test_the_flat_view_of_the_kernel_counts_nothing_twice(tmp_path: Path) -> None:
    """Under class/powercap every zone is a link of its own, the nested ones too."""
    clock = TreeClock()
    devices, flat = tmp_path / "devices", tmp_path / "class"
    socket(devices, clock, 0, 50.0)
    flat.mkdir()
    (flat / "intel-rapl:0").symlink_to(devices / "intel-rapl:0")
    (flat / "intel-rapl:0:1").symlink_to(devices / "intel-rapl:0" / "intel-rapl:0:1")
    (meter,) = [meter for meter in rapl_meters(flat, clock=clock) if meter.component == "dram"]
    assert isinstance(meter, Rapl) and len(meter.zones) == 1


def test_a_wrap_is_handled(tmp_path: Path) -> None:
    clock = TreeClock()
    socket(tmp_path, clock, 0, 50.0, start_uj=RANGE_UJ - 20e6)
    assert read(tmp_path, clock)["cpu_package"] == pytest.approx(50.0, rel=1e-4)


def test_a_reset_is_no_wrap(tmp_path: Path) -> None:
    clock = TreeClock()
    zone(tmp_path, "intel-rapl:0", "package-0", clock, lambda t: 90e9 + 50e6 * t if t < 1.0 else 50e6 * t)
    with pytest.raises(MeterError, match="went back"):
        read(tmp_path, clock)


def test_a_counter_that_stands_still_is_null(tmp_path: Path) -> None:
    clock = TreeClock()
    zone(tmp_path, "intel-rapl:0", "package-0", clock, lambda t: 1e9)
    with pytest.raises(MeterError, match="stood still for 2.* s"):
        read(tmp_path, clock)


def test_both_edges_are_ticks(tmp_path: Path) -> None:
    """Unaligned, a window of 20 ms errs by up to a tick an edge (10 %); aligned it is exact."""
    clock = TreeClock()
    socket(tmp_path, clock, 0, 50.0)
    for offset in (0.0, 0.0003, 0.0007):
        clock.sleep(offset)
        assert read(tmp_path, clock, seconds=0.02)["cpu_package"] == pytest.approx(50.0, rel=0.005)


def test_a_slow_counter_is_read_and_flagged(tmp_path: Path) -> None:
    clock = TreeClock()
    zone(tmp_path, "intel-rapl:0", "package-0", clock, lambda t: 50e6 * int(t))
    meter = rapl_meters(tmp_path, clock=clock)[0]
    meter.start()
    clock.sleep(3.0)
    meter.stop()
    assert "not aligned" in meter.close().flags


def test_a_permission_error_tells_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = TreeClock()
    socket(tmp_path, clock, 0, 50.0)

    def forbidden(self: Path, *args: object, **kwargs: object) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return original(self)

    original = Path.read_text
    monkeypatch.setattr(Path, "read_text", forbidden)
    found = rapl_meters(tmp_path)
    assert [type(meter) for meter in found] == [NoMeter, NoMeter]
    for meter in found:
        with pytest.raises(MeterError, match=r"no permission to read .*sudo chmod a\+r"):
            meter.close()


def test_no_rapl_and_no_dram_say_why(tmp_path: Path) -> None:
    (none,) = rapl_meters(tmp_path)
    assert isinstance(none, NoMeter) and "virtual machine" in none.reason
    clock = TreeClock()
    zone(tmp_path, "intel-rapl:0", "package-0", clock, lambda t: 50e6 * t)
    package, dram = rapl_meters(tmp_path, clock=clock)
    assert isinstance(package, Rapl)
    assert isinstance(dram, NoMeter) and "dram" in dram.reason


def test_a_zone_that_goes_is_a_null(tmp_path: Path) -> None:
    with pytest.raises(MeterError, match="cannot be read"):
        Zone(tmp_path / "gone").energy_uj()


def test_a_window_of_the_protocol(tmp_path: Path) -> None:
    clock = TreeClock()
    socket(tmp_path, clock, 0, 50.0)
    rules = EnergyRules(window_s=5.0, idle_s=2.0)
    package, dram = Windows(rapl_meters(tmp_path, rules, clock), rules, clock=clock).measure(
        Work(clock, 0.05)
    )
    assert package.power_w == pytest.approx(50.0, rel=1e-3) and package.flags == ()
    assert dram.power_w == pytest.approx(5.0, rel=1e-3)
    assert package.idle_w == pytest.approx(50.0, rel=1e-3)
    assert package.net_j == pytest.approx(0.0, abs=0.5)
