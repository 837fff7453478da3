"""Where things stand on the site of a scope: a path for every page, made from names that may hold anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from reports.content import Content
from reports.notation import slug
from reports.views import TaskView
from reports.wording.findings import anchor

#: Letters of a name that become part of a file's name: zip and tar tools keep paths of a hundred or so.
LONGEST = 60


def paths(folder: str, names: Iterable[str]) -> dict[str, str]:
    """Name -> folder/slug.html; names that would share a file (also where case is ignored) get a number."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        if name in found:
            continue
        base = path = slug(name)[:LONGEST].strip("-") or "unnamed"
        number = 1
        while path.lower() in taken:
            number += 1
            path = f"{base}-{number}"
        taken.add(path.lower())
        found[name] = f"{folder}/{path}.html"
    return found


def claim_spot(claim: str) -> str:
    """The fixed address of a claim on the page of its paper."""
    return slug(f"claim-{claim}")


def setting_spot(task: TaskView) -> str:
    """The address of one setting of a task on the task's page."""
    return slug(f"at-{task.name}")


@dataclass
class Addresses:
    """Paths from the root of the scope's folder."""

    content: Content

    @cached_property
    def papers(self) -> dict[str, str]:
        """Key of a card -> its page."""
        return paths("papers", (str(card["key"]) for card in self.content.table.scope["cards"]))

    @cached_property
    def tasks(self) -> dict[str, str]:
        """Name of a task -> the page of all its settings."""
        return paths("tasks", (task.section.task for task in self.content.tasks))

    @cached_property
    def methods(self) -> dict[str, str]:
        """Name of a method -> its page."""
        return paths("methods", sorted({str(arm["method"]) for arm in self.content.table.arms.values()}))

    @cached_property
    def cells(self) -> dict[str, str]:
        """Arm -> the page of its records."""
        return paths("cells", sorted(map(str, self.content.table.arms)))

    @cached_property
    def spots(self) -> dict[str, str]:
        """What findings call a place -> where it is on the site."""
        found = {"realised": "index.html#realised"}
        for paper in self.content.papers:
            for claim in paper.claims:
                spot = f"{self.papers[paper.key]}#{claim_spot(claim.id)}"
                found[anchor(paper.key, claim.id)] = spot
        for task in self.content.tasks:
            spot = f"{self.tasks[task.section.task]}#{setting_spot(task)}"
            found.setdefault(f"task-{task.section.task_id}", spot)
        return found
