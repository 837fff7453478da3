"""This machine beside the reference machines: the same checks, judged from each machine's own records.

A reference page lies at report/reference-<machine>/all; its verdicts.parquet has the same rows as ours, so a
check is found again by paper, claim and number. Nothing is averaged over machines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reports.content import Content
from reports.judging.verdicts import UNTESTED
from reports.typesetting.grids import Cell, Grid, Head

KEY = ["paper", "claim", "check"]


@dataclass(frozen=True)
class Other:
    """One reference machine.

    Attributes:
        href: its front page, from the root of this scope's folder.
        same, moved: claims with the same verdict, and rows of those with another one.
        overlap, checks: checks whose intervals overlap, of all that both have.
        stale, records: cell records that today's code would make anew, of all.
    """

    name: str
    machine: str
    href: str
    same: int
    moved: tuple[Mapping[str, Any], ...]
    overlap: int
    checks: int
    stale: int
    records: int


def others(content: Content, out: Path) -> list[Other]:
    """Reference machines whose pages lie beside `out` (report/<plan>/<scope>), without the page itself."""
    found = []
    for path in sorted(out.parent.parent.glob("reference-*/all/verdicts.parquet")):
        if path.parent == out:
            continue
        told = _summary(path.with_name("summary.json"))
        try:
            theirs = pd.read_parquet(path)
        except (OSError, ValueError):
            continue
        found.append(_other(content, path.parent.parent.name, told, theirs))
    return found


def _summary(path: Path) -> Mapping[str, Any]:
    try:
        told = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return told if isinstance(told, dict) else {}


def _other(content: Content, plan: str, told: Mapping[str, Any], theirs: pd.DataFrame) -> Other:
    both = content.verdicts[[*KEY, "says", "claim_verdict", "effect", "low", "high"]].merge(
        theirs[[*KEY, "claim_verdict", "effect", "low", "high"]], on=KEY, suffixes=("", "_there")
    )
    both = both[(both["claim_verdict"] != UNTESTED) & (both["claim_verdict_there"] != UNTESTED)]
    claims = both.drop_duplicates(["paper", "claim"])
    moved = claims[claims["claim_verdict"] != claims["claim_verdict_there"]]
    able = both[both["effect"].notna() & both["effect_there"].notna()]
    overlap = (able["low"] <= able["high_there"]) & (able["low_there"] <= able["high"])
    return Other(
        plan.removeprefix("reference-"),
        str(told.get("machine", "")),
        f"../../{plan}/all/index.html",
        len(claims) - len(moved),
        tuple(moved.to_dict("records")),  # type: ignore[arg-type]
        int(overlap.sum()),
        len(able),
        int(told.get("stale") or 0),
        int(str(told.get("cells") or "0").replace(",", "")),
    )


def moved_grid(found: list[Other]) -> Grid:
    """Claims whose verdict differs between machines."""
    heads = [Head("claim"), Head("here"), Head("there"), Head("machine")]
    grid = Grid("moved", "Claims with another verdict on a reference machine", heads)
    for other in found:
        for row in other.moved:
            here, there = str(row["claim_verdict"]), str(row["claim_verdict_there"])
            grid.rows.append([
                Cell(f"{row['paper']}: {row['says']}"), Cell(here, tone=f"v-{here.replace(' ', '-')}"),
                Cell(there, tone=f"v-{there.replace(' ', '-')}"), Cell(other.name),
            ])  # fmt: skip
    return grid
