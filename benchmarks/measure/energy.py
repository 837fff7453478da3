"""Joules of a round's entries: a window on a sensor each, modelled joules beside them and never in their place."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.digests import ROOT, digest
from benchmarks.host import cpu_name
from benchmarks.measure.devices import Device
from benchmarks.measure.meters import (
    EnergyRules,
    Meter,
    Reading,
    Windows,
    energy_record,
    meters_for,
    missing,
    sensors,
)
from benchmarks.records import read_json, write_json


@dataclass
class RoundEnergy:
    """The meters of a round and one window for each entry; without a sensor nulls with the reason, at no cost.

    Attributes:
        kind: of the device.
        meters: those that measure, or say why not.
        thread_w: watts of a busy thread by CodeCarbon's model; None where there is no model.
        windows: None where nothing measures or the plan asks for no window.
    """

    kind: str
    meters: list[Meter]
    thread_w: float | None = None
    windows: Windows | None = None

    @property
    def holds_windows(self) -> bool:
        """True where work must go on for a window."""
        return self.windows is not None

    def of_work(self, work: Callable[[], Any], cpu_s: float) -> dict[str, Any]:
        """Joules of one call, as they stand in a visit's form.

        Args:
            work: one call; it may return before the device is done.
            cpu_s: CPU seconds of this process for one call.
        """
        readings = self.windows.measure(work) if self.windows else missing(self.meters)
        return self._fields(readings) | {
            "modelled_energy_j": None if self.thread_w is None else self.thread_w * cpu_s
        }

    def _fields(self, readings: list[Reading]) -> dict[str, Any]:
        found = energy_record(readings, self.kind)
        return {
            "energy_j": found["energy_j"],
            "net_energy_j": found["net_j"],
            "energy_sensor": found["energy_sensor"],
            "energy_reason": found["reason"],
            "energy_flags": found["flags"],
            "energy_readings": found["readings"] if self.windows else None,
        }

    def summary(self, forms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The visit's own energy: that of its most frugal form; what was modelled stands apart."""
        able = [form for form in forms.values() if form.get("energy_j") is not None]
        best = min(able, key=lambda form: float(form["energy_j"]), default=None)
        chosen = best or next(iter(forms.values()), None) or self._fields(missing(self.meters))
        return {
            "energy_j": chosen["energy_j"],
            "energy_sensor": chosen["energy_sensor"],
            "reason": chosen["energy_reason"],
            "rules": self.windows.rules.as_dict() if self.windows else None,
            "modelled": {"sensor": "tdp_load_model", "basis": "modelled", "thread_w": self.thread_w},
        }


def energy_of_round(device: Device, window_s: float, cache: Path) -> RoundEnergy:
    """The meters for a device.

    Args:
        device: that is measured.
        window_s: of work between two readings; 0 asks for no window.
        cache: a folder for what is slow to find out and never changes.
    """
    rules = EnergyRules(window_s=window_s)
    identity = device.identity()
    # the model needs no window: it is CPU time times a constant
    meters = [one for one in meters_for(identity["kind"], identity["uuid"], rules) if one.basis == "measured"]
    able = bool(sensors(meters)) and window_s > 0
    windows = Windows(meters, rules, device.synchronize) if able else None
    return RoundEnergy(identity["kind"], meters, modelled_thread_w(cache), windows)


def modelled_thread_w(cache: Path) -> float | None:
    """Watts of a busy thread of this processor by CodeCarbon's table; None without CodeCarbon.

    Looked up in a process of its own, once a processor: the import takes a second and fills this process's memory.
    """
    if find_spec("codecarbon") is None:
        return None
    path = cache / f"processor-{digest([cpu_name(), 1])}.json"
    known = read_json(path)
    if known is None:
        child = subprocess.run([sys.executable, "-m", __name__], capture_output=True, text=True, cwd=ROOT)
        if child.returncode:
            return None
        known = json.loads(child.stdout)
        write_json(path, known)
    return float(known["thread_w"])


def main() -> int:
    """Print what CodeCarbon's model knows of this processor."""
    from benchmarks.measure.meters import MeterError
    from benchmarks.measure.meters.load_model import processor

    try:
        found = processor()
    except MeterError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        json.dumps(
            {"name": found.name, "tdp_w": found.tdp_w, "thread_w": found.thread_w, "known": found.known}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
