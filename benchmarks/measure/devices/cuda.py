"""An NVIDIA GPU: events on the working stream, the caching allocator's peak, the UUID of the board.

What NVML says (UUID, foreign processes) is asked without making a context, so that the parent of a round can
ask too; the framework is imported only where work is timed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from benchmarks.measure.devices import Device, Timer


class Adapter(Device):
    """One GPU: the current one of this process, or the one whose number follows a colon."""

    warm_s = 3.0
    #: Backward passes run in a thread of the device's own.
    busy_clock = staticmethod(time.process_time)

    def __init__(self, kind: str = "cuda") -> None:
        self.kind, _, number = kind.partition(":")
        self.index = int(number or 0)

    def synchronize(self) -> None:
        """Wait for all streams of the device."""
        import torch

        torch.cuda.synchronize(self.index)

    def timer(self) -> Timer:
        """Two events on the current stream, the device idle before the first."""
        return _Events(self.index)

    def high_water_bytes(self, call: Callable[[], Any]) -> int | None:
        """The most bytes that the caching allocator had given out during one call."""
        import torch

        self.synchronize()
        torch.cuda.reset_peak_memory_stats(self.index)
        call()
        self.synchronize()
        return int(torch.cuda.max_memory_allocated(self.index))

    def identity(self) -> dict[str, Any]:
        """Name, UUID, driver and power limit, as NVML tells them; nulls where it does not."""
        return {
            "kind": self.kind,
            "name": None,
            "uuid": self._visible,
            "driver": None,
            "power_limit_w": None,
        } | {name: value for name, value in self._told.items() if name != "pids"}

    def facts(self) -> dict[str, Any]:
        """Rows of two boards, drivers or power limits are not joined."""
        told = self.identity()
        named = {"gpu": "name", "gpu_uuid": "uuid", "driver": "driver", "power_limit_w": "power_limit_w"}
        return {name: told[key] for name, key in named.items()}

    def environment(self) -> dict[str, str]:
        """The board by its UUID: numbers of boards differ between NVML and CUDA."""
        return {"CUDA_VISIBLE_DEVICES": self.lease} if self.lease.startswith(("GPU-", "MIG-")) else {}

    def foreign_processes(self) -> list[int] | None:
        """Processes with a context on the board that are not this one."""
        pids = self._ask().get("pids")
        return None if pids is None else [pid for pid in pids if pid != os.getpid()]

    @property
    def _visible(self) -> str:
        """What CUDA_VISIBLE_DEVICES names at this place: a UUID, a number, or "" where all are visible."""
        named = [
            part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()
        ]
        return named[self.index] if self.index < len(named) else ""

    @cached_property
    def _told(self) -> dict[str, Any]:
        return self._ask()

    def _ask(self) -> dict[str, Any]:
        """What NVML says of the board; empty without NVML."""
        from benchmarks.measure.meters.base import MeterError
        from benchmarks.measure.meters.nvml import nvml

        try:
            lib = nvml()
        except MeterError:
            return {}
        try:
            return _facts(lib, _handle(lib, self._visible, self.index))
        except lib.NVMLError:
            return {}


class _Events:
    """A pair of events on the stream that works."""

    def __init__(self, index: int) -> None:
        import torch

        self._cuda, self._index = torch.cuda, index
        self._marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def start(self) -> None:
        """Wait until the device is idle, then mark the beginning."""
        self._cuda.synchronize(self._index)
        self._marks[0].record()

    def stop(self) -> float:
        """Mark the end and wait for it; returns seconds (events tell milliseconds)."""
        self._marks[1].record()
        self._marks[1].synchronize()
        return float(self._marks[0].elapsed_time(self._marks[1])) / 1000.0


def _handle(pynvml: Any, visible: str, index: int) -> Any:
    """NVML counts boards in another order than CUDA may: by UUID where one is named."""
    if visible.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(visible)
    return pynvml.nvmlDeviceGetHandleByIndex(int(visible) if visible.isdigit() else index)


def _facts(pynvml: Any, handle: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": _text(pynvml.nvmlDeviceGetName(handle))}
    asked: dict[str, Callable[[], Any]] = {
        "uuid": lambda: _text(pynvml.nvmlDeviceGetUUID(handle)),
        "driver": lambda: _text(pynvml.nvmlSystemGetDriverVersion()),
        "power_limit_w": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000.0,
        "pids": lambda: [one.pid for one in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)],
    }
    for name, ask in asked.items():
        try:
            found[name] = ask()
        except pynvml.NVMLError:
            continue
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
