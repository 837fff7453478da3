"""A front for each family of methods: the task and cost that show most of its arms, the others faintly behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reports.content import Content
from reports.judging.fronts import Front, Point
from reports.notation import slug
from reports.views import TaskView

#: Methods that every family is held against are no family of their own.
REFERENCE = "reference"
#: A cost within this of the baseline's tells nothing apart.
MOVED = 0.02


@dataclass(frozen=True)
class FamilyFront:
    """The arms of one family, and the baseline, on a task's front.

    Attributes:
        front: with points of the family and the baseline; who is on it was judged among all arms.
        context: the other arms.
    """

    family: str
    task: TaskView
    front: Front
    context: tuple[Point, ...]

    @property
    def figure(self) -> str:
        """The name of its figure."""
        return slug(f"family-{self.family}")

    @property
    def drawn(self) -> tuple[Front, Mapping[str, Any], tuple[Point, ...], str]:
        """What the figure is made of."""
        return self.front, self.task.section.metric or {}, self.context, ""

    @property
    def best(self) -> list[Point]:
        """Its arms that are on the front of all arms, cheapest first."""
        return [point for point in self.front.best if not point.arm.baseline]


def families(content: Content) -> list[FamilyFront]:
    """One for each family, by name: the front on which most of its arms differ from the baseline in cost."""
    best: dict[str, tuple[int, TaskView, Front]] = {}
    for task in content.tasks:
        for front in task.every:
            moved = [point.arm.family for point in front.points if abs(point.cost.effect - 1.0) > MOVED]
            for family, number in Counter(moved).items():
                if family and family != REFERENCE and number > best.get(family, (0,))[0]:
                    best[family] = (number, task, front)
    return [_only(family, task, front) for family, (_, task, front) in sorted(best.items())]


def _only(family: str, task: TaskView, front: Front) -> FamilyFront:
    mine = tuple(point for point in front.points if point.arm.baseline or point.arm.family == family)
    rest = tuple(point for point in front.points if point not in mine)
    return FamilyFront(family, task, replace(front, points=mine), rest)
