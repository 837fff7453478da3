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


def preflight() -> dict[str, Any]:
    """What is known before a round begins: recorded, gating nothing; null where the system does not tell."""
    return {
        "governor": (_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "").strip() or None,
        "hypervisor": None if (info := _read("/proc/cpuinfo")) is None else " hypervisor" in info,
        "container": container(),
        "cpu_quota_cores": cpu_quota_cores(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "load": round(os.getloadavg()[0], 2),
        "free_bytes": _free_bytes(),
    }


def container() -> str | None:
    """The kind of container that this process runs in, as far as it can be told; None outside of one."""
    for mark, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if Path(mark).exists():
            return name
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    groups = _read("/proc/1/cgroup") or ""
    return next((name for name in ("kubepods", "docker", "lxc") if name in groups), None)


def cpu_quota_cores() -> float | None:
    """Cores that the control group may use; None without a limit. A quota takes the processor away in slices."""
    quota, _, period = (_read("/sys/fs/cgroup/cpu.max") or "max").strip().partition(" ")
    return None if quota == "max" else round(int(quota) / int(period or 100_000), 3)


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
