"""The site of one scope: a front page, a page a paper, task, method and arm, and what stands behind them."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from benchmarks.records import dump
from reports.content import Content
from reports.judging.costs import costs_of
from reports.judging.scoreboard import OUTCOMES, counts
from reports.site import beside, chartdata, dictionary, searching
from reports.site import pages as site
from reports.site.addresses import Addresses, setting_spot
from reports.site.families import families
from reports.site.methodviews import MethodView, method_views
from reports.site.recordviews import record_views
from reports.typesetting import decision
from reports.typesetting.tables import realised_grid
from reports.views import PaperView, TaskView
from reports.wording.sentences import tally
from reports.wording.shortnames import short_names

ASSETS = Path(__file__).with_name("assets")
CHART = "echarts.common.min.js"
#: Files that go into assets/ of a site as they are: the chart library with its licences.
VENDORED = (CHART, "LICENSE-echarts", "NOTICE-echarts", "LICENSE-d3")
#: Scripts of our own that pages load from assets/.
SCRIPTS = ("chart.js", "search.js")


@dataclass
class ScopeSite:
    """All pages of a scope.

    Attributes:
        drawn: figures as SVG by name.
        machines: reference machines beside this one.
        files: what can be downloaded: (title, what it is, paths from the root of the scope's folder).
    """

    content: Content
    drawn: Mapping[str, str]
    machines: list[beside.Other]
    files: Sequence[tuple[str, str, Sequence[Any]]]

    def __post_init__(self) -> None:
        """Compile the templates once."""
        self.where, self.shorts = Addresses(self.content), short_names(self.content.table)
        secret = hashlib.sha256((self.content.digest + dump(self.content.table.scope)).encode()).digest()
        self.nonce = base64.b64encode(secret[:18]).decode()
        self.environment = site.environment(self.nonce)
        self.environment.globals |= {
            "content": self.content,
            "where": self.where,
            "shorts": self.shorts,
            "outcomes": OUTCOMES,
            "drawn": {name: Markup(text) for name, text in self.drawn.items()},
        }

    @cached_property
    def methods(self) -> list[MethodView]:
        """Every method of the scope."""
        return method_views(self.content)

    @cached_property
    def tasks(self) -> dict[str, list[TaskView]]:
        """Task -> its settings."""
        found: dict[str, list[TaskView]] = {}
        for task in self.content.tasks:
            found.setdefault(task.section.task, []).append(task)
        return found

    def render(self, template: str, path: str, **what: Any) -> str:
        """One page; `root` leads from it to the scope's folder."""
        root = "../" * path.count("/")
        links = {arm: root + href for arm, href in self.where.cells.items()}
        links.pop(what.pop("here", ""), None)
        found = self.environment.get_template(template)
        return found.render(root=root, path=path, links=links, **what)

    def pages(self) -> Iterator[tuple[str, str]]:
        """(path, text) of every page and data script."""
        yield "index.html", self.index()
        for paper in self.content.papers:
            yield self.where.papers[paper.key], self.paper(paper)
        for name, settings in self.tasks.items():
            yield from self.task(name, settings)
        for method in self.methods:
            path = self.where.methods[method.name]
            yield path, self.render("method.html.j2", path, method=method)
        for record in record_views(self.content.table):
            path = self.where.cells[record.arm]
            yield path, self.render("cell.html.j2", path, record=record, here=record.arm)
        yield "measuring.html", self.render("measuring.html.j2", "measuring.html", sensors=self.sensors)
        states = site.states(self.content)
        yield "failures.html", self.render("failures.html.j2", "failures.html", states=states)
        yield (
            "downloads.html",
            self.render("downloads.html.j2", "downloads.html", files=self.files, grids=dictionary.grids()),
        )
        yield "search.html", self.render("search.html.j2", "search.html", methods=self.methods)
        found = searching.entries(self.content, self.methods, self.where)
        yield "data/search.js", chartdata.script("search", found)

    def index(self) -> str:
        """The front page of the scope."""
        boards = {
            paper.key: [
                counts([c for c in self.content.claims if c.paper == paper.key and c.own is own])
                for own in (False, True)
            ]
            for paper in self.content.papers
        }
        return self.render(
            "index.html.j2",
            "index.html",
            facts=site.facts(self.content),
            states=site.states(self.content),
            stale=site.stale(self.content),
            boards=boards,
            families=families(self.content),
            methods=self.methods,
            tasks=self.tasks,
            machines=self.machines,
            moved=beside.moved_grid(self.machines),
            realised=realised_grid(self.content.realised),
        )

    def paper(self, paper: PaperView) -> str:
        """The page of one paper or study."""
        arms = {arm for run in paper.card["runs"] for arm in run["arms"] if arm in self.content.table.arms}
        known = [self.content.table.arms[arm] for arm in sorted(arms)]
        claims = [claim for claim in self.content.claims if claim.paper == paper.key and claim.scored]
        return self.render(
            "paper.html.j2",
            self.where.papers[paper.key],
            paper=paper,
            tally=tally(
                [{"verdict": claim.verdict, "reversed": claim.reversed, "own": claim.own} for claim in claims]
            ),
            methods=sorted({str(arm["method"]) for arm in known} & set(self.where.methods)),
            tasks=sorted({str(arm["task"]) for arm in known} & set(self.where.tasks)),
        )

    def task(self, name: str, settings: list[TaskView]) -> Iterator[tuple[str, str]]:
        """The page of one task with all its settings, and the data of its chart."""
        path = self.where.tasks[name]
        data = path.replace("tasks/", "data/task-", 1).removesuffix(".html") + ".js"
        charts = [chartdata.setting(task, self.where, self.shorts) for task in settings if task.every]
        decisions = {task.name: decision.decide(task.section, costs_of(task.section)) for task in settings}
        spots = {task.name: setting_spot(task) for task in settings}
        what = {"settings": settings, "decisions": decisions, "spots": spots, "charts": charts}
        entry = self.content.table.scope["tasks"].get(name, {})
        yield path, self.render("task.html.j2", path, name=name, entry=entry, data=data, chart=CHART, **what)
        if charts:
            yield data, chartdata.script("task", charts)

    @property
    def sensors(self) -> str:
        """One sentence on energy sensors."""
        from reports.judging.measuring import sensors

        return sensors(self.content.table)

    def write(self, folder: Path) -> None:
        """Everything into the folder."""
        assets = folder / "assets"
        assets.mkdir()
        for name in VENDORED:
            shutil.copyfile(ASSETS / name, assets / name)
        for name in SCRIPTS:
            (assets / name).write_text(site.minify((site.TEMPLATES / name).read_text()) + "\n")
        (assets / "style.css").write_text(str(self.environment.globals["style"]) + "\n")
        for path, text in self.pages():
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_text(text)
