"""One question under several stopping rules: the figure that shows how its answer turns with the rule.

A card names its claims `time-<rule>`, `accuracy-<rule>` and `energy-<rule>`; every claim's first check is drawn. A
column is there where at least one of its checks has a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.drawing.palette import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, pyplot
from reports.judging.table import Table
from reports.judging.verdicts import HOLDS, SHORT, judge_check

#: Rules in the order in which they are drawn: key in the card's claims, name, and what it means.
RULES = (
    ("as-published", "as published", "a layer: patience 4, 15 passes at most;\nbackpropagation: patience 20"),
    ("one-rule", "one rule for all", "patience 20 for backpropagation\nand for every layer"),
    ("one-short-rule", "one short rule", "patience 4 and 30 passes\nat most for both"),
    (
        "matched-passes",
        "matched passes",
        "no stopping: 30 passes over the data\nfor both, shared by the layers",
    ),
)
#: Columns: prefix of the claims, title, and whether it is a ratio.
COLUMNS = (
    ("time", "time to train, MF / BP", True),
    ("energy", "energy to train, MF / BP", True),
    ("accuracy", "accuracy, MF − BP, points", False),
)
#: The authors' own numbers, CIFAR-10, 3 x 2,000 units (code of arXiv 2509.19063: Phase 4 report, 3 seeds; later
#: README, 20 seeds), by (column, rule): ratios, or points of accuracy.
AUTHORS = {
    ("time", "as-published"): 0.662,
    ("time", "one-rule"): 3.96,
    ("energy", "as-published"): 0.593,
    ("energy", "one-rule"): 3.20,
    ("energy", "matched-passes"): 0.801,
    ("accuracy", "as-published"): 1.21,
    ("accuracy", "one-rule"): 3.90,
    ("accuracy", "matched-passes"): -1.11,
}
#: The same on Fashion-MNIST, 2 x 1,000 units.
AUTHORS_FASHION = {
    ("time", "as-published"): 1.18,
    ("energy", "as-published"): 1.10,
    ("energy", "matched-passes"): 0.957,
    ("accuracy", "as-published"): 0.51,
    ("accuracy", "matched-passes"): -0.49,
}
COLOURS = {HOLDS: GREEN, SHORT: ORANGE}


@dataclass(frozen=True)
class Mark:
    """One check under one rule.

    Attributes:
        column, rule: keys of `COLUMNS` and `RULES`.
        value, low, high: a ratio, or points.
        replicates: the same of every round (time, turned to the steps of all seeds) or seed.
        verdict: of the check.
    """

    column: str
    rule: str
    value: float
    low: float
    high: float
    replicates: tuple[float, ...]
    verdict: str


@dataclass(frozen=True)
class Turn:
    """What a figure of rules shows."""

    marks: tuple[Mark, ...]

    @property
    def caption(self) -> str:
        """What is seen, in one sentence."""
        return "One question under several stopping rules: the same networks, rates and batches, stopped differently."

    @property
    def summary(self) -> str:
        """Its numbers in words, for readers who do not see it."""
        names = {rule: name for rule, name, _ in RULES}
        titles = {column: title for column, title, _ in COLUMNS}
        told = [
            f"{titles[m.column]}, {names[m.rule]}: {_say(m.column, m.value)} "
            f"({_say(m.column, m.low)} to {_say(m.column, m.high)}), {m.verdict}"
            for m in self.marks
        ]
        return "; ".join(told) + "."


def turn(table: Table, card: Mapping[str, Any]) -> Turn | None:
    """The figure of a card that asks one thing under at least two rules; None for other cards."""
    found = marks(table, card)
    return Turn(tuple(found)) if len({mark.rule for mark in found}) > 1 else None


def marks(table: Table, card: Mapping[str, Any]) -> list[Mark]:
    """What the rules say, as far as it was measured; computed from records by the card's own checks."""
    claims = {claim["id"]: claim for claim in card["claims"]}
    return [mark for column, _, ratio in COLUMNS for mark in _column(table, claims, column, ratio)]


def _column(table: Table, claims: Mapping[str, Any], column: str, ratio: bool) -> Iterator[Mark]:
    factor = 1.0 if ratio else 100.0
    for rule, *_ in RULES:
        checks = claims.get(f"{column}-{rule}", {}).get("checks")
        row = judge_check(table, checks[0]) if checks else {}
        if row.get("effect") is None:
            continue
        value, low, high = (factor * row[name] for name in ("effect", "low", "high"))
        dots = tuple(factor * one for one in row["replicates"]) if row["low"] < row["high"] else ()
        yield Mark(column, rule, value, low, high, dots, row["verdict"])


def figure(found: Sequence[Mark]) -> Any:
    """Every rule a row, every quantity a column; None where nothing was measured."""
    shown = [column for column in COLUMNS if any(mark.column == column[0] for mark in found)]
    rules = [rule for rule in RULES if any(mark.rule == rule[0] for mark in found)]
    if not shown:
        return None
    plt = pyplot()
    drawn, grid = plt.subplots(
        1,
        len(shown),
        sharey=True,
        squeeze=False,
        figsize=(1.35 + 2.55 * len(shown), 0.75 + 0.62 * len(rules)),
    )
    for axes, (column, title, ratio) in zip(grid[0], shown, strict=True):
        _axes(axes, [mark for mark in found if mark.column == column], rules, ratio)
        axes.set_xlabel(title)
    grid[0][0].set_yticks(range(len(rules)), [f"{name}\n{told}" for _, name, told in rules])
    grid[0][0].set_ylim(len(rules) - 0.45, -0.55)
    _legend(drawn, grid[0])
    return drawn


def _axes(axes: Any, column: Sequence[Mark], rules: Sequence[tuple[str, str, str]], ratio: bool) -> None:
    nothing = 1.0 if ratio else 0.0
    axes.axvline(nothing, color=INK, lw=0.8, zorder=1)
    seen: list[float] = [nothing]
    for at, (rule, *_) in enumerate(rules):
        axes.axhline(at, color="#eeeeee", lw=0.6, zorder=0)
        for numbers, shape in ((AUTHORS, "D"), (AUTHORS_FASHION, "s")):
            theirs = numbers.get((column[0].column, rule))
            if theirs is not None:
                axes.plot([theirs], [at + 0.33], shape, color=PURPLE, mfc="white", mew=0.9, ms=3.6, zorder=3)
                seen.append(theirs)
        for mark in (one for one in column if one.rule == rule):
            seen += _mark(axes, mark, at)
    if ratio:
        axes.set_xscale("log", base=2)
        low, high = min(seen) / 1.3, max(seen) * 1.12  # room for the number over the first mark
        axes.set_xlim(low, high)
        ticks = [2.0**power for power in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]
        inside = [tick for tick in ticks if low <= tick <= high]
        axes.set_xticks(inside, [f"{tick:g}×" for tick in inside])
    else:
        pad = 0.08 * max(max(seen) - min(seen), 1.0)
        axes.set_xlim(min(seen) - pad, max(seen) + pad)


def _mark(axes: Any, mark: Mark, at: int) -> list[float]:
    """One estimate with its replicates and its interval; returns where it reaches."""
    colour = COLOURS.get(mark.verdict, GREY)
    axes.plot(
        mark.replicates, [at + 0.15] * len(mark.replicates), "|", color=colour, ms=4, mew=0.7, alpha=0.6
    )
    edges = [edge for edge in (mark.low, mark.high) if math.isfinite(edge)]
    if len(edges) == 2:
        axes.plot(edges, [at, at], color=colour, lw=2.0, solid_capstyle="round", zorder=2)
    axes.plot([mark.value], [at], "o", color=colour, ms=5, zorder=4)
    axes.annotate(
        _say(mark.column, mark.value),
        (mark.value, at),
        xytext=(0, 4.5),
        textcoords="offset points",
        ha="center",
        fontsize=6.6,
        bbox={"fc": "white", "ec": "none", "pad": 0.6},
        zorder=3.5,
    )
    return [mark.value, *edges, *mark.replicates]


def _say(column: str, value: float) -> str:
    return f"{value:+.1f}".replace("-", "−") if column == "accuracy" else f"{value:.2f}×"


def _legend(drawn: Any, columns: Sequence[Any]) -> None:
    axes = columns[-1]
    for colour, told in ((GREEN, "claim holds"), (ORANGE, "falls short"), (GREY, "unclear")):
        axes.plot([], [], "o-", color=colour, lw=2.0, ms=5, label=told)
    axes.plot([], [], "|", color=BLUE, ms=4, mew=0.7, label="one round (time) or seed")
    axes.plot([], [], "D", color=PURPLE, mfc="white", mew=0.9, ms=3.6, label="the authors, CIFAR-10")
    axes.plot([], [], "s", color=PURPLE, mfc="white", mew=0.9, ms=3.6, label="the authors, Fashion-MNIST")
    drawn.legend(loc="outside lower center", ncols=3, handlelength=1.4, columnspacing=1.2)
