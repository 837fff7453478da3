"""All figures of a scope as files: drawn by two processes, and not again where nothing that they show changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.digests import imports
from reports.content import Content
from reports.drawing.realised import prices, promises
from reports.drawing.svg import inline, save
from reports.site.families import families

#: What a figure is made of, kept beside the figures.
DIGESTS = "digests.json"
#: A process of its own costs two seconds of imports: fewer figures than this are drawn by this one.
ENOUGH = 6
WORKERS = 2


@dataclass(frozen=True)
class Job:
    """One figure: its file's name, what draws it, and from what."""

    name: str
    kind: str
    data: tuple[Any, ...]

    @property
    def digest(self) -> str:
        """Changes with anything that the figure could show, and with the code that draws."""
        return hashlib.sha256(f"{self.kind} {self.data!r} {_code()}".encode()).hexdigest()


def jobs(content: Content) -> list[Job]:
    """Every figure of a scope."""
    papers = [paper for paper in content.papers if paper.forest.drawn]
    found = [Job(paper.figure, "forest", (paper.forest,)) for paper in papers]
    found += [Job(f"{paper.figure}-column", "column", (paper.forest,)) for paper in papers]
    found += [Job(study.name, "study", (study,)) for paper in content.papers for study in paper.studies]
    for task in content.tasks:
        metric = task.section.metric or {}
        pairs = zip(task.drawn, task.fronts, strict=True)
        found += [Job(name, "front", (front, metric)) for name, front in pairs]
    found += [Job(family.figure, "front", family.drawn) for family in families(content)]
    if content.realised:
        kinds = sorted({arm.family for section in content.sections for arm in section.arms})
        told = (content.realised, promises(content.sections), kinds, prices(content.sections))
        found.append(Job("realised", "realised", told))
    found += [Job("noise", "noise", (content.floors,))] if content.floors else []
    return found


def draw(wanted: Sequence[Job], folder: Path, before: Path | None = None) -> dict[str, str]:
    """The figures as SVG and PDF in `folder`; they come back as SVG for pages.

    `before` holds the figures of an earlier page: what has the same digest there is copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = _known(before)
    kept = {
        job.name for job in wanted if known.get(job.name) == job.digest and _copy(before, folder, job.name)
    }
    missing = [job for job in wanted if job.name not in kept]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    drawn = {name: inline((folder / f"{name}.svg").read_text(), name) for name in kept}
    if len(missing) >= ENOUGH and cores > 1:
        drawn |= _together(missing, folder)
    drawn |= dict(_one(job, folder) for job in missing if job.name not in drawn)
    (folder / DIGESTS).write_text(json.dumps({job.name: job.digest for job in wanted}, indent=0) + "\n")
    return {job.name: drawn[job.name] for job in wanted}


def _together(missing: Sequence[Job], folder: Path) -> dict[str, str]:
    """Drawn by processes of their own; nothing where this system will not have any.

    Spawned, not forked: the table's reader has threads, which do not survive a fork.
    """
    try:
        with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
            return dict(pool.map(_one, missing, [folder] * len(missing), chunksize=2))
    except (BrokenProcessPool, OSError):
        return {}


def _one(job: Job, folder: Path) -> tuple[str, str]:
    return job.name, save(_figure(job), folder, job.name)


def _figure(job: Job) -> Any:
    from reports.drawing import figures, forestplot, realised, studies

    makers: Mapping[str, Any] = {
        "forest": forestplot.figure,
        "column": forestplot.column,
        "front": figures.front,
        "realised": realised.figure,
        "noise": figures.noise,
        "study": studies.StudyFigure.draw,
    }
    return makers[job.kind](*job.data)


def _known(before: Path | None) -> dict[str, str]:
    try:
        told = json.loads((before / DIGESTS).read_text()) if before else {}
    except (OSError, json.JSONDecodeError):
        return {}
    return told if isinstance(told, dict) else {}


def _copy(before: Path | None, folder: Path, name: str) -> bool:
    """True when both files were there."""
    assert before is not None
    paths = [before / f"{name}.{kind}" for kind in ("svg", "pdf")]
    if not all(path.is_file() for path in paths):
        return False
    for path in paths:
        shutil.copyfile(path, folder / path.name)
    return True


@cache
def _code() -> str:
    """A digest of the modules that draw and of what they import here, of the style, and of matplotlib's version."""
    here = Path(__file__).parent
    found: set[Path] = set()
    wanted = {
        here / "drawing" / f"{name}.py" for name in ("figures", "forestplot", "realised", "studies", "svg")
    }
    while wanted:
        file = wanted.pop()
        found.add(file)
        wanted |= set(imports(file, here.parent)) & set(here.rglob("*.py")) - found
    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)]
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(here.rglob("*.mplstyle"))]
    return " ".join([version("matplotlib"), *parts])
