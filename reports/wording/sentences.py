"""What a verdict says in words: lists of parts, so that HTML and LaTeX each escape them their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.judging.effects import compute
from reports.judging.forest import OUTSIDE, told_as
from reports.judging.outcomes import HOLDS, SHORT, UNCLEAR, UNTESTED
from reports.judging.remarks import command, faithful, robust_phrase, settings_phrase, settle, sign_phrase
from reports.judging.table import Missing, Table
from reports.notation import Words, long_name, place, shorten, stem, words

__all__ = [
    "Part", "Sentence", "brief", "check_phrase", "claim_sentence", "command", "facts", "faithful", "plain",
    "robust_phrase", "settings_phrase", "settle", "sign_phrase", "tally", "text",
]  # fmt: skip

#: A part is (kind, text); kinds: text, code, verdict.
Part = tuple[str, str]
Sentence = list[Part]
#: How a sentence says that an arm has a cost.
VERBS = {
    "latency_s": "takes", "train_s": "takes", "energy_j": "uses", "flops": "needs", "train_flops": "needs",
    "tokens": "needs", "tool_calls": "needs", "bytes_moved": "moves", "fit_cpu_s": "takes", 
    "adapt_cpu_s": "takes", "price": "costs",
}  # fmt: skip
GRADES = {
    "A": "the paper's own model and data",
    "B": "the same mechanism, smaller",
    "C": "a stand-in, or counted or modelled only",
}


def text(*parts: str) -> Sentence:
    """A sentence of plain text."""
    return [("text", part) for part in parts]


def claim_sentence(
    table: Table, card: Mapping[str, Any], claim: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Sentence:
    """One sentence of a paper's page: what was seen, what was asked, what the paper saw, the verdict."""
    verdict, grade = rows[0]["claim_verdict"], card["grade"]
    if verdict == UNTESTED:
        reasons = dict.fromkeys(why for row in rows if row["verdict"] == UNTESTED for why in [_why(row)])
        return [*text("Not tested here: "), *text("; ".join(reasons)), *text(_reported(claim) + ".")]
    sentence = text(_opening(claim, grade))
    for number, (check, row) in enumerate(zip(claim["checks"], rows, strict=True)):
        sentence += text("" if number == 0 else ", and ") + check_phrase(table, check, row)
    sentence += text(_reported(claim), ": ")
    return [
        *sentence,
        ("verdict", verdict),
        *text(f" here{_aside(verdict, rows)} (grade {grade}){_because(verdict, rows)}."),
    ]


def _opening(claim: Mapping[str, Any], grade: str) -> str:
    scale = "at this scale " if grade in "BC" else "on the paper's own model and data "
    if claim.get("by_construction"):
        return f"True by construction, so not scored: {scale}"
    if claim.get("own"):
        return f"A question of our own: {scale}"
    return scale[0].upper() + scale[1:]


def _why(row: Mapping[str, Any]) -> str:
    """Why a check was not tested, with whom and what it was about."""
    reason = str(row.get("reason") or "no numbers").rstrip(".")
    if not row.get("metric") or row.get("of") == OUTSIDE:
        return reason
    spot = f" at {place(row['metric'])}" if place(row["metric"]) else ""
    return (
        f"{long_name(row['metric'])}{spot} of {row.get('of')}: {reason.partition(' is null: ')[2] or reason}"
    )


def _aside(verdict: str, rows: Sequence[Mapping[str, Any]]) -> str:
    return (
        ", reversed" if verdict == SHORT and any(row.get("direction") == "reversed" for row in rows) else ""
    )


def _because(verdict: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Why a claim is unclear although its checks are not: a control."""
    reasons = {row.get("reason") or "" for row in rows} - {""}
    return f", since {'; '.join(sorted(reasons))}" if verdict == UNCLEAR and reasons else ""


def _reported(claim: Mapping[str, Any]) -> str:
    reported = claim.get("reported") or {}
    if reported.get("value") in (None, ""):
        return ""
    where = f" ({reported['where']})" if reported.get("where") else ""
    return f", where the paper reports “{reported['value']}”{where}"


def check_phrase(table: Table, check: Mapping[str, Any], row: Mapping[str, Any]) -> Sentence:
    """`gradual(...) loses 1.6 points [1.0, 2.2] of accuracy against baseline (allowed: ...)`."""
    if row.get("effect") is None:  # another check of the claim has failed already
        return text(f"{long_name(row['metric'])} was not tested ({_why(row)})")
    known = table.metric(row["task"], row["metric"])
    say = words(row["scale"], row["metric"], told_as(known, check))
    of, other = ("code", row["of"]), ("code", row.get("other") or "")
    name = long_name(row["metric"])
    aside = text(f" ({'; '.join([*_where(table, row), _asked(check, row, say, known)])})")
    size = say.effect(row["effect"], row["low"], row["high"], line=row["threshold"])
    if check.get("effect"):
        kind = str(check["effect"]).replace("_", " ")
        against = [*text(" against "), other] if row.get("other") else []
        return [*text(f"the {kind} of {name} is {size} for "), of, *against, *aside]
    if row["scale"] == "difference":
        size = say.size(row["effect"], row["low"], row["high"], line=row["threshold"])
        return [of, *text(_change(row, known, name, size)), other, *aside]
    if row["scale"] == "ratio":
        return [
            of,
            *text(f" {VERBS.get(stem(row['metric']), 'has')} {size} the {_noun(row['metric'])} of "),
            other,
            *aside,
        ]
    return [of, *text(f" has {name} {size}"), *aside]


def _change(row: Mapping[str, Any], known: Mapping[str, Any] | None, name: str, size: str) -> str:
    """How a difference is said: gains and losses where more is better, else rises and falls."""
    rises = row["effect"] >= 0
    if known and known["better"] == "higher":
        return f" {'gains' if rises else 'loses'} {size} of {name} {'over' if rises else 'against'} "
    return f" {'raises' if rises else 'lowers'} {name} by {size} against "


def _noun(metric: str) -> str:
    return {"latency_s": "time", "energy_j": "energy", "train_s": "training time"}.get(
        stem(metric), long_name(metric)
    )


def _where(table: Table, row: Mapping[str, Any]) -> list[str]:
    spot = place(row["metric"])
    told = table.scope["tasks"].get(row["task"], {}).get("workloads", {}).get(spot, "")
    parts = [
        f"{spot}: {told}" if told else spot,
        row.get("setting") or "",
        row.get("note") or "",
        row["basis"] if row["basis"] == "modelled" else "",
    ]
    return [part for part in parts if part]


def _asked(
    check: Mapping[str, Any], row: Mapping[str, Any], say: Words, known: Mapping[str, Any] | None
) -> str:
    """The threshold in words; one of no effect was moved out by the band, and that is said."""
    if "within" in check:
        return f"asked: between {say.one(check['within'][0])} and {say.one(check['within'][1])}"
    above = "above" in check
    raw = float(check["above"] if above else check["below"])
    line = raw if row["threshold"] is None else row["threshold"]  # a check without cells was never judged
    moved = ", one band from no difference" if raw != line else ""
    if say.scale == "difference" and known and (line > 0) is not (known["better"] == "lower"):
        gain = "gain" if known["better"] == "higher" else "fall"
        return (
            f"asked: a {gain} of more than {say.one(abs(line))}{moved}"
            if above == (line > 0)
            else f"asked: below {say.one(line)}"
        )
    if say.scale == "difference" and known and line:
        loss = "loss" if known["better"] == "higher" else "rise"
        return (
            f"allowed: a {loss} of up to {say.one(abs(line))}{moved}"
            if above == (line < 0)
            else f"asked: beyond {say.one(line)}"
        )
    return f"asked: {'above' if above else 'below'} {say.one(line)}{moved}"


def facts(table: Table, check: Mapping[str, Any], row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All that stands beside a check's verdict, (word, text) each, in the order in which a reader asks for it."""
    ours = ""
    if row.get("effect") is not None:
        say = words(row["scale"], row["metric"], told_as(table.metric(row["task"], row["metric"]), check))
        ours = say.effect(row["effect"], row["low"], row["high"], sign=True, line=row["threshold"])
    where = f" ({row['reported_where']})" if row.get("reported_where") else ""
    told = [
        ("the paper", f"{row['reported']}{where}" if row.get("reported") else ""),
        ("here", ours),
        ("quality", quality_phrase(table, check, row)),
        ("smaller here", row.get("smaller")),
        ("sign", sign_phrase(table, check, row)),
        ("band", robust_phrase(check, row)),
        ("settings", settings_phrase(check, row).removeprefix("settings ")),
        ("held against", row.get("held_against")),
        ("would settle it", settle(table, check, row)),
        ("settle it", row.get("settle_command")),
        ("extended", row.get("extended")),
        ("repeat it", row.get("command")),
    ]
    return [(word, str(value)) for word, value in told if value]


def quality_phrase(table: Table, check: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What a saving costs: the task's first quality metric of the same two sides; empty beside a quality check.

    A method that is cheaper and has learnt nothing is no bargain, whatever its claim asks.
    """
    other = check.get("over") or check.get("minus")
    metrics = table.scope["tasks"].get(row["task"], {}).get("metrics") or []
    if row.get("effect") is None or check.get("effect") or check.get("quality") or not metrics:
        return ""
    if not isinstance(check.get("of"), str) or not isinstance(other, str):
        return ""
    metric = metrics[0]["name"]
    sides = {"task": row["task"], "quality": True, "metric": metric}
    try:
        change = compute(table, {**sides, "of": check["of"], "minus": other}).interval
        level = compute(table, {**sides, "of": check["of"]}).interval
    except Missing:
        return ""
    far, near = words("difference", metric, metrics[0]), words("value", metric, metrics[0])
    told = far.effect(change.effect, change.low, change.high, sign=True)
    return f"{long_name(metric)} {near.one(level.effect)}, {told} against the other side"


def tally(claims: Sequence[Mapping[str, Any]]) -> str:
    """`9 claims of papers: 5 hold here, ...; 8 questions of our own: 4 hold here, ...`.

    What we ask of a method is no claim of its authors: the two are never added up.
    """
    theirs = [claim for claim in claims if not claim.get("own")]
    ours = [claim for claim in claims if claim.get("own")]
    parts = [_counted(theirs, "claim of papers", "claims of papers")] * bool(theirs)
    parts += [_counted(ours, "question of our own", "questions of our own")] * bool(ours)
    return "; ".join(parts) or "no claims"


def _counted(claims: Sequence[Mapping[str, Any]], one: str, many: str) -> str:
    count = {
        verdict: sum(claim["verdict"] == verdict for claim in claims)
        for verdict in (HOLDS, SHORT, UNCLEAR, UNTESTED)
    }
    turned = sum(claim["verdict"] == SHORT and claim["reversed"] for claim in claims)
    note = f" ({turned} reversed)" if turned else ""
    hold, fall = count[HOLDS], count[SHORT]
    return (
        f"{len(claims)} {one if len(claims) == 1 else many}: {hold} hold{'s' * (hold == 1)} here, "
        f"{fall} fall{'s' * (fall == 1)} short here{note}, "
        f"{count[UNCLEAR]} unclear, {count[UNTESTED]} not tested"
    )


def plain(sentence: Sentence) -> str:
    """A sentence as text without any marks."""
    return "".join(part for _, part in sentence)


def brief(sentence: Sentence, length: int = 400) -> str:
    """A sentence for places with little room."""
    return shorten(plain(sentence), length)
