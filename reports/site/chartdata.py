"""What the interactive front of a task shows: plain numbers and ready text, written as a script beside the page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.judging.fronts import Front, Point
from reports.notation import Words, compact, long_name, per_cent, place, stem, words
from reports.site.addresses import Addresses, setting_spot
from reports.views import TaskView

#: Letters of a name beside a point.
SHORT = 52


def setting(task: TaskView, addresses: Addresses, shorts: Mapping[str, str]) -> dict[str, Any]:
    """One setting of a task: its costs, and each arm with both axes."""
    section, metric = task.section, task.section.metric or {}
    say = words("difference", str(metric["name"]), metric)
    value = words("value", str(metric["name"]), metric)
    turned = "" if metric["better"] == "higher" else ", turned: up is better"
    return {
        "id": setting_spot(task),
        "title": section.title,
        "metric": str(metric["name"]).replace("_", " "),
        "band": max((a.change.band for a in section.arms if a.change), default=0.0) * say.factor,
        "axis": f"{str(metric['name']).replace('_', ' ')} − baseline's, {say.unit or 'units'}{turned}",
        "costs": [
            {
                "key": front.metric,
                "name": _cost_name(front.metric),
                "basis": front.basis,
                "window": window(front, say.factor),
                "points": [_point(point, say, value, addresses, shorts) for point in front.points],
                "absent": len(front.absent),
            }
            for front in task.every
        ],
    }


def _cost_name(metric: str) -> str:
    spot = f", {place(metric)}" if place(metric) and stem(metric) in ("latency_s", "energy_j") else ""
    return long_name(metric) + spot


def _point(
    point: Point, say: Words, value: Words, addresses: Addresses, shorts: Mapping[str, str]
) -> dict[str, Any]:
    arm, cost, gain = point.arm, point.cost, point.gain
    quality, change = arm.quality, arm.change
    return {
        "name": arm.label,
        "short": shorts[arm.id],
        "label": compact(shorts[arm.id], SHORT),
        "family": arm.family,
        "href": addresses.cells[arm.id],
        "base": arm.baseline,
        "on": point.front,
        "member": point.member,
        "share": "" if point.share is None else per_cent(point.share),
        "x": _ends(cost.effect, cost.low, cost.high, 1.0),
        "y": _ends(gain.effect, gain.low, gain.high, say.factor),
        "cost": Words("ratio", "").effect(cost.effect, cost.low, cost.high),
        "change": "" if change is None else _told(say, change.interval, sign=True),
        "quality": "" if quality is None else _told(value, quality.interval),
    }


def _told(say: Words, at: Any, sign: bool = False) -> str:
    return say.effect(at.effect, at.low, at.high, sign=sign)


def _ends(*values: float) -> list[float | None]:
    """Estimate and both ends times a factor (the last value); an end that is infinite has no bar."""
    *numbers, factor = values
    return [round(number * factor, 6) if math.isfinite(number) else None for number in numbers]


def window(front: Front, factor: float) -> list[float]:
    """The range of gains that is shown at first: an arm that collapsed does not squeeze the others into a line."""
    gains = sorted(point.gain.effect * factor for point in front.points)
    top, middle = gains[-1], gains[len(gains) // 2]
    scale = max(top - middle, 0.25 * (top - gains[len(gains) // 4]), 1e-9)
    near = [point for point in front.points if _near(point, factor, top, scale)]
    ends = [
        end * factor
        for point in near
        for end in (point.gain.effect, point.gain.low, point.gain.high)
        if math.isfinite(end) and abs(end * factor - point.gain.effect * factor) < 6 * scale
    ]
    span = max(max(ends) - min(ends), 1e-9)
    return [min(ends) - 0.06 * span, max(ends) + 0.10 * span]


def _near(point: Point, factor: float, top: float, scale: float) -> bool:
    return point.gain.effect * factor > top - (12 if point.front else 5) * scale or point.arm.baseline


def script(name: str, data: Mapping[str, Any] | Sequence[Any]) -> str:
    """A file that sets one entry of a global: pages opened from a disk may load scripts, but no JSON."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f"(window.JOULEMARK=window.JOULEMARK||{{}})[{json.dumps(name)}]={text};\n"
