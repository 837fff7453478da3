"""CodeCarbon's model of a processor: its table of design powers and the load of this process. Modelled, no sensor.

    energy = TDP x (CPU seconds of this process / threads of the machine)

Lottick, Susai, Friedler, Wilson: "Energy Usage Reports: Environmental awareness as part of algorithmic
accountability" (2019), as CodeCarbon 3.3 computes it with `tracking_mode="process"`: TDP from its table of 2,000
processors, 4 W a thread where the table does not know the processor. Deviation: CPU time comes from the process's
own clock (nanoseconds, threads included, children not) instead of psutil's ticks of 10 ms.

It is a constant times CPU time, so it can say nothing that CPU time does not say: it enters no front and no claim.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from benchmarks.measure.meters.base import Meter, MeterError, Reading


@dataclass(frozen=True)
class Processor:
    """What the model knows of a processor.

    Attributes:
        name: as the system tells it.
        tdp_w: design power of the whole chip in watts.
        threads: of the machine, as this process sees them.
        known: False where the table does not have it and the power is threads times a default.
    """

    name: str
    tdp_w: float
    threads: int
    known: bool

    @property
    def thread_w(self) -> float:
        """Watts of a thread that is busy all the time."""
        return self.tdp_w / self.threads


@cache
def processor() -> Processor:
    """This machine's processor in CodeCarbon's table. Imports CodeCarbon (seconds), so ask late.

    Raises:
        MeterError: CodeCarbon is missing, or knows no power for it.
    """
    try:
        from codecarbon.core.cpu import TDP
        from codecarbon.core.util import count_cpus
    except ImportError:
        raise MeterError("the package codecarbon is missing: make setup") from None
    logger = logging.getLogger("codecarbon")
    level = logger.level
    logger.setLevel(logging.ERROR)  # an unknown processor is told by our own flag
    try:
        found = TDP()
        known = found.tdp is not None and bool(found._get_cpu_power_from_registry(found.model))
    finally:
        logger.setLevel(level)
    if not found.tdp:
        raise MeterError(f"CodeCarbon knows no design power of the processor {found.model!r}")
    return Processor(str(found.model), float(found.tdp), int(count_cpus()), known)


class LoadModel(Meter):
    """CPU time of this process times the power of a busy thread.

    Args:
        find: the processor; tests bring their own.
        clocks: wall and process CPU seconds.
    """

    component, sensor, basis = "cpu_package", "tdp_load_model", "modelled"

    def __init__(
        self,
        find: Callable[[], Processor] = processor,
        clocks: tuple[Callable[[], float], Callable[[], float]] = (time.monotonic, time.process_time),
    ) -> None:
        self._find, self._clocks = find, clocks
        self._edges: list[tuple[float, float]] = []

    def open(self) -> None:
        """Look the processor up before the window: the import takes seconds of CPU."""
        self._edges = []
        self._find()

    def start(self) -> None:
        """Both clocks."""
        self._edges = [self._now()]

    def stop(self) -> None:
        """Both clocks again."""
        self._edges.append(self._now())

    def close(self, loaded: bool = True) -> Reading:
        """Watts of a busy thread times CPU seconds."""
        if len(self._edges) != 2:
            raise MeterError("the window was not closed")
        (began, cpu_before), (ended, cpu_after) = self._edges
        found = self._find()
        joules = found.thread_w * (cpu_after - cpu_before)
        if joules <= 0:
            raise MeterError("the process used no CPU time")
        return Reading(
            self.component,
            self.sensor,
            self.basis,
            joules,
            ended - began,
            flags=() if found.known else ("design power assumed",),
            conditions={"processor": found.name, "tdp_w": found.tdp_w, "threads": found.threads},
        )

    def _now(self) -> tuple[float, float]:
        wall, cpu = self._clocks
        return wall(), cpu()
