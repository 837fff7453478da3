"""A real browser opens the site from a disk, the network blocked: everything works, nothing complains or asks."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reports import draw as drawing
from reports.content import Content
from reports.judging.table import Table
from reports.site.scopesite import ScopeSite
from tests.reports import golden, golden_scope

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-headless-shell") or shutil.which("chromium-browser")
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="neither chromium nor chromium-headless-shell is installed"),
]
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup-dev")
DESKTOP, PHONE = 1280, 360
#: One page of every kind, as a pattern within the scope's folder.
KINDS = (
    "index.html", "tasks/*.html", "methods/*.html", "papers/*.html", "cells/*.html", "measuring.html", "failures.html",
    "downloads.html", "search.html",
)  # fmt: skip
HOSTILE = golden.NASTY


class Visit:
    """An open page, with what it asked for and what its console said."""

    def __init__(self, context: Any, path: Path, address: str = "") -> None:
        self.page = context.new_page()
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on(
            "dialog", lambda dialog: (self.said.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        self.page.goto(path.as_uri() + address)

    def quiet(self) -> None:
        """Nothing was asked of a network, and nothing went wrong."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:"))] == []


Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=BROWSER, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Open]:
    """Open a page in a fresh context; when the test ends, every page must have been quiet."""
    contexts, visits = [], []

    def open_page(path: Path, address: str = "", width: int = DESKTOP, **how: Any) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **how)
        contexts.append(context)
        visits.append(Visit(context, path, address))
        return visits[-1]

    yield open_page
    for one in visits:
        one.quiet()
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose task, method and paper are called by 200 letters with markup in them."""
    scope = json.dumps(golden_scope.scope(nasty=True))
    rows = golden.rows(nasty=True)
    for name in ("toy_images", "gradual"):
        nasty = f"{HOSTILE}{name}"
        scope = scope.replace(f'"{name}"', json.dumps(nasty))
        rows["knobs"] = rows["knobs"].str.replace(f'"{name}"', json.dumps(nasty), regex=False)
        rows[["task", "method"]] = rows[["task", "method"]].replace(name, nasty)
    content = Content(Table(rows, json.loads(scope)), HOSTILE)
    drawn = {job.name: '<svg class="drawn" viewBox="0 0 1 1"></svg>' for job in drawing.jobs(content)}
    folder = tmp_path_factory.mktemp("hostile")
    ScopeSite(content, drawn, [], [(HOSTILE, HOSTILE, [])]).write(folder)
    return folder


def kinds(folder: Path) -> list[Path]:
    """The largest page of each kind."""
    found = [max(folder.glob(pattern), key=lambda path: path.stat().st_size) for pattern in KINDS]
    assert len(found) == len(KINDS)
    return found


def task_page(folder: Path) -> Path:
    return folder / "tasks" / "toy_images.html"


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("which", ["golden", "hostile"])
def test_every_kind_of_page_is_quiet_and_fits(
    which: str, width: int, pages: dict[str, Path], hostile: Path, visit: Open
) -> None:
    folder = hostile if which == "hostile" else pages[which]
    for path in [*kinds(folder), *([pages["front"] / "index.html"] if which == "golden" else [])]:
        page = visit(path, width=width).page
        root = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert root[0] <= root[1] <= width, path.name
        assert float(page.evaluate("getComputedStyle(document.body).fontSize").removesuffix("px")) >= 15
        page.close()


def test_hostile_names_are_text_everywhere(hostile: Path, visit: Open) -> None:
    seen = 0
    for path in kinds(hostile):
        page = visit(path).page
        assert page.locator("script:not([src])").count() == 1, path
        seen += page.inner_text("body").count("<script>alert('x')</script>")
        page.close()
    assert seen > 20


def test_tables_sort_by_number_and_filter_by_words(pages: dict[str, Path], visit: Open) -> None:
    page = visit(task_page(pages["golden"])).page
    table = page.locator("table.sortable", has=page.locator("caption", has_text="every arm")).first
    column = "rows => rows.map(row => row.cells[2].dataset.sort)"
    button = table.locator("thead th").nth(2).locator("button")
    button.focus()
    page.keyboard.press("Enter")
    up = table.locator("tbody tr").evaluate_all(column)
    button.click()
    down = table.locator("tbody tr").evaluate_all(column)
    numbers = [float(value) for value in up if value]
    assert len(numbers) > 8 and numbers == sorted(numbers) and up[-1] == down[-1] == ""
    assert [float(value) for value in down if value] == numbers[::-1]
    assert table.locator("thead th").nth(2).get_attribute("aria-sort") == "descending"
    page.locator("input.filter").first.fill("dense bytes")
    assert table.locator("tbody tr:visible th").all_inner_texts() == [
        "dense(like=gradual(sparsity=0.9), match=bytes)"
    ]
    assert page.locator(".shown").first.inner_text().startswith("1 of")


def chart(page: Any) -> dict[str, Any]:
    """What the chart shows now: the name of its axis, and its points with their places on the screen."""
    return page.evaluate(
        """() => {
          const chart = JOULEMARK.chart, option = chart.getOption(), found = [];
          const box = document.querySelector(".plot").getBoundingClientRect();
          option.series.forEach((series, row) => {
            if (series.type !== "scatter") { return; }
            series.data.forEach(each => {
              const at = chart.convertToPixel({ seriesIndex: row }, each.value);
              const { name, href, change, member } = each.point;
              found.push({ name, href, change, member, x: box.left + at[0] + 1, y: box.top + at[1] + 1 });
            });
          });
          return { axis: option.xAxis[0].name, points: found };
        }"""
    )


def test_the_front_shows_the_cost_of_choice_and_its_members(
    pages: dict[str, Path], content: Content, visit: Open
) -> None:
    page = visit(task_page(pages["golden"])).page
    task = next(task for task in content.tasks if task.section.task == "toy_images")
    choice = page.locator(".controls select").last
    labels = choice.locator("option").all_inner_texts()
    assert len(labels) == len(task.every) > 3
    for number, front in enumerate(task.every):
        choice.select_option(index=number)
        shown = chart(page)
        assert front.name in shown["axis"] and front.basis in labels[number]
        members = {point["name"]: point["member"] for point in shown["points"]}
        assert members == {point.arm.label: point.member for point in front.points}


def test_hover_shows_the_cell_and_a_click_opens_its_records(pages: dict[str, Path], visit: Open) -> None:
    page = visit(task_page(pages["golden"])).page
    page.locator(".plot").scroll_into_view_if_needed()
    point = next(point for point in chart(page)["points"] if point["name"] == "int8")
    page.mouse.move(point["x"], point["y"])
    page.wait_for_selector(".tip:visible")
    told = page.inner_text(".tip")
    assert "int8" in told and point["change"] in told and "on the front" in told
    page.mouse.click(point["x"], point["y"])
    page.wait_for_url(f"**/{point['href']}")
    assert page.inner_text("h1") == "int8"
    page.locator("nav a.home").click()
    page.wait_for_url("**/index.html")


def test_the_front_answers_to_keys(pages: dict[str, Path], visit: Open) -> None:
    page = visit(task_page(pages["golden"])).page
    page.locator(".plot").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".tip:visible")
    first = page.inner_text(".tip b")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("first => document.querySelector('.tip b').textContent !== first", arg=first)
    second = page.inner_text(".tip b")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cells/*.html")
    assert page.inner_text("h1") == second


def test_search_finds_claims_and_leads_to_their_address(pages: dict[str, Path], visit: Open) -> None:
    page = visit(pages["golden"] / "index.html").page
    page.keyboard.press("/")
    page.wait_for_url("**/search.html")
    page.fill("#words", "three times faster")
    hit = page.locator(".hits li", has_text="claim").first
    hit.locator("a").click()
    page.wait_for_url("**/papers/toy-pruning.html#claim-three-times-faster")
    assert page.locator(":target").is_visible()
    assert "three times faster" in page.inner_text(":target h3")
    page.go_back()
    page.fill("#words", "no such thing")
    assert page.inner_text(".found") == "nothing has all of these words"


def test_without_scripts_figures_and_tables_are_there(pages: dict[str, Path], visit: Open) -> None:
    page = visit(task_page(pages["golden"]), java_script_enabled=False).page
    assert page.locator(".plot svg.drawn").is_visible()
    assert page.locator("table").count() >= 3
    assert not page.locator(".controls").is_visible()
    page = visit(pages["golden"] / "search.html", java_script_enabled=False).page
    assert page.locator(".everything a").count() > 10


def test_the_policy_lets_no_foreign_script_run(pages: dict[str, Path], visit: Open) -> None:
    one = visit(task_page(pages["golden"]))
    one.page.evaluate(
        """() => {
          const inline = document.createElement("script");
          inline.textContent = "window.broken = true";
          document.body.appendChild(inline);
          const marked = document.createElement("div");
          marked.innerHTML = "<img src=x onerror='window.broken = true'><p style='color:red'>x</p>";
          document.body.appendChild(marked);
        }"""
    )
    one.page.wait_for_timeout(200)
    assert one.page.evaluate("window.broken") is None
    assert sum("Content Security Policy" in line for line in one.said) >= 3
    one.said.clear()


def test_in_the_dark_and_on_paper_a_page_can_be_read(pages: dict[str, Path], visit: Open) -> None:
    page = visit(task_page(pages["golden"]), color_scheme="dark").page
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    page.emulate_media(media="print", color_scheme="light")
    assert not page.locator("nav").is_visible() and page.locator("table").first.is_visible()
