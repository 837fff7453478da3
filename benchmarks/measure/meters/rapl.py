"""RAPL: the processor's own estimate of its energy, as Linux shows it under powercap.

    intel-rapl:0/            name package-0   energy_uj   max_energy_range_uj
    intel-rapl:0/intel-rapl:0:2/   name dram

Package and DRAM are read apart; packages of several sockets add up. `core` and `uncore` are parts of the package,
`psys` contains it: neither is added. The counter ticks about every millisecond and wraps at its range.

Khan, Hirki, Niemi, Nurminen, Ou: "RAPL in Action" (ACM TOMPECS 2018): update interval, wrap-around, accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.meters.base import Clock, Meter, MeterError, Reading, SystemClock
from benchmarks.measure.meters.none import NoMeter
from benchmarks.measure.meters.rules import EnergyRules

#: Where the kernel shows its energy counters.
POWERCAP = Path("/sys/class/powercap")
#: The counter changes about every millisecond.
TICK_S = 0.001
#: A tick that has not come after this long will not be waited for.
_LONGEST_TICK_S = 0.05
#: No socket takes more: a counter that went back and would have to has been reset, not wrapped.
_MOST_W = 2000.0


@dataclass(frozen=True)
class Zone:
    """One energy counter of the kernel."""

    folder: Path

    @property
    def name(self) -> str:
        """`package-0`, `dram`, `core`, `uncore`, `psys`; "" where it cannot be read."""
        try:
            return (self.folder / "name").read_text().strip()
        except OSError:
            return ""

    def energy_uj(self) -> int:
        """Microjoules since some moment.

        Raises:
            MeterError: no permission, or the zone is gone.
        """
        try:
            return int((self.folder / "energy_uj").read_text())
        except PermissionError:
            raise MeterError(
                f"no permission to read {self.folder}/energy_uj: "
                f"sudo chmod a+r {self.folder.parent}/*/energy_uj (until the next boot)"
            ) from None
        except (OSError, ValueError) as error:
            raise MeterError(f"{self.folder}/energy_uj cannot be read: {error}") from None

    def range_uj(self) -> int | None:
        """Where the counter wraps; None where the kernel does not tell."""
        try:
            return int((self.folder / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            return None


class Rapl(Meter):
    """The counters of one component, summed over sockets.

    Args:
        component: `cpu_package` or `dram`.
        zones: one a socket.
        rules: of the window.
        clock: tests bring their own.
    """

    sensor = "rapl"
    refresh_s = TICK_S

    def __init__(
        self,
        component: str,
        zones: Sequence[Zone],
        rules: EnergyRules | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.component, self.zones = component, list(zones)
        self.rules, self.clock = rules or EnergyRules(), clock or SystemClock()
        self._edges: list[tuple[float, list[int], bool]] = []

    def open(self) -> None:
        """Forget the window before."""
        self._edges = []

    def start(self) -> None:
        """The next tick's counters."""
        self._edges = [self._edge()]

    def stop(self) -> None:
        """The next tick's counters."""
        self._edges.append(self._edge())

    def close(self, loaded: bool = True) -> Reading:
        """Joules between both edges, wraps handled."""
        if len(self._edges) != 2:
            raise MeterError("the window was not closed")
        (began, first, aligned), (ended, last, aligned_too) = self._edges
        window_s = ended - began
        joules = 0.0
        for zone, before, after in zip(self.zones, first, last, strict=True):
            joules += self._delta_uj(zone, before, after, window_s) * 1e-6
        flags = () if aligned and aligned_too else ("not aligned",)
        return Reading(
            self.component, self.sensor, self.basis, joules, window_s, flags=flags, refresh_s=self.refresh_s,
            conditions={"zones": [zone.name for zone in self.zones]},
        )  # fmt: skip

    def _edge(self) -> tuple[float, list[int], bool]:
        """(time, counters, aligned): read until the first socket's counter changes, at most 50 ms."""
        before = self.zones[0].energy_uj()
        limit = self.clock.now() + _LONGEST_TICK_S
        while True:
            values = [zone.energy_uj() for zone in self.zones]
            now = self.clock.now()
            if values[0] != before or now >= limit:
                return now, values, values[0] != before

    def _delta_uj(self, zone: Zone, before: int, after: int, window_s: float) -> int:
        """Microjoules from one reading to the next.

        Raises:
            MeterError: the counter stood still, or went back and nobody knows where it wraps.
        """
        if after == before and window_s > self.rules.stuck_refreshes * self.refresh_s:
            raise MeterError(f"the RAPL counter {zone.name} stood still for {window_s:.2g} s")
        if after > before:
            return after - before
        limit = zone.range_uj()
        if limit is None or not 0 < after - before + limit <= _MOST_W * window_s * 1e6:
            raise MeterError(f"the RAPL counter {zone.name} went back, and not because it wrapped")
        return after - before + limit


def rapl_meters(
    root: Path = POWERCAP, rules: EnergyRules | None = None, clock: Clock | None = None
) -> list[Meter]:
    """Package and DRAM apart; each missing one with its reason and remedy. Never empty.

    Args:
        root: the kernel's powercap folder; tests bring their own tree.
        rules: of the windows.
        clock: tests bring their own.
    """
    zones = [Zone(path.parent) for path in sorted(root.glob("intel-rapl:*/energy_uj"))]
    zones += [Zone(path.parent) for path in sorted(root.glob("intel-rapl:*/intel-rapl:*/energy_uj"))]
    if not zones:
        return [
            NoMeter(
                "cpu_package",
                f"no RAPL under {root}: a virtual machine or container shows none, "
                "on a machine of your own load the module intel_rapl_msr",
            )
        ]
    found: list[Meter] = []
    for component, start in (("cpu_package", "package"), ("dram", "dram")):
        # the flat view of the kernel shows each zone beside its nested place: one folder a real zone
        own = list({zone.folder.resolve(): zone for zone in zones if zone.name.startswith(start)}.values())
        found.append(_rapl_meter(component, own, rules, clock))
    return found


def _rapl_meter(component: str, zones: list[Zone], rules: EnergyRules | None, clock: Clock | None) -> Meter:
    if not zones:
        return NoMeter(component, f"this processor's RAPL has no counter of {component}")
    try:
        for zone in zones:
            zone.energy_uj()
    except MeterError as error:
        return NoMeter(component, str(error), "rapl")
    return Rapl(component, zones, rules, clock)
