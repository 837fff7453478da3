"""Everything a page says, computed once from a table: the HTML site and the LaTeX report only lay it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from reports.drawing.studies import study_figures
from reports.judging import measuring, scoreboard
from reports.judging.arms import Section, sections
from reports.judging.contrasts import arms_of
from reports.judging.footprint import Footprint, footprint
from reports.judging.forest import forest
from reports.judging.fronts import fronts
from reports.judging.table import Table
from reports.judging.verdicts import judge
from reports.notation import short_name
from reports.typesetting import tables, task_tables
from reports.typesetting.grids import Grid
from reports.views import ClaimView, PaperView, TaskView
from reports.wording.findings import Finding, anchor, findings
from reports.wording.sentences import claim_sentence, command, facts, faithful, tally

#: What stands beside every verdict of a card alike: told once a claim, not once a check.
COMMON = ("smaller here", "held against", "repeat it", "extended")


@dataclass
class Content:
    """What a page says."""

    table: Table
    digest: str = ""
    verdicts: pd.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        """Judge once."""
        self.verdicts = judge(self.table)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Verdict rows with None for what is not there."""
        return [
            {key: _or_none(value) for key, value in row.items()} for row in self.verdicts.to_dict("records")
        ]

    @property
    def plan(self) -> str:
        """The plan's name."""
        return str(self.table.scope["plan"])

    @property
    def scope(self) -> str:
        """The scope's name."""
        return str(self.table.scope["scope"])

    @cached_property
    def title(self) -> str:
        """What the page is about."""
        cards = self.table.scope["cards"]
        kind, _, name = self.scope.partition("_")
        if kind in ("paper", "study") and len(cards) == 1:
            return str((cards[0].get("paper") or cards[0].get("study"))["title"])
        if kind == "all" and self.table.scope.get("reference"):
            return f"The reference run of {self.table.scope['reference']['machine']}"
        told = {
            "all": f"Everything in the plan “{self.plan}”",
            "tour": "The tour",
            "family": f"The family “{name}”",
            "task": f"The task “{name}”",
        }
        return told.get(kind, self.scope)

    @cached_property
    def missing(self) -> str:
        """What a reader must know before all else: small knobs, arms without a record; empty where neither is so."""
        small = (
            "This plan gives every task and method its small knobs: it shows that things run, and its numbers and "
            "verdicts say nothing about any method. "
        ) * self.small
        wanted = {arm for card in self.table.scope["cards"] for run in card["runs"] for arm in run["arms"]}
        without = len(wanted - set(self.table.arms))
        lost = f"This page is made of what exists: {without} of {len(wanted)} arms have no record yet."
        return (small + lost * bool(without)).strip()

    @property
    def small(self) -> bool:
        """Whether the plan runs with small knobs: a trial of the workflow, not of a method."""
        return bool((self.table.scope.get("settings") or {}).get("small"))

    @cached_property
    def sections(self) -> list[Section]:
        """Tasks that have rows."""
        return [section for section in sections(self.table) if section.arms]

    @cached_property
    def tasks(self) -> list[TaskView]:
        """Tasks with their tables and fronts."""
        return [self._task(section) for section in self.sections]

    def _task(self, section: Section) -> TaskView:
        found = fronts(section)
        view = TaskView(section, found, Grid("", "", []), Grid("", "", []))
        view.arms = task_tables.arms_grid(section, found, f"arms-{view.name}")
        view.costs = task_tables.costs_grid(section, f"costs-{view.name}")
        return view

    @cached_property
    def papers(self) -> list[PaperView]:
        """Cards with their forests and sentences."""
        return [self._paper(card) for card in self.table.scope["cards"]]

    def _paper(self, card: Mapping[str, Any]) -> PaperView:
        mine = [row for row in self.rows if row["paper"] == card["key"]]
        drawn = forest(self.table, card, mine)
        claims = [
            self._claim(card, claim, [row for row in mine if row["claim"] == claim["id"]])
            for claim in card["claims"]
        ]
        grid = tables.verdicts_grid(drawn, f"verdicts-{card['key']}")
        studies = study_figures(self.table, card, self.sections)
        return PaperView(
            card,
            drawn,
            claims,
            grid,
            command(card, self.table.scope),
            list(faithful(card.get("faithful"))),
            studies,
        )

    def _claim(
        self, card: Mapping[str, Any], claim: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> ClaimView:
        beside: list[tuple[str, list[tuple[str, str]]]] = []
        common: dict[str, str] = {}
        for check, row in zip(claim.get("checks") or (), rows, strict=False):
            told = facts(self.table, check, row)
            common |= {word: text for word, text in told if word in COMMON}
            name = f"{short_name(row['metric'])} of {row['of']}" if len(rows) > 1 else ""
            beside.append((name, [(word, text) for word, text in told if word not in COMMON]))
        return ClaimView(
            claim["id"],
            anchor(card["key"], claim["id"]),
            claim["says"],
            rows[0]["claim_verdict"],
            bool(rows[0]["own"]),
            claim_sentence(self.table, card, claim, rows),
            tuple(beside),
            tuple(common.items()),
            tuple(self._behind(claim)),
        )

    def _behind(self, claim: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """(arm, label) of every cell that a claim's checks read."""
        sides = [check.get(side) for check in claim.get("checks") or () for side in ("of", "minus", "over")]
        for arm in dict.fromkeys(arm for side in sides for arm in arms_of(side)):
            if arm in self.table.arms:
                yield arm, self.table.arms[arm]["label"]

    @cached_property
    def claims(self) -> list[scoreboard.Claim]:
        """All claims of the scope."""
        return scoreboard.claims_of(self.rows)

    @property
    def tally(self) -> str:
        """One line on all scored claims."""
        return tally(
            [
                {"verdict": claim.verdict, "reversed": claim.reversed, "own": claim.own}
                for claim in self.claims
                if claim.scored
            ]
        )

    @cached_property
    def scoreboard(self) -> Grid:
        """Outcome by grade."""
        grid = tables.scoreboard_grid(scoreboard.matrix([claim for claim in self.claims if not claim.own]))
        built = sum(not claim.scored for claim in self.claims)
        if built:
            grid.notes = [
                f"{built} more {'is' if built == 1 else 'are'} true by construction and not scored."
            ]
        return grid

    @cached_property
    def own_board(self) -> Grid | None:
        """The same of what no paper claims: our own questions and studies."""
        own = [claim for claim in self.claims if claim.own]
        if not any(claim.scored for claim in own):
            return None
        return tables.scoreboard_grid(
            scoreboard.matrix(own), "own-questions", "Questions of our own, by outcome and grade"
        )

    @cached_property
    def chance(self) -> Grid:
        """What chance may have done."""
        return tables.chance_grid(scoreboard.chance(self.claims))

    @property
    def chance_line(self) -> str:
        """Expected false holds over all families, in one sentence."""
        found = scoreboard.chance(self.claims)
        tested, expected = sum(entry.tested for entry in found), sum(entry.expected for entry in found)
        if not tested:
            return "No claim has an interval yet, so there is nothing that chance could have done."
        holds, kept = sum(entry.holds for entry in found), sum(entry.kept for entry in found)
        return (
            f"If every effect lay exactly at its threshold, {expected:.1f} of the {tested} claims with an "
            f"interval would hold by chance (2.5 % each); {holds} hold{'s' * (holds == 1)}, "
            f"and {kept} of these stay{'s' * (kept == 1)} after Benjamini and Hochberg's correction at 10 %."
        )

    @cached_property
    def realised(self) -> list[measuring.Realised]:
        """Nominal against realised saving, of models."""
        return measuring.realised(self.sections)

    @cached_property
    def floors(self) -> list[measuring.Floor]:
        """The noise floor."""
        return measuring.floors(self.table)

    @cached_property
    def footprint(self) -> Footprint:
        """What the run cost."""
        return footprint(self.table)

    @cached_property
    def findings(self) -> list[Finding]:
        """Three findings in plain words; none where the knobs are small."""
        if self.small:
            return []
        forests = [(paper.card, paper.forest) for paper in self.papers]
        pairs = [(task.section, front) for task in self.tasks for front in task.fronts]
        return findings(self.table, forests, self.rows, self.realised, pairs)

    @cached_property
    def machines(self) -> list[tuple[dict[str, str], int]]:
        """Machines and software that records name."""
        return measuring.machines(self.table)

    @cached_property
    def measuring(self) -> dict[str, Grid]:
        """Tables on how it was measured."""
        found = measuring.failures(self.table)
        return {
            "noise": tables.floors_grid(self.floors),
            "flags": tables.flags_grid(measuring.flags(self.table)),
            "failures": tables.failures_grid(found, "failures", "Cells without a result"),
            "nulls": tables.failures_grid(measuring.nulls(self.table), "nulls", "Numbers that are null"),
            "machines": tables.machines_grid(self.machines),
        }

    @property
    def grids(self) -> list[Grid]:
        """Every table of the page."""
        parts = [grid for paper in self.papers for grid in [paper.grid]]
        parts += [grid for task in self.tasks for grid in (task.arms, task.costs)]
        return [
            self.scoreboard,
            *([self.own_board] if self.own_board else []),
            self.chance,
            *parts,
            tables.realised_grid(self.realised),
            *self.measuring.values(),
        ]


def _or_none(value: Any) -> Any:
    if isinstance(value, (list, tuple)) or value is None:
        return value
    return None if pd.isna(value) else value
