"""The scoreboard: outcomes by grade, and how many claims would be expected to hold by chance alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.judging.statistics import LEVEL, benjamini_hochberg
from reports.judging.verdicts import HOLDS, SHORT, UNCLEAR, UNTESTED

OUTCOMES = (HOLDS, SHORT, UNCLEAR, UNTESTED)
GRADES = ("A", "B", "C")
#: False-discovery rate within a family.
RATE = 0.10


@dataclass(frozen=True)
class Claim:
    """A claim with what the scoreboard needs to know of it.

    Attributes:
        exact: all of its checks are exact numbers, which chance cannot move.
        p: the largest p value of its checks; None where it was not tested.
    """

    paper: str
    family: str
    id: str
    says: str
    grade: str
    verdict: str
    reversed: bool
    own: bool
    scored: bool
    exact: bool
    p: float | None


@dataclass(frozen=True)
class Chance:
    """What chance may have done in a family.

    Attributes:
        tested: scored claims with an interval of some width.
        expected: how many would hold by chance if every effect lay at its threshold: a bound from above.
        holds: how many do hold.
        kept: how many of these stay discoveries after Benjamini-Hochberg at 10 %.
        lost: names of those that do not.
    """

    family: str
    tested: int
    expected: float
    holds: int
    kept: int
    lost: tuple[str, ...]


def claims_of(rows: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """One entry a claim, in the order of the rows."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["paper"], row["claim"]), []).append(row)
    return [_claim(mine) for mine in found.values()]


def _claim(rows: Sequence[Mapping[str, Any]]) -> Claim:
    first = rows[0]
    verdict = str(first["claim_verdict"])
    values = [None if row.get("p") is None or row["p"] != row["p"] else row["p"] for row in rows]
    return Claim(
        paper=first["paper"],
        family=first["family"],
        id=first["claim"],
        says=first["says"],
        grade=first["grade"],
        verdict=verdict,
        reversed=any(row.get("direction") == "reversed" for row in rows),
        own=bool(first["own"]),
        scored=not first["by_construction"],
        exact=all(row.get("effect") is not None and row["low"] == row["high"] for row in rows),
        p=None if None in values else _p([float(value) for value in values if value is not None], verdict),
    )


def _p(values: Sequence[float], verdict: str) -> float:
    """The p value of a claim: the largest of its checks', since all must hold (an intersection-union test).

    A claim that is unclear although its numbers are clear (its control has not come out) is no discovery, and must not
    make it easier for others of its family to be one: 1.
    """
    largest = max(values)
    return 1.0 if verdict == UNCLEAR and largest <= (1 - LEVEL) / 2 else largest


def matrix(claims: Sequence[Claim]) -> list[tuple[str, list[int]]]:
    """(outcome, count a grade and in all) of scored claims; those reversed once more below `falls short`."""
    scored = [claim for claim in claims if claim.scored]
    lines = []
    for outcome in OUTCOMES:
        lines.append((outcome, _counts([claim for claim in scored if claim.verdict == outcome])))
        if outcome == SHORT:
            lines.append(
                ("of which reversed", _counts([c for c in scored if c.verdict == SHORT and c.reversed]))
            )
    return lines


def _counts(claims: Sequence[Claim]) -> list[int]:
    return [*(sum(claim.grade == grade for claim in claims) for grade in GRADES), len(claims)]


def chance(claims: Sequence[Claim]) -> list[Chance]:
    """What chance may have done, a family each; exact claims are left out, since no draw can move them."""
    families = dict.fromkeys(claim.family for claim in claims)
    return [
        found
        for family in families
        if (found := _chance(family, [c for c in claims if c.family == family])).tested
    ]


def _chance(family: str, claims: Sequence[Claim]) -> Chance:
    tested = [claim for claim in claims if claim.scored and not claim.exact and claim.p is not None]
    keep = benjamini_hochberg([claim.p for claim in tested if claim.p is not None], RATE)
    holds = [(claim, kept) for claim, kept in zip(tested, keep, strict=True) if claim.verdict == HOLDS]
    lost = tuple(f"{claim.paper}: {claim.id}" for claim, kept in holds if not kept)
    return Chance(
        family, len(tested), len(tested) * (1 - LEVEL) / 2, len(holds), len(holds) - len(lost), lost
    )


def counts(claims: Sequence[Claim]) -> dict[str, int]:
    """Outcome -> scored claims."""
    return {
        outcome: sum(c.verdict == outcome and c.scored for c in claims)
        for outcome in (HOLDS, SHORT, UNCLEAR, UNTESTED)
    }
