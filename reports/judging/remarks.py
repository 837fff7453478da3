"""What stands beside a verdict, computed from rows and the card: signs, bands, settings tried, what would settle it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.judging.contrasts import arms_of
from reports.judging.outcomes import UNCLEAR
from reports.judging.table import Table


def same_sign(row: Mapping[str, Any]) -> int:
    """How many replicates lie on the effect's side of no effect (of the threshold, for a plain value)."""
    line = {"difference": 0.0, "ratio": 1.0}.get(row["scale"], row["threshold"])
    return sum((value > line) == (row["effect"] > line) for value in row.get("replicates") or ())


def sign_phrase(table: Table, check: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Whether the sign holds in every replicate: `the same sign in 5 of 5 seeds`."""
    values = list(row.get("replicates") or ())
    if row.get("effect") is None or not values:
        return ""
    word = row.get("replicate") or "seeds"
    if word == "draws":
        return "the interval covers the draws of the stated ranges"
    if row["low"] == row["high"]:
        count = f"all {len(values)} {word}" if len(values) > 1 else f"one {word[:-1]}"
        return f"exact: the same number in {count}"
    if len(values) == 1:
        covers = ": the interval covers test items, not other seeds" if word == "seeds" else ""
        return f"one {word[:-1]} only{covers if abs(row['high']) != float('inf') else ''}"
    what = "the same side of the threshold" if row["scale"] == "value" else "the same sign"
    return f"{what} in {same_sign(row)} of {len(values)} {word}"


def robust_phrase(check: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Whether half or twice the band gives another verdict; empty where the band plays no part."""
    if row.get("effect") is None or "within" in check:
        return ""
    raw = float(check["above"] if "above" in check else check["below"])
    if raw == row["threshold"]:
        return ""
    if row["robust"]:
        return "half or twice the band: the same verdict"
    turned = [
        f"{name} the band: {row[key]}"
        for name, key in (("half", "half_band"), ("twice", "twice_band"))
        if row.get(key) not in (None, row["verdict"])
    ]
    return "; ".join(turned) or "half or twice the band would change the verdict"


def settings(table: Table, card: Mapping[str, Any], check: Mapping[str, Any]) -> dict[str, Any]:
    """How many settings stand behind each side: what `best` chose among, what the card runs, trials of a tuning study.

    Returns:
        `tried_of`, `tried_other`: numbers; `tried`: in words.
    """
    other = check.get("minus") or check.get("over")
    sides = [check.get("of"), *([other] if other else [])]
    told = [_behind(table, card, check, side) for side in sides]
    counts = [count for count, _ in told]
    how = [f"{count}{f' ({why})' if why else ''}" for count, why in told]
    words = "" if set(counts) == {1} else f"settings tried: {' against '.join(how)}"
    return {"tried_of": counts[0], "tried_other": counts[1] if other else None, "tried": words}


def _behind(table: Table, card: Mapping[str, Any], check: Mapping[str, Any], side: Any) -> tuple[int, str]:
    """(number of settings, how one of them was chosen) of one side."""
    best = isinstance(side, Mapping)
    arms = arms_of(side)
    trials = _trials(table, check, arms)
    tuned = f"after {trials} tuning trials" if trials else ""
    if best:
        why = ", ".join(filter(None, ("chosen on validation data", tuned)))
        return len(arms) + trials, why
    if len(arms) > 1:
        return len(arms) + trials, ", ".join(filter(None, ("all of them read", tuned)))
    grid = _grid(table, card, check, arms[0]) if arms else 1
    return grid + trials, ", ".join(filter(None, ("named by the claim" if grid > 1 else "", tuned)))


def _grid(table: Table, card: Mapping[str, Any], check: Mapping[str, Any], arm: str) -> int:
    """How many settings of one arm's method the card runs on the check's task."""
    known = table.arms.get(arm)
    if known is None:
        return 1
    run = {
        other for run in card.get("runs", ()) if run["task_id"] == known["task_id"] for other in run["arms"]
    }
    return max(1, sum(table.arms[other]["method"] == known["method"] for other in run if other in table.arms))


def _trials(table: Table, check: Mapping[str, Any], arms: Sequence[str]) -> int:
    """Trials of the committed tuning studies that found knobs of some of these arms."""
    studies = table.scope.get("tuning") or {}
    used = set()
    for arm in (table.arms[arm] for arm in arms if arm in table.arms):
        name = f"{check['task']}.{arm['method']}"
        found = studies.get(name) or {"knobs": {}}
        if found["knobs"] and found["knobs"].items() <= arm["knobs"].items():
            used.add(name)
    return sum(int(studies[name]["trials"]) for name in used)


def settings_phrase(check: Mapping[str, Any], row: Mapping[str, Any] | None = None) -> str:
    """How many settings were tried on each side; without a row, only what `best` chose among."""
    if row is not None and row.get("tried") is not None:
        return str(row["tried"])
    sides = [check.get("of"), check.get("minus") or check.get("over")]
    if not any(isinstance(side, Mapping) for side in sides):
        return ""
    counts = [len(side["best"]) if isinstance(side, Mapping) else 1 for side in sides if side]
    return f"settings tried: {' against '.join(map(str, counts))}, chosen on validation data"


def settle(table: Table, check: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """What would settle an unclear check, if its estimate and spread stay as they are."""
    return str(row.get("settle") or "") if row.get("verdict") == UNCLEAR else ""


def command(card: Mapping[str, Any], scope: Mapping[str, Any]) -> str:
    """The command that repeats a card, under the plan of the page or a smaller one that has all of it."""
    plan = str(card.get("plan") or scope.get("typed") or scope.get("plan") or "default")
    under = "" if plan == "default" else f" --config plan={shlex.quote(plan)}"
    return f"snakemake --cores 2{under} {card['target']}"


def extension(table: Table, card: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The command that would add what settles a check; empty where that is nothing that a command can add."""
    what, n = row.get("settle_what"), row.get("settle_n")
    if row.get("verdict") != UNCLEAR or what not in ("seeds", "rounds") or not n or n != n:
        return ""
    plan = str(table.scope.get("plan") or "default")
    where = "" if plan == "default" else f" --plan {plan}"
    return f"joulemark extend {card['key']} --{what} {int(n)}{where}"


def faithful(entry: Mapping[str, Any] | None) -> Iterator[str]:
    """What the method was held against, a phrase each."""
    for name, value in (entry or {}).items():
        told = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield f"{name.replace('_', ' ')}: {told}"


def extended(table: Table, card: Mapping[str, Any]) -> str:
    """That a card has more seeds or rounds than its plan, since somebody asked for them after a first look."""
    asked = ((table.scope.get("settings") or {}).get("extend") or {}).get(card["key"]) or {}
    parts = [f"{count} {what}" for what, count in sorted(asked.items())]
    return f"extended to {' and '.join(parts)} by request" if parts else ""
