"""Every cost of choice of a task: what its interactive front and its decision table go through."""

from __future__ import annotations

from collections.abc import Sequence

from reports.judging.arms import Section
from reports.judging.fronts import Front, make
from reports.notation import place, stem

#: Counted of the reference form, so they say little of a compressed layer: only in the folded table.
FOLDED = ("bytes_moved", "peak_live_bytes", "energy_proxy_j")


def costs_of(section: Section) -> list[str]:
    """Costs by which arms of a task differ: times first, the main workload before the others.

    What is counted of the reference form says little of a compressed layer, so it is no choice.
    """
    names = dict.fromkeys(name for arm in section.arms for name in arm.times)
    timed = [
        name for name in names if any(arm.times.get(name) and arm.times[name].ratio for arm in section.arms)
    ]
    counted = [name for name in section.shown_costs if stem(name) not in FOLDED]
    return [*sorted(timed, key=lambda name: place(name) != section.main), *counted]


def every_front(section: Section, drawn: Sequence[Front]) -> list[Front]:
    """A front for each cost; those that the page draws anyway are not made twice."""
    if section.metric is None:
        return []
    known = {front.metric: front for front in drawn}
    found = [known.get(name) or make(section, name) for name in costs_of(section)]
    return [front for front in found if len(front.points) > 1]
