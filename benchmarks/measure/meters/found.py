"""What this machine can measure: a meter of each component, or the reason and the remedy where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure.meters.base import Meter, MeterError, Reading
from benchmarks.measure.meters.load_model import LoadModel
from benchmarks.measure.meters.none import NoMeter
from benchmarks.measure.meters.nvml import open_board
from benchmarks.measure.meters.nvml_meters import nvml_meters
from benchmarks.measure.meters.rapl import POWERCAP, rapl_meters
from benchmarks.measure.meters.rules import EnergyRules

#: The component that a kind of device is; its joules are the visit's.
COMPONENT = {"cpu": "cpu_package", "cuda": "gpu"}
#: Sensors from the best on; a modelled number is never the visit's.
SENSORS = ("nvml_counter", "nvml_power", "rapl")


def meters_for(
    kind: str, uuid: str = "", rules: EnergyRules | None = None, powercap: Path = POWERCAP
) -> list[Meter]:
    """The meters for work of this process on one device. Never empty; what is missing says why.

    Args:
        kind: of the device, as a plan names it: `cpu`, `cuda`.
        uuid: of the device, as its adapter tells it.
        rules: of the windows to come.
        powercap: where the kernel shows RAPL.
    """
    rules = rules or EnergyRules()
    found: list[Meter] = []
    if kind.partition(":")[0] == "cuda":
        try:
            found += nvml_meters(open_board(uuid), rules)
        except MeterError as error:
            found.append(NoMeter("gpu", str(error)))
    return [*found, *rapl_meters(powercap, rules=rules), LoadModel()]


def sensors(meters: Sequence[Meter]) -> list[Meter]:
    """Those that measure; a window without any of them is not worth its seconds."""
    return [meter for meter in meters if meter.basis == "measured" and not isinstance(meter, NoMeter)]


def missing(meters: Sequence[Meter]) -> list[Reading]:
    """The readings of a machine on which no window was opened: nulls with their reasons."""
    return [
        meter.null(meter.reason if isinstance(meter, NoMeter) else "no window: no sensor on this machine")
        for meter in meters
    ]


def energy_record(readings: Sequence[Reading], kind: str) -> dict[str, Any]:
    """The energy part of a visit.

    Args:
        readings: of one window.
        kind: of the device that was measured.

    Returns:
        `energy_j` (joules a call of the device's component, idle included), `net_j`, `energy_sensor`, `reason`,
        `flags`, and all readings by component. A counter that is there and has failed makes the number null: the
        next best sensor stands beside it, since rows of two sensors are never compared.
    """
    component = COMPONENT.get(kind.partition(":")[0], kind)
    of_device = [reading for reading in readings if reading.component == component]
    able = [reading for reading in of_device if reading.sensor in SENSORS]
    best = min(able, key=lambda reading: SENSORS.index(reading.sensor), default=None)
    if best is None:
        reasons = [reading.reason for reading in of_device if reading.sensor == "none"]
        reason = reasons[0] if reasons else f"no sensor for the component {component}"
        head: dict[str, Any] = {"energy_j": None, "energy_sensor": "none", "reason": reason, "flags": []}
    else:
        head = {
            "energy_j": best.call_j,
            "energy_sensor": best.sensor,
            "reason": best.reason,
            "flags": list(best.flags),
            "net_j": best.net_j / best.calls if best.net_j is not None and best.calls else None,
        }
    return {"component": component, "net_j": None, **head, "readings": [one.as_dict() for one in readings]}
