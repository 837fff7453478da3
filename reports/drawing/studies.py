"""The figures of cards, by kind: trade-offs (tradeoffs.py), break-evens (crossover.py), stopping (protocols.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.drawing import crossover, protocols, tradeoffs
from reports.judging.arms import Section
from reports.judging.table import Table
from reports.notation import slug


@dataclass(frozen=True)
class StudyFigure:
    """A figure of a card that has something to show.

    Attributes:
        name: of its files.
        caption: what the card says of it, and what is missing.
        summary: its numbers in words, for readers who do not see it.
        content: what is drawn.
    """

    name: str
    caption: str
    summary: str
    content: Any

    def draw(self) -> Any:
        """The matplotlib figure."""
        if isinstance(self.content, tradeoffs.TradeOff):
            return tradeoffs.figure(self.content)
        if isinstance(self.content, protocols.Turn):
            return protocols.figure(self.content.marks)
        found, spec = self.content
        xlabel = str(spec["x"].get("label") or spec["x"].get("knob") or spec["x"].get("workload")).replace(
            "_", " "
        )
        return crossover.figure(found, xlabel)


def study_figures(table: Table, card: Mapping[str, Any], sections: Sequence[Section]) -> list[StudyFigure]:
    """The figures of one card that have at least two points."""
    turn = protocols.turn(table, card)
    name = slug(f"study-{card['key']}-rules")
    rules = [StudyFigure(name, turn.caption, turn.summary, turn)] if turn else []
    return [*rules, *_figures(table, card, sections)]


def _figures(table: Table, card: Mapping[str, Any], sections: Sequence[Section]) -> Iterator[StudyFigure]:
    for spec in card.get("figures") or ():
        name = slug(f"study-{card['key']}-{spec['id']}")
        if spec.get("kind") == "break-even":
            found = break_even(spec, sections)
            if found:
                yield StudyFigure(name, _sentence(spec["says"]), _told(found), (found, spec))
            continue
        drawn = tradeoffs.trade_off(table, spec)
        if sum(len(line.dots) for line in drawn.lines) > 1:
            yield StudyFigure(name, tradeoffs.caption(drawn), tradeoffs.summary(drawn), drawn)


def break_even(spec: Mapping[str, Any], sections: Sequence[Section]) -> list[crossover.Curve]:
    """Speed-up curves of the figure's own cells."""
    (setting,) = spec["settings"]  # a break-even has one; the planner sees to that
    for section in sections:
        if (section.task_id, section.baseline) != (setting["task_id"], setting["baseline"]):
            continue
        mine = replace(section, arm_ids=[arm for arm in section.arm_ids if arm in spec["arms"]])
        if "workload" in spec["x"]:
            return crossover.by_workload(mine, spec["y"]["metric"], rf"^{spec['x']['workload']}@?(\d+)$")
        log = "x" in spec.get("log", "")
        return crossover.by_knob(mine, spec["x"]["knob"], spec["y"]["metric"], log)
    return []


def _told(found: Sequence[crossover.Curve]) -> str:
    parts = []
    for curve in found:
        meets = ", ".join(crossover.told(crossing) for crossing in crossover.crossings(curve))
        parts.append(f"{curve.name}: {'breaks even at ' + meets if meets else 'does not cross 1 here'}")
    return "; ".join(parts)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
