"""Energy meters: one small class each behind one interface, and the window that reads them.

    meters = meters_for("cuda", uuid)                       # or meters_for("cpu"): never empty, never an error
    if sensors(meters):                                     # nothing measures: no window, no seconds spent
        windows = Windows(meters, EnergyRules(window_s=10), device.synchronize)      # once a process
        readings = windows.measure(call)                    # once a cell and workload
    energy_record(readings, "cuda")                         # or of missing(meters): nulls with their reasons

A record keeps all components; its `energy_j` is that of the device's own component alone, by its best sensor.
"""

from __future__ import annotations

from benchmarks.measure.meters.base import Meter, MeterError, Reading
from benchmarks.measure.meters.found import energy_record, meters_for, missing, sensors
from benchmarks.measure.meters.rules import EnergyRules
from benchmarks.measure.meters.windows import Windows, known_ratio, window

__all__ = [
    "EnergyRules", "Meter", "MeterError", "Reading", "Windows", "energy_record", "known_ratio", "meters_for",
    "missing", "sensors", "window",
]  # fmt: skip
