"""What a page shows of a claim, a card and a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reports.drawing.studies import StudyFigure
from reports.judging.arms import Section
from reports.judging.costs import every_front
from reports.judging.forest import Forest
from reports.judging.fronts import Front
from reports.notation import slug
from reports.typesetting.grids import Grid
from reports.wording.sentences import Sentence

HOW_TO_READ = (
    "Each claim of a paper, and each question of our own, became an effect and a threshold; a verdict is computed "
    "from records, never typed.",
    "The 95 % interval decides: wholly beyond the threshold the claim holds, wholly short of it the claim "
    "falls short, across it the claim is unclear; what was not run here, or cannot be, is not tested.",
    "Intervals cover seeds and test items for quality, fresh processes for time; counted numbers are exact, "
    "modelled ones say so, and an effect inside the metric's indifference band counts as no difference.",
    "The direction is told apart (as claimed, none, reversed), and the grade says how close this is to the "
    "paper: A its own model and data, B the same mechanism, smaller, C a stand-in, counted or modelled.",
    "A claim that falls short here does so at this scale and on this machine; whether it stands in the "
    "paper's own setting is not said.",
)


#: What of a check's facts its sentence does not say already.
REMARKS = ("sign", "band", "settings", "would settle it")


@dataclass(frozen=True)
class ClaimView:
    """A claim on its paper's page.

    Attributes:
        checks: what stands beside each check, (its name where there are several, [(word, text)]): the paper's
            number and ours, the sign over seeds, the band, settings tried, what would settle it.
        common: what stands beside all of them, (word, text): what is smaller here, the command that repeats it.
        arms: (arm, label) of all cells behind it, where there are records.
    """

    id: str
    anchor: str
    says: str
    verdict: str
    own: bool
    sentence: Sentence
    checks: tuple[tuple[str, list[tuple[str, str]]], ...]
    common: tuple[tuple[str, str], ...]
    arms: tuple[tuple[str, str], ...] = ()

    @property
    def facts(self) -> tuple[str, ...]:
        """The remarks of each check in one line, for the LaTeX report."""
        found = []
        for name, told in self.checks:
            line = "; ".join(text for word, text in told if word in REMARKS)
            found += [f"{name}: {line}" if name else line] if line else []
        return tuple(found)


@dataclass
class PaperView:
    """A card with its forest and sentences."""

    card: Mapping[str, Any]
    forest: Forest
    claims: list[ClaimView]
    grid: Grid
    command: str
    faithful: list[str]
    studies: list[StudyFigure]

    @property
    def about(self) -> Mapping[str, Any]:
        """Title and year of the paper, or title of the study."""
        return dict(self.card.get("paper") or self.card.get("study") or {})

    @property
    def key(self) -> str:
        """The card's key."""
        return str(self.card["key"])

    @property
    def meta(self) -> list[tuple[str, str]]:
        """What else the card says: (word, text)."""
        card, about = self.card, self.about
        told = [("authors", about.get("authors")), ("paper", about.get("url")), ("code", about.get("code"))]
        told += [("smaller here", card.get("smaller")), ("held against", "; ".join(self.faithful))]
        changes = [
            ", ".join(f"{key}: {value}" for key, value in change.items())
            for change in card.get("changes") or ()
        ]
        told.append(("thresholds changed", "; ".join(changes)))
        told.append(("notes", card.get("notes")))
        return [(word, str(text)) for word, text in told if text]

    @property
    def bibtex(self) -> str:
        """The paper as BibTeX, as far as the card says."""
        return bibtex(self.card)

    @property
    def figure(self) -> str:
        """The name of its forest plot."""
        return slug(f"forest-{self.key}")


@dataclass
class TaskView:
    """A task with its table and fronts."""

    section: Section
    fronts: list[Front]
    arms: Grid
    costs: Grid

    @property
    def drawn(self) -> list[str]:
        """Names of the figures of its fronts."""
        return [slug(f"front-{self.name}-{front.metric}") for front in self.fronts]

    @cached_property
    def every(self) -> list[Front]:
        """A front for each cost by which its arms differ."""
        return every_front(self.section, self.fronts)

    @property
    def count(self) -> int:
        """How many arms it has."""
        return len(self.section.arms)

    @property
    def base(self) -> str:
        """What its arms are held against."""
        return next((arm.label for arm in self.section.arms if arm.baseline), "its baseline")

    @property
    def name(self) -> str:
        """A short name for files: the task, and its id where knobs make several of it."""
        return f"{self.section.task}-{self.section.task_id[:6]}-{self.section.baseline[:4]}"


def bibtex(card: Mapping[str, Any]) -> str:
    """A card's paper as an entry of BibTeX; braces, which would end a field, are left out of its values."""
    about = dict(card.get("paper") or card.get("study") or {})
    fields = [("author", about.get("authors")), ("title", about.get("title")), ("year", about.get("year"))]
    fields += [("url", about.get("url")), ("note", f"code: {about['code']}" if about.get("code") else None)]
    lines = [f"  {name} = {{{_plain(value)}}}," for name, value in fields if value]
    return "\n".join([f"@misc{{{slug(str(card['key']))},", *lines, "}"])


def _plain(value: object) -> str:
    """A value of BibTeX: backslashes and braces out, and what LaTeX would take for a command escaped."""
    text = "".join(letter for letter in " ".join(str(value).split()) if letter not in "\\{}")
    return "".join(f"\\{letter}" if letter in "%&#$_" and "://" not in text else letter for letter in text)
