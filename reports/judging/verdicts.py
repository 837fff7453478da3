"""Verdicts: effect and threshold -> holds, falls short, unclear or not tested; never typed, always computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.judging.effects import Effect, compute
from reports.judging.outcomes import HOLDS, SHORT, UNCLEAR, UNTESTED
from reports.judging.remarks import command, extended, extension, faithful, same_sign, settings
from reports.judging.settling import USUAL, Settling, settling
from reports.judging.statistics import p_value
from reports.judging.table import Missing, Table

__all__ = ["COLUMNS", "HOLDS", "SHORT", "UNCLEAR", "UNTESTED", "is_own", "judge", "judge_card", "judge_check"]
#: Columns of verdicts.parquet, one row a check (a claim that is not tested has one row).
COLUMNS = (
    "paper", "family", "claim", "check", "verdict", "direction", "grade", "effect", "low", "high", "threshold", "n",
    "reason", "claim_verdict", "metric", "scale", "basis", "sense", "band", "p", "note", "own", "by_construction",
    "of", "other", "task", "says", "replicates", "robust", "reported", "replicate", "same_sign", "half_band",
    "twice_band", "tried_of", "tried_other", "tried", "settle", "settle_what", "settle_n", "settle_command",
    "reported_where", "smaller", "held_against", "command", "extended", "setting",
)  # fmt: skip
#: Columns of whole numbers, of which some are not there.
WHOLE = ("same_sign", "tried_of", "tried_other", "settle_n")


def judge(table: Table) -> pd.DataFrame:
    """The verdicts of every card in the table's scope."""
    rows = [row for card in table.scope["cards"] for row in judge_card(table, card)]
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.astype(dict.fromkeys(WHOLE, "Int64"))


def judge_card(table: Table, card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All checks of a card; where a control has not come out, its claims are unclear."""
    failed = [
        f"the {sign} control ({check['metric']}) has not come out"
        for sign, checks in card["controls"].items()
        for check in checks
        if judge_check(table, check)["verdict"] != HOLDS
    ]
    rows = []
    for claim in card["claims"]:
        rows += _judge_claim(table, card, claim, failed)
    return rows


def _judge_claim(
    table: Table, card: Mapping[str, Any], claim: Mapping[str, Any], failed: list[str]
) -> list[dict[str, Any]]:
    common = {
        "paper": card["key"],
        "family": card["family"],
        "grade": card["grade"],
        "claim": claim["id"],
        "says": claim["says"],
        "own": is_own(card, claim),
        "by_construction": claim.get("by_construction", False),
        "reported": str((claim.get("reported") or {}).get("value", "")),
        "reported_where": str((claim.get("reported") or {}).get("where", "")),
        "smaller": str(card.get("smaller", "")),
        "held_against": "; ".join(faithful(card.get("faithful"))),
        "command": command(card, table.scope) if card.get("target") else "",
        "extended": extended(table, card),
    }
    if "not_tested" in claim:
        return [
            {
                **common,
                "check": 0,
                "verdict": UNTESTED,
                "claim_verdict": UNTESTED,
                "reason": claim["not_tested"],
            }
        ]
    checks = [
        {**judge_check(table, check, card), **settings(table, card, check)} for check in claim["checks"]
    ]
    verdict = together([check["verdict"] for check in checks])
    if failed and verdict in (HOLDS, SHORT):
        verdict = UNCLEAR
        for check in checks:
            check["reason"] = "; ".join(filter(None, (check.get("reason", ""), *failed)))
    for check in checks:
        check["settle_command"] = extension(table, card, check)
        if failed and verdict == UNCLEAR:
            check["settle"] = "the control must come out first"
    return [{**common, "check": at, **check, "claim_verdict": verdict} for at, check in enumerate(checks)]


def is_own(card: Mapping[str, Any], claim: Mapping[str, Any]) -> bool:
    """Whether a claim is a question of our own: a study has nobody's claims but ours."""
    return bool(claim.get("own")) or "paper" not in card


def together(verdicts: list[str]) -> str:
    """All checks of a claim must hold; one that falls short decides; one that was not tested leaves it open."""
    if SHORT in verdicts:
        return SHORT
    if UNTESTED in verdicts:
        return UNTESTED
    return HOLDS if set(verdicts) == {HOLDS} else UNCLEAR


def judge_check(
    table: Table, check: Mapping[str, Any], card: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One check: its effect against its threshold; with its card, its setting among those of the card."""
    names = {
        "metric": check["metric"],
        "task": check["task"],
        "setting": table.setting(check["task"], check.get("task_id", ""), card),
        "of": _name(table, check.get("of")),
        "other": _name(table, check.get("minus") or check.get("over")),
    }
    try:
        found = compute(table, check)
    except Missing as missing:
        return {**names, "verdict": UNTESTED, "reason": str(missing)}
    low, high = limits(check, found.scale, found.band)
    interval = found.interval
    verdict = place(interval.low, interval.high, low, high)
    reason = "" if interval.df else "a single replicate has no interval"
    trains = table.scope["tasks"][check["task"]].get("trains", True)
    alone = check["quality"] and interval.n == 1 and trains
    if alone:
        verdict, reason = UNCLEAR, "one seed: another training might say otherwise"
    sense = "above" if high == math.inf else "below" if low == -math.inf else "within"
    line = low if sense == "above" else high
    edges = [(edge, above) for edge, above in ((low, True), (high, False)) if math.isfinite(edge)]
    row = {
        **names,
        "verdict": verdict,
        "direction": direction(check, found),
        "effect": interval.effect,
        "low": interval.low,
        "high": interval.high,
        "threshold": line,
        "n": interval.n,
        "scale": found.scale,
        "basis": found.basis,
        "sense": sense,
        "band": found.band,
        # one seed says nothing of another training, however small its items make the p value
        "p": 1.0 if alone else max(p_value(interval, edge, above, found.on_logs) for edge, above in edges),
        "note": found.note,
        "replicate": found.replicate if trains or found.replicate == "rounds" or interval.n > 1 else "draws",
        "replicates": list(interval.replicates),
        "reason": reason,
        **_bands(check, found, verdict, alone),
    }
    row["same_sign"] = same_sign(row)
    if verdict == UNCLEAR:
        items = "test items" if trains else "draws"
        more = settling(found, [edge for edge, _ in edges], items) if not alone else _one_seed(interval.n)
        row |= {"settle": more.told, "settle_what": more.what, "settle_n": more.n}
    return row


def _one_seed(n: int) -> Settling:
    return Settling(
        "seeds", USUAL, f"needs more seeds: with {n} there is no spread to go by; {USUAL} show one"
    )


def limits(check: Mapping[str, Any], scale: str, band: float, factor: float = 1.0) -> tuple[float, float]:
    """The open interval in which the effect must lie; a threshold of no effect is moved out by the band."""
    if "within" in check:
        return float(check["within"][0]), float(check["within"][1])
    band = band * factor
    if "above" in check:
        line = float(check["above"])
        if scale == "difference" and line == 0.0:
            line = band
        if scale == "ratio" and line == 1.0:
            line = 1.0 + band
        return line, math.inf
    line = float(check["below"])
    if scale == "difference" and line == 0.0:
        line = -band
    if scale == "ratio" and line == 1.0:
        line = 1.0 - band
    return -math.inf, line


def place(low: float, high: float, least: float, most: float) -> str:
    """Where an interval lies: inside the limits, outside them, or across one."""
    if low > least and high < most:
        return HOLDS
    if high <= least or low >= most:
        return SHORT
    return UNCLEAR


def direction(check: Mapping[str, Any], found: Effect) -> str:
    """As claimed, none (inside the band), or reversed, by the point estimate."""
    if found.scale == "value" or "within" in check:
        return ""
    nothing = 0.0 if found.scale == "difference" else 1.0
    claimed = 1.0 if "above" in check else -1.0
    line = float(check["above"] if "above" in check else check["below"])
    moved = found.interval.effect - nothing
    if claimed * (line - nothing) < 0:  # "not worse by more than": what counts is the side of the line
        return "as claimed" if claimed * (found.interval.effect - line) > 0 else "reversed"
    if abs(moved) <= found.band:
        return "none"
    return "as claimed" if claimed * moved > 0 else "reversed"


def _bands(check: Mapping[str, Any], found: Effect, verdict: str, alone: bool) -> dict[str, Any]:
    """The verdict with half and with twice the band, and whether both are the same one."""
    interval = found.interval
    half, twice = (
        verdict
        if alone
        else place(interval.low, interval.high, *limits(check, found.scale, found.band, factor))
        for factor in (0.5, 2.0)
    )
    return {"half_band": half, "twice_band": twice, "robust": half == twice == verdict}


def _name(table: Table, side: Any) -> str:
    if side is None:
        return ""
    if isinstance(side, list):
        names = [_name(table, arm) for arm in side]
        return ", ".join(names) if len(names) < 4 else f"{names[0]} to {names[-1]} ({len(names)} cells)"
    if isinstance(side, Mapping):
        named = sorted({table.arms[arm]["method"] for arm in side["best"] if arm in table.arms})
        return f"{', '.join(named) or 'a cell'} (best of {len(side['best'])} on validation data)"
    return table.arms[side]["label"] if side in table.arms else "a cell outside this plan"
