"""What the machine did while a round ran: recorded beside every visit, gating nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None


def _cpu_ticks() -> tuple[float, float] | None:
    """(busy, steal) seconds of all processors since boot."""
    text = _read("/proc/stat")
    if text is None:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, text.splitlines()[0].split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq + steal) / tick, steal / tick


class Watch:
    """Others' share of the CPU, steal, load, pressure and free memory over a stretch of time.

    What /proc would tell is null on systems without it.
    """

    def __init__(self) -> None:
        self._began = (time.perf_counter(), time.process_time(), _cpu_ticks())

    def stop(self) -> dict[str, Any]:
        """The state since the watch began."""
        wall, own, ticks = self._began
        seconds = max(time.perf_counter() - wall, 1e-9)
        used = time.process_time() - own
        now = _cpu_ticks()
        others = steal = None
        if ticks and now:
            others = max(0.0, (now[0] - ticks[0] - used) / seconds)
            steal = (now[1] - ticks[1]) / seconds
        return {
            "others_cores": None if others is None else round(others, 4),
            "steal_share": None if steal is None else round(steal, 4),
            "load": round(os.getloadavg()[0], 2),
            "pressure": (_read("/proc/pressure/cpu") or "").splitlines()[:1] or None,
            "free_bytes": _free_bytes(),
        }


def _free_bytes() -> int | None:
    for line in (_read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return None


def high_water_bytes(call: Callable[[], Any]) -> int | None:
    """The process's peak resident size during one call, reset before it; null where /proc cannot reset it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    call()
    for line in (_read("/proc/self/status") or "").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return None
