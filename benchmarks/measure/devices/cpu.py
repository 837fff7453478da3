"""The processor: its clocks are the process's own, its memory is the process's resident size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.host import cpu_name
from benchmarks.measure.allocator import return_freed_memory
from benchmarks.measure.devices import Device
from benchmarks.measure.machine import high_water_bytes


class Adapter(Device):
    """The processor, one thread of it."""

    def __init__(self, kind: str = "cpu") -> None:
        self.kind = kind

    def synchronize(self) -> None:
        """A call of the processor is done when it returns."""

    def identity(self) -> dict[str, Any]:
        """A processor has a name and no UUID: a round holds the whole machine."""
        return {"kind": self.kind, "name": cpu_name(), "uuid": ""}

    def high_water_bytes(self, call: Callable[[], Any]) -> int | None:
        """The process's peak resident size; what earlier calls have freed is handed back first."""
        return_freed_memory()
        return high_water_bytes(call)
