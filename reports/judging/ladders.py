"""Curves along a ladder: cells of several sizes or settings, or one cell at several places of a metric.

A check says what x is: `along: <knob or counted number>` of the cells, `x: [numbers]` in their order, or
`at: [places]` of the metric (`decode@1024`, `level=2`, `round=7`), whose last number is x. `scale: log` interpolates,
fits and averages on log x.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.judging.contrasts import as_list
from reports.judging.samples import Scores, kind, met, scores
from reports.judging.table import Missing, Table


@dataclass(frozen=True)
class Ladder:
    """A curve of one side.

    Attributes:
        x: of the points, rising, [points].
        points: scores of each.
    """

    x: np.ndarray
    points: list[Scores]


def axis(check: Mapping[str, Any]) -> str:
    """What x is, in words, for the note beside an effect."""
    args = check.get("args") or {}
    if "at" in args:
        stems = {re.sub(r"[@=]?[-\d.e]+$", "", str(place)) for place in args["at"]}
        return stems.pop() if len(stems) == 1 else "place"
    return str(args.get("along", "x")).replace("_", " ")


def on_log(check: Mapping[str, Any], default: str = "linear") -> bool:
    """Whether x is read on logs."""
    return str((check.get("args") or {}).get("scale", default)).startswith("log")


def ladder(table: Table, check: Mapping[str, Any], side: str, log: bool, distinct: bool = True) -> Ladder:
    """The curve of one side of a check; `distinct` points have an x of their own each.

    Raises:
        Missing: a point has no number, two points have one x, or x has no logarithm.
    """
    arms, metric = as_list(check.get(side)), str(check["metric"])
    places = [str(place) for place in (check.get("args") or {}).get("at") or ()]
    if not arms:
        raise Missing(f"{check['effect']}: `{side}` is no list of cells and no cell")
    if places and len(arms) > 1:
        raise Missing(f"{check['effect']}: `at` is for one cell on a side, not {len(arms)}")
    points = [(arms[0], f"{metric}@{place}") for place in places] or [(arm, metric) for arm in arms]
    if len(points) < 2:
        raise Missing(f"{check['effect']}: `{side}` has one point; a curve needs two or more")
    x = _x(table, check, arms, places)
    order = np.argsort(x, kind="stable")
    if len(set(x.tolist())) < 2:
        raise Missing(f"{check['effect']}: needs two different values of x")
    if distinct and (np.diff(x[order]) == 0).any():
        raise Missing(f"{check['effect']}: two points of `{side}` have the same {axis(check)}")
    if log and (x <= 0).any():
        raise Missing(
            f"{check['effect']}: {axis(check)} is not above zero everywhere, so it has no logarithm"
        )
    found = curve(table, check, [points[at] for at in order])
    return Ladder(np.log(x[order]) if log else x[order], found)


def curve(table: Table, check: Mapping[str, Any], points: Sequence[tuple[str, str]]) -> list[Scores]:
    """Scores of (arm, metric) points."""
    source = kind(check)
    if source == "timed":
        met(table, points)
    return [scores(table, arm, metric, source) for arm, metric in points]


def _x(table: Table, check: Mapping[str, Any], arms: Sequence[str], places: Sequence[str]) -> np.ndarray:
    args, name = check.get("args") or {}, check["effect"]
    count = len(places) or len(arms)
    if "x" in args:
        if len(args["x"]) != count:
            raise Missing(
                f"{name}: {len(args['x'])} values of x for {count} {'places' if places else 'cells'}"
            )
        return np.asarray(args["x"], dtype=float)
    if places:
        return np.array([_last_number(place, name) for place in places])
    if "along" not in args:
        raise Missing(f"{name}: needs x: `along`, `x` or `at` among its args")
    return np.array([position(table, arm, str(args["along"]), name) for arm in arms])


def _last_number(place: str, name: str) -> float:
    found = re.search(r"(\d+(?:\.\d+)?(?:e-?\d+)?)$", place)
    if not found:
        raise Missing(f"{name}: the place {place!r} ends with no number; give `x`")
    return float(found.group(1))


def position(table: Table, arm: str, along: str, name: str) -> float:
    """One cell's x: a knob of its method or task, else a counted number (the mean over seeds).

    Raises:
        Missing: it has no number of this name.
    """
    known = table.arms.get(arm)
    if known is None:
        raise Missing("its cells have not been run in this scope")
    entry = table.scope["methods"].get(known["method"]) or {"knobs": []}
    defaults = {knob["name"]: knob["default"] for knob in entry["knobs"]}
    for knobs in (known["knobs"], known["task_knobs"], defaults):
        if along in knobs:
            value = knobs[along]
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise Missing(f"{name}: {along} of {known['label']} is {value!r}, which is no number")
            return float(value)
    return float(np.mean(list(table.counted(arm, along).values())))
