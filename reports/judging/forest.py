"""The forest plot of a paper: every check on one axis, whatever its unit.

A check asks for an effect beyond a threshold. So the axis is the distance from that threshold, turned so that
right is what the claim wants, in units of the metric's indifference band (the smallest change that anybody
should care about):

    x = s * (f(effect) - f(threshold)) / u      s = +1 where the claim says `above`, -1 where it says `below`

    difference, value   f(v) = v         u = band of the task's metric
    ratio               f(v) = log(v)    u = log(1 + band)

Then the verdict can be seen: an interval wholly right of the line at 0 holds, wholly left of it falls short,
across it is unclear. A counted number has no band; its unit is 2 % (what time has), or 1 % of the threshold,
and each row says so. Values are drawn at asinh(x): linear within a band or so, logarithmic beyond, so that a
tenth of a band and a hundred bands are both seen. f and asinh are monotone: no interval crosses a line that
it does not cross in its own unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reports.judging.table import Table
from reports.judging.verdicts import UNTESTED, is_own, judge_check
from reports.notation import Words, compact, long_name, place, words

#: Beyond so many units an axis ends; what lies further is drawn at the edge with an arrow.
FAR = 1000.0
TICKS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
#: Unit of a ratio without a band, as a share.
STEP = 0.02
#: What verdict rows call a side that has no record.
OUTSIDE = "a cell outside this plan"


#: What is expected of a control; where it does not come out, the card's claims say nothing.
CONTROLS = {
    "positive": "control: a known success, which must be seen",
    "negative": "control: a known failure, which must be seen",
}


@dataclass(frozen=True)
class Row:
    """One check, in units from its threshold; the numbers in its own unit stand beside it.

    Attributes:
        label, short: who is held against whom in what, whole and for figures.
        effect, low, high: x of the estimate and of its interval (infinite where there is none).
        zone: x of `no difference`, from one end of the band to the other; None for a plain value.
        limit: x of the second threshold of a `within` check.
        replicates: x of each seed or round.
        unit: what one unit is, in words.
        text, asked: effect with interval, and threshold, in the metric's own unit.
        control: a control of the card instead of a claim.
    """

    label: str
    short: str
    verdict: str
    direction: str
    grade: str
    effect: float | None = None
    low: float = -math.inf
    high: float = math.inf
    zone: tuple[float, float] | None = None
    limit: float | None = None
    replicates: tuple[float, ...] = ()
    unit: str = ""
    text: str = ""
    asked: str = ""
    basis: str = ""
    n: int = 0
    reason: str = ""
    control: bool = False
    scored: bool = True


@dataclass(frozen=True)
class Group:
    """A claim with its checks."""

    claim: str
    says: str
    verdict: str
    own: bool
    by_construction: bool
    rows: tuple[Row, ...]


@dataclass
class Forest:
    """All claims of a card on one axis that runs from -left to right units."""

    key: str
    grade: str
    groups: list[Group]
    left: float = field(init=False)
    right: float = field(init=False)

    def __post_init__(self) -> None:
        """Choose the axis: as far as estimates, finite intervals and zones go, three units at least."""
        xs = [x for group in self.groups for row in group.rows for x in _extent(row)]
        self.left = _reach([-x for x in xs])
        self.right = _reach(xs)

    @property
    def drawn(self) -> bool:
        """Whether there is anything to see."""
        return any(row.effect is not None for group in self.groups for row in group.rows)

    @property
    def ticks(self) -> list[float]:
        """Ticks within the axis."""
        both = [-tick for tick in reversed(TICKS[1:])] + list(TICKS)
        return [tick for tick in both if -self.left <= tick <= self.right]

    def at(self, x: float) -> float:
        """Where x is drawn, from 0 at the left edge to 1 at the right one; what is further stops there."""
        low, high = math.asinh(-self.left), math.asinh(self.right)
        if x < -self.left * 1.0001:
            return 0.0
        if x > self.right * 1.0001:
            return 1.0
        pad = 0.03
        return pad + (1 - 2 * pad) * (math.asinh(max(-self.left, min(self.right, x))) - low) / (high - low)


def _extent(row: Row) -> list[float]:
    if row.effect is None:
        return []
    # a band without width (a counted number's) does not stretch the axis to where nothing else is
    zone = row.zone if row.zone and row.zone[1] > row.zone[0] else ()
    xs = [row.effect, row.low, row.high, *zone, *([row.limit] if row.limit is not None else [])]
    return [x for x in xs if math.isfinite(x)]


def _reach(xs: Sequence[float]) -> float:
    far = max([3.0, *xs])
    return min(FAR, far * 1.05)


def forest(table: Table, card: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Forest:
    """The forest of a card from its verdict rows; controls come last, since claims hang on them."""
    groups = []
    for claim in card["claims"]:
        mine = [row for row in rows if row["paper"] == card["key"] and row["claim"] == claim["id"]]
        checks = claim.get("checks") or [{}] * len(mine)
        drawn = tuple(
            make_row(table, check, row, card["grade"]) for check, row in zip(checks, mine, strict=True)
        )
        own, built = is_own(card, claim), bool(claim.get("by_construction"))
        verdict = mine[0]["claim_verdict"] if mine else UNTESTED
        groups.append(Group(claim["id"], claim["says"], verdict, own, built, drawn))
    for sign, checks in (card.get("controls") or {}).items():
        for number, check in enumerate(checks):
            row = judge_check(table, check, card)
            drawn = (make_row(table, check, row, card["grade"], control=True),)
            name = f"{sign} control" + (f" {number + 1}" if len(checks) > 1 else "")
            groups.append(Group(name, CONTROLS[sign], row["verdict"], True, False, drawn))
    return Forest(card["key"], card["grade"], groups)


def make_row(
    table: Table, check: Mapping[str, Any], row: Mapping[str, Any], grade: str, control: bool = False
) -> Row:
    """One check as it is drawn."""
    names = {"label": label(row, check.get("effect")), "short": label(row, check.get("effect"), 44)}
    common = {**names, "grade": grade, "control": control, "verdict": row["verdict"], "reason": why(row)}
    if row.get("effect") is None:
        return Row(direction="", **common)
    known = table.metric(row["task"], row["metric"])
    say = words(row["scale"], row["metric"], told_as(known, check))
    x, unit = axis(check, row, known, say)
    zone = None
    if row["scale"] != "value":
        nothing = 0.0 if row["scale"] == "difference" else 1.0
        zone = _ordered(x(nothing - row["band"]), x(nothing + row["band"]))
    low, high = _ordered(x(row["low"]), x(row["high"]))
    return Row(
        direction=row["direction"],
        effect=x(row["effect"]),
        low=low,
        high=high,
        zone=zone,
        limit=x(check["within"][1]) if "within" in check else None,
        replicates=tuple(x(value) for value in row["replicates"]) if row["low"] < row["high"] else (),
        unit=unit,
        text=say.effect(row["effect"], row["low"], row["high"], sign=True, line=row["threshold"]),
        asked=asked(check, row, say),
        basis=row["basis"],
        n=int(row["n"]),
        **common,
    )


def told_as(known: Mapping[str, Any] | None, check: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The unit in which an effect is told: the metric's own, per cent for shares of draws, else none."""
    function = check.get("effect")
    if function == "share_of_draws":
        return {"unit": "share"}
    if function in ("crossover", "reach", "slope"):  # a place on the curve's own axis, or a rise along it
        return {"unit": ""}
    return known if function in (None, "difference_of_differences") else None


def why(row: Mapping[str, Any]) -> str:
    """Why a number is not there, without the name of the number, which stands beside it."""
    reason = str(row.get("reason") or "")
    return reason.partition(" is null: ")[2] or reason


def _ordered(a: float, b: float) -> tuple[float, float]:
    return (a, b) if a <= b else (b, a)


def axis(
    check: Mapping[str, Any], row: Mapping[str, Any], known: Mapping[str, Any] | None, say: Words
) -> tuple[Callable[[float], float], str]:
    """From a value in its own unit to units from the threshold, and what a unit is."""
    ratio = row["scale"] == "ratio"
    line = check["within"][0] if "within" in check else row["threshold"]
    band = row["band"] or (
        known["band"] if known and row["scale"] == "value" and not check.get("effect") else 0.0
    )
    if ratio:
        unit = math.log1p(band or STEP)
        name = f"{100 * (band or STEP):g} %" + (", the band" if band else " (no band)")
    else:
        unit = band or 0.01 * (abs(line) or abs(row["effect"]) or 1.0)
        name = say.one(unit) + (", the band" if band else " (no band)")
    sign = -1.0 if row["sense"] == "below" else 1.0

    def shift(value: float) -> float:
        if not ratio:
            return sign * (value - line) / unit
        if value <= 0:
            return -sign * math.inf
        return sign * (math.log(value) - math.log(line)) / unit

    return shift, name


def label(row: Mapping[str, Any], function: str | None = None, room: int = 0) -> str:
    """Who is held against whom, in what; with `room`, each name takes at most so many characters."""
    if not row.get("metric"):
        return ""
    of, other = ("" if name == OUTSIDE else name for name in (row.get("of") or "", row.get("other") or ""))
    if room:
        of, other = compact(of, room), compact(other, room)
    spots = [spot for spot in (place(row["metric"]), row.get("setting") or "") if spot]
    where = f" at {', '.join(spots)}" if spots else ""
    kind = f"{function.replace('_', ' ')}, " if function else ""
    sides = f": {of}{f' against {other}' if other else ''}" if of else ""
    return f"{kind}{long_name(row['metric'])}{where}{sides}"


def asked(check: Mapping[str, Any], row: Mapping[str, Any], say: Words) -> str:
    """The threshold in words, and that it was moved out by the band where it was."""
    if "within" in check:
        low, high = check["within"]
        return f"{say.one(low).removesuffix(say.unit).rstrip()} to {say.one(high)}"
    line = row["threshold"]
    sign = row["scale"] == "difference" and line > 0
    return f"{'>' if row['sense'] == 'above' else '<'} {'+' if sign else ''}{say.one(line)}"
