"""What every meter is, and what it hands back: joules between two edges, or null with a reason.

open        start                          stop         close
 |  lead-in  |<------------ window ----------->| lead-out |
 |  work     |  work, counted calls            |  work    |
             one reading                one reading        -> Reading
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class MeterError(Exception):
    """A sensor did not answer, or not as it should; the text is the reason that stands beside the null."""


class Clock(Protocol):
    """Seconds that all processes of this machine share, and waiting; tests bring their own."""

    def now(self) -> float:
        """Monotonic seconds."""

    def sleep(self, seconds: float) -> None:
        """Let time pass without work."""


class SystemClock:
    """CLOCK_MONOTONIC: parent and timeline process read the same seconds."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let time pass without work."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Reading:
    """What one meter says of one window. A missing reading is null with a reason, never 0.

    Attributes:
        component: what it covers: `gpu`, `cpu_package`, `dram`. Never the whole system.
        sensor: `nvml_counter`, `nvml_power`, `rapl`, `tdp_load_model`, `none`.
        basis: `measured` or `modelled`.
        energy_j: joules of the window, idle included (gross).
        window_s: seconds between the meter's own two edges.
        reason: why energy is null; "" otherwise.
        flags: what makes the reading doubtful without making it wrong.
        calls: of the work inside the window.
        idle_w: the component's power beside no work, context and model loaded.
        net_j: gross minus idle power times the window.
        integral_j: the same window by another way (the power timeline, beside a counter).
        refresh_s: how often the sensor changes its number.
        conditions: temperatures, clocks, limits, as far as the device tells them.
    """

    component: str
    sensor: str
    basis: str
    energy_j: float | None
    window_s: float = 0.0
    reason: str = ""
    flags: tuple[str, ...] = ()
    calls: int = 0
    idle_w: float | None = None
    net_j: float | None = None
    integral_j: float | None = None
    refresh_s: float = 0.0
    conditions: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.energy_j is None and not self.reason:
            raise ValueError(f"{self.sensor}: a null needs a reason")
        if self.energy_j is not None and not self.energy_j > 0:
            raise ValueError(f"{self.sensor}: {self.energy_j} J is no reading")

    @property
    def power_w(self) -> float | None:
        """Mean power of the window in watts; null where the energy is."""
        return None if self.energy_j is None else self.energy_j / self.window_s

    @property
    def call_j(self) -> float | None:
        """Joules a call of the work."""
        return None if self.energy_j is None or not self.calls else self.energy_j / self.calls

    def as_dict(self) -> dict[str, Any]:
        """As it stands in a visit."""
        return {
            **asdict(self),
            "flags": list(self.flags),
            "power_w": self.power_w,
            "energy_call_j": self.call_j,
        }


class Meter(ABC):
    """One way to learn the joules of one component.

    Attributes:
        component: `gpu`, `cpu_package`, `dram`.
        sensor: `nvml_counter`, `nvml_power`, `rapl`, `tdp_load_model`, `none`.
        basis: `measured` or `modelled`.
        refresh_s: how often the sensor changes its number; a window has at least 50 of them.
        settle_s: how long the sensor remembers what was before (its averaging time); sets lead-in and lead-out.
        seen_every_s: the period of a sensor that looks at a part of the time only; null where it sees all.
    """

    component: str = ""
    sensor: str = "none"
    basis: str = "measured"
    refresh_s: float = 0.0
    settle_s: float = 0.0
    seen_every_s: float | None = None

    def open(self) -> None:  # noqa: B027 - most meters have nothing beside the window
        """Begin what runs beside the window; before the lead-in."""

    @abstractmethod
    def start(self) -> None:
        """The first edge: one reading, with the device idle and all work handed over done.

        Raises:
            MeterError: the sensor does not answer.
        """

    @abstractmethod
    def stop(self) -> None:
        """The last edge: one reading.

        Raises:
            MeterError: the sensor does not answer.
        """

    @abstractmethod
    def close(self, loaded: bool = True) -> Reading:
        """What was between the edges; after the lead-out.

        Args:
            loaded: False beside no work, where two sensors may differ more than under load.

        Raises:
            MeterError: there is no reading, and why.
        """

    def temperature_c(self) -> float | None:
        """Of the component, in degrees Celsius; None where nobody can say."""
        return None

    def null(self, reason: str, flags: tuple[str, ...] = ()) -> Reading:
        """A missing reading of this meter."""
        return Reading(
            self.component, self.sensor, self.basis, None, 0.0, reason, flags, refresh_s=self.refresh_s
        )
