"""The numbers of an energy window, all in one place; they enter every visit. Reasons: docs/measurement.md."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class EnergyRules:
    """How long a window is, what stands around it, and when a reading is null.

    Attributes:
        window_s: of work between the edges; not below least_s nor least_refreshes of the slowest sensor.
        least_s: no window is shorter.
        least_refreshes: nor has fewer refreshes of the slowest sensor.
        idle_s: beside no work, once a process; 0: not measured, and net is null.
        idle_drift: both halves of the idle time further apart than this share: flag `idle drifts`.
        warm_s: a block of work before the first edge, repeated while the temperature rises.
        warm_rise_c: the temperature rises when it is this much higher after a block.
        warm_most_s: work before the first edge at most.
        lead_in: work before the first edge, in settling times of the slowest sensor.
        lead_out: work after the last edge, likewise.
        batch_s: calls between two waits for the device: its queue must not run ahead of the clock.
        stuck_refreshes: a counter that stands still for longer is stuck.
        integral_gap: counter and power integral further apart than this share under load: null.
        drift_c: the temperature changed by more inside the window: flag `temperature drift`.
        clock_share: the clock changed by more than this share inside the window: flag `clock changed`.
        alias_share: the work's period this near to the sensor's, or to a fraction: flag `alias_risk`.
        poll_hz: readings a second of the power timeline.
    """

    window_s: float = 10.0
    least_s: float = 5.0
    least_refreshes: int = 50
    idle_s: float = 10.0
    idle_drift: float = 0.05
    warm_s: float = 10.0
    warm_rise_c: float = 1.0
    warm_most_s: float = 120.0
    lead_in: float = 2.0
    lead_out: float = 1.0
    batch_s: float = 0.25
    stuck_refreshes: int = 3
    integral_gap: float = 0.10
    drift_c: float = 5.0
    clock_share: float = 0.02
    alias_share: float = 0.10
    poll_hz: float = 20.0

    def as_dict(self) -> dict[str, float]:
        """The numbers as they stand in a visit."""
        return asdict(self)
