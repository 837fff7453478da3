"""Devices that are measured: one adapter a kind, in a module of that kind's name. Measuring code names none of them.

A new kind is one file here, named as the framework names the device, with a class `Adapter(Device)`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol


class Timer(Protocol):
    """Time as the device itself takes it, between two marks on the stream that works."""

    def start(self) -> None:
        """Put the first mark on the stream."""

    def stop(self) -> float:
        """Put the second mark, wait for it; returns the seconds between both."""


class Device(ABC):
    """What measuring needs to know of a device.

    Attributes:
        kind: as a plan names it: `cpu`, `cuda`.
        busy_clock: CPU time of whatever drives the device; less of it than wall time means that it was pre-empted.
        warm_s: seconds of work before the first sample; 0 where nothing has to heat up.
    """

    kind: str = ""
    warm_s: float = 0.0
    busy_clock: Callable[[], float] = staticmethod(time.thread_time)

    @abstractmethod
    def synchronize(self) -> None:
        """Return when all work that was handed to the device is done."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """`kind`, `name`, `uuid` ("" where there is none) and what else tells two devices apart."""

    def timer(self) -> Timer | None:
        """The device's own time, or None where the clocks of the processor are its time."""
        return None

    def high_water_bytes(self, call: Callable[[], Any]) -> int | None:
        """The most memory that was in use during one call, the mark reset before it; None where nobody can say."""
        return None

    def foreign_processes(self) -> list[int] | None:
        """Ids of other processes at work on the device; None where nobody can say. They gate a round."""
        return None

    def environment(self) -> dict[str, str]:
        """Variables with which a process sees this device and no other of its kind."""
        return {}

    def facts(self) -> dict[str, Any]:
        """What a visit's environment says of the device beside the processor."""
        return {}

    @property
    def lease(self) -> str:
        """What a round holds for itself alone: a device by its UUID, or "" for the whole machine."""
        return str(self.identity()["uuid"])


def open_device(kind: str) -> Device:
    """The adapter of a kind of device.

    Raises:
        SystemExit: there is no adapter, or no such device on this machine.
    """
    try:
        module = import_module(f"{__name__}.{kind.partition(':')[0]}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{kind.partition(':')[0]}":
            raise
        raise SystemExit(f"device {kind!r}: there is no benchmarks/measure/devices/{kind}.py") from None
    adapter: Device = module.Adapter(kind)
    return adapter
