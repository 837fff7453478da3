"""Three findings in plain words, chosen by rule from rows with intervals: nobody picks them by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.judging.arms import Section
from reports.judging.forest import Forest, Group, Row
from reports.judging.fronts import Front
from reports.judging.measuring import Realised
from reports.judging.table import Table
from reports.judging.verdicts import HOLDS, SHORT
from reports.notation import Words, long_name, per_cent, stem, words
from reports.wording.sentences import Sentence, check_phrase, text

MOST = 3
LESS = {"nonzero": "fewer non-zero weights", "flops": "fewer FLOPs", "stored_bytes": "fewer stored bytes"}


@dataclass(frozen=True)
class Finding:
    """A sentence and where the page says more about it."""

    sentence: Sentence
    anchor: str


def findings(
    table: Table,
    forests: Sequence[tuple[Mapping[str, Any], Forest]],
    rows: Sequence[Mapping[str, Any]],
    points: Sequence[Realised],
    fronts: Sequence[tuple[Section, Front]],
) -> list[Finding]:
    """The clearest claim that holds, the clearest that falls short, the largest promise, the best bargain."""
    found = [
        *_clearest(table, forests, rows, HOLDS),
        *_clearest(table, forests, rows, SHORT),
        *_promise(points),
        *_bargain(fronts),
    ]
    return found[:MOST]


def _clearest(
    table: Table,
    forests: Sequence[tuple[Mapping[str, Any], Forest]],
    rows: Sequence[Mapping[str, Any]],
    verdict: str,
) -> Iterator[Finding]:
    """The claim whose interval lies furthest from its threshold; papers' claims before ours, grade C last."""
    best: tuple[tuple[bool, bool, float], Mapping[str, Any], Group, int] | None = None
    for card, forest in forests:
        for group in forest.groups:
            if group.verdict != verdict or group.by_construction or any(row.control for row in group.rows):
                continue
            number = _decisive(group, verdict)
            if number is None:
                continue
            rank = (not group.own, card["grade"] != "C", _margin(group.rows[number], verdict))
            if best is None or rank > best[0]:
                best = (rank, card, group, number)
    if best is None:
        return
    _, card, group, number = best
    claim = next(claim for claim in card["claims"] if claim["id"] == group.claim)
    row = next(
        r for r in rows if r["paper"] == card["key"] and r["claim"] == group.claim and r["check"] == number
    )
    entry = card.get("paper") or card.get("study") or {}
    source = f"{card['key']}, {entry['year']}" if "year" in entry else f"our study {card['key']}"
    told = f"“{claim['says']}” ({source})"
    scale = "at this scale " if card["grade"] in "BC" else ""
    sentence = [
        *text(f"{told}: "),
        ("verdict", verdict),
        *text(f" here (grade {card['grade']}), since {scale}"),
    ]
    yield Finding(
        [*sentence, *check_phrase(table, claim["checks"][number], row), *text(".")],
        anchor(card["key"], group.claim),
    )


def anchor(paper: str, claim: str) -> str:
    """The fixed address of a claim on a page."""
    return f"claim-{paper}-{claim}"


def _decisive(group: Group, verdict: str) -> int | None:
    """The check that decides: the tightest of those that hold, the worst of those that fall short."""
    wide = [
        n for n, row in enumerate(group.rows) if row.verdict == verdict and _told(row) and row.low < row.high
    ]
    if not wide:
        return None
    return (
        min(wide, key=lambda n: _margin(group.rows[n], verdict))
        if verdict == HOLDS
        else max(wide, key=lambda n: _margin(group.rows[n], verdict))
    )


def _told(row: Row) -> bool:
    """The interval covers more than one seed or round (a simulator's covers its draws)."""
    return (
        row.effect is not None
        and math.isfinite(row.high - row.low)
        and (row.n > 1 or row.basis == "modelled")
    )


def _margin(row: Row, verdict: str) -> float:
    """Units between the threshold and the near end of the interval."""
    return row.low if verdict == HOLDS else -row.high


def _promise(points: Sequence[Realised]) -> Iterator[Finding]:
    """The arm with the largest nominal saving, and what the clock sees of it."""
    able = [point for point in points if math.isfinite(point.saving.high)]
    if not able:
        return
    point = max(able, key=lambda point: (point.nominal, point.saving.effect))
    size = Words("ratio", "").effect(point.saving.effect, point.saving.low, point.saving.high)
    told = f" has {point.nominal:.3g}× {LESS[point.by]} and is {size} as fast at {point.workload}: "
    lost = f", at {point.quality}" if point.quality else ""
    yield Finding(
        [
            ("code", point.label),
            *text(f"{told}{per_cent(point.saving.effect / point.nominal)} of what the count promises{lost}."),
        ],
        "realised",
    )


def _bargain(fronts: Sequence[tuple[Section, Front]]) -> Iterator[Finding]:
    """The arm with the least cost among those that lose nothing beyond the band."""
    for section, front in fronts:
        metric = section.metric
        if metric is None:
            continue
        band = metric["band"]
        points = [
            p for p in front.points if not p.arm.baseline and p.gain.n > 1 and math.isfinite(p.gain.high)
        ]
        able = [p for p in points if p.gain.low > -2 * band and p.cost.high < 0.98]
        if not able:
            continue
        point = min(able, key=lambda point: point.cost.effect)
        say = words("difference", metric["name"], metric)
        cost = Words("ratio", "").effect(point.cost.effect, point.cost.low, point.cost.high)
        change = say.effect(point.gain.effect, point.gain.low, point.gain.high, sign=True)
        name = "time" if stem(front.metric) == "latency_s" else long_name(front.metric)
        told = (
            f" has the least {name} among those on {section.title} that lose no more than "
            f"{say.one(2 * band)}: {cost} of the baseline at {change}."
        )
        yield Finding([("code", point.arm.label), *text(told)], f"task-{section.task_id}")
