"""Pages: whole, offline, small, disarmed, under a policy that holds, with the numbers of the rows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from reports import write
from reports.content import Content
from reports.judging.contrasts import arms_of
from reports.site.pages import soft
from tests.reports import golden

VOID = {"wbr", "meta", "link", "br", "input", "img", "hr", "path", "line", "rect", "use", "circle"}


class Page(HTMLParser):
    """Tags, ids, references and text of a page; fails on a tag that is not closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.sources: list[str] = []
        self.nonces: list[str] = []
        self.attributes: set[str] = set()
        self.parts: dict[str, list[str]] = {"style": [], "script": [], "": []}
        self.policy = ""
        self._open: list[str] = []
        self.feed(path.read_text())
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        self.attributes |= set(known)
        self.ids += [known["id"] or ""] if "id" in known else []
        self.references += [known[name] or "" for name in ("href", "src", "xlink:href") if name in known]
        self.sources += [known["src"] or ""] if tag == "script" and "src" in known else []
        self.nonces += [known["nonce"] or ""] if "nonce" in known else []
        if known.get("http-equiv") == "Content-Security-Policy":
            self.policy = known["content"] or ""
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        kind = self._open[-1] if self._open and self._open[-1] in ("style", "script") else ""
        self.parts[kind].append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts[""]).split())


#: One page of every kind.
KINDS = (
    "index.html", "papers/*.html", "tasks/*.html", "methods/*.html", "cells/*.html", "measuring.html", "failures.html",
    "downloads.html", "search.html",
)  # fmt: skip


@pytest.fixture(
    params=[*(f"{which}/{kind}" for which in ("golden", "nasty") for kind in KINDS), "front/index.html"]
)
def path(request: pytest.FixtureRequest, pages: dict[str, Path]) -> Path:
    which, _, pattern = request.param.partition("/")
    return max(pages[which].glob(pattern), key=lambda path: path.stat().st_size)


def test_policy_names_exactly_the_pages_own_style_and_script(path: Path) -> None:
    page = Page(path)
    inline = {"style": page.tags.count("style"), "script": page.tags.count("script") - len(page.sources)}
    assert inline["script"] == 1 and inline["style"] == (path.parent.name != "cells")
    for kind in ("style", "script"):
        digest = hashlib.sha256("".join(page.parts[kind]).encode()).digest()
        if inline[kind]:
            assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in page.policy
    assert page.policy.startswith("default-src 'none'") and "unsafe" not in page.policy
    assert not {"self", "http", "file"} & set(re.findall(r"\w+", page.policy))
    for nonce in page.nonces:
        assert f"'nonce-{nonce}'" in page.policy


def test_the_nonce_follows_from_what_the_site_says(pages: dict[str, Path]) -> None:
    found = [Page(pages[which] / "search.html").nonces for which in ("golden", "nasty")]
    assert len(set(found[0])) == len(set(found[1])) == 1 and found[0][0] != found[1][0]


def test_nothing_in_a_page_needs_what_the_policy_forbids(path: Path) -> None:
    page = Page(path)
    assert "style" not in page.attributes
    assert not {name for name in page.attributes if name.startswith("on")}
    assert not {"iframe", "object", "embed", "form", "base", "img"} & set(page.tags)


def test_a_page_asks_no_network_and_its_links_lead_somewhere(path: Path) -> None:
    page = Page(path)
    for reference in page.references:
        if reference.startswith("#"):
            assert reference[1:] in page.ids
        elif reference != "data:," and not reference.endswith("../../index.html"):
            file, _, spot = reference.partition("#")
            assert not re.match(r"[a-z]+:|//", reference)
            target = (path.parent / file).resolve()
            assert target.is_file(), reference
            assert not spot or spot in Page(target).ids, reference


def test_ids_are_unique_and_a_page_is_small(path: Path) -> None:
    page = Page(path)
    assert len(page.ids) == len(set(page.ids))
    assert path.stat().st_size < 1_000_000


def test_hostile_text_is_shown_as_text(pages: dict[str, Path]) -> None:
    page = Page(pages["nasty"] / "papers" / "toy-pruning.html")
    hostile = " ".join(golden.NASTY.split())
    assert page.text.count("<script>alert('x')</script>") >= 5
    assert hostile in page.text
    for path in pages["nasty"].rglob("*.html"):
        assert "alert('x')" not in "".join(Page(path).parts["script"])
    for path in pages["nasty"].rglob("*.js"):
        assert "<script>" not in path.read_text() or path.parent.name == "assets"
    for svg in (pages["nasty"] / "figures").glob("*.svg"):
        assert "<script" not in svg.read_text()


def test_the_page_says_the_numbers_of_the_rows(pages: dict[str, Path], content: Content) -> None:
    texts = {path.stem: Page(path).text for path in (pages["golden"] / "papers").glob("*.html")}
    for paper in content.papers:
        text = texts[paper.key]
        for group in paper.forest.groups:
            for row in group.rows:
                assert row.effect is None or row.text in text
    text = texts["toy-pruning"]
    for row in content.rows:
        if (
            row["scale"] == "difference"
            and row["metric"] == "accuracy"
            and row["claim"] == "tenfold-for-free"
        ):
            assert f"−{abs(100 * row['effect']):.1f} points" in text
    text = Page(pages["golden"] / "index.html").text
    assert content.tally in text and content.chance_line in text
    assert "Modelled" in text and "France in 2023" in text.replace(content.footprint.year, "2023")


def test_every_claim_leads_to_the_records_behind_it(pages: dict[str, Path], content: Content) -> None:
    card, claim = next(
        (card, claim)
        for card in content.table.scope["cards"]
        for claim in card["claims"]
        if claim.get("checks")
    )
    view = next(one for paper in content.papers for one in paper.claims if one.anchor.endswith(claim["id"]))
    sides = [check.get(side) for check in claim["checks"] for side in ("of", "minus", "over")]
    wanted = {arm for side in sides for arm in arms_of(side)} & set(content.table.arms)
    assert wanted and {arm for arm, _ in view.arms} == wanted
    text = (pages["golden"] / "papers" / f"{card['key']}.html").read_text()
    assert all(f"cells/{arm}.html" in text for arm in wanted)


def test_every_claim_has_its_address(pages: dict[str, Path], content: Content) -> None:
    for row in content.rows:
        assert f"claim-{row['claim']}" in Page(pages["golden"] / "papers" / f"{row['paper']}.html").ids


def test_the_folder_is_whole(pages: dict[str, Path], content: Content) -> None:
    folder = pages["golden"]
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "index.html", "measuring.html", "failures.html", "downloads.html", "search.html", "tasks", "methods", "papers",
        "cells", "assets", "data", "report.tex", "rows.parquet", "rows.csv", "verdicts.parquet", "verdicts.csv",
        "summary.json", "data-dictionary.md",
    }  # fmt: skip
    assert (
        len(list((folder / "tables").glob("*.md")))
        == len(content.grids)
        == len(list((folder / "tables").glob("*.tex")))
    )
    drawn = {path.stem for path in (folder / "figures").glob("*.svg")}
    assert drawn == {path.stem for path in (folder / "figures").glob("*.pdf")}
    assert {"realised", "noise", "forest-toy-pruning"} <= drawn
    assert pd.read_parquet(folder / "rows.parquet").equals(content.table.rows)


def test_verdicts_are_written_as_judged(pages: dict[str, Path], content: Content) -> None:
    columns = [
        "paper",
        "family",
        "claim",
        "check",
        "verdict",
        "direction",
        "grade",
        "effect",
        "low",
        "high",
        "threshold",
    ]
    stored = pd.read_parquet(pages["golden"] / "verdicts.parquet")
    assert list(stored.columns)[: len(columns)] == columns
    assert stored["effect"].equals(content.verdicts["effect"])
    flat = pd.read_csv(pages["golden"] / "verdicts.csv")
    assert flat["claim"].tolist() == stored["claim"].tolist()
    assert len(json.loads(flat["replicates"][0])) == golden.SEEDS


def test_the_front_page_lists_every_page(pages: dict[str, Path], content: Content) -> None:
    page = Page(pages["front"] / "index.html")
    assert {"golden/all/index.html", "nasty/all/index.html"} <= set(page.references)
    assert content.tally in page.text and "realised = nominal" in page.text


def test_the_front_page_of_nothing(tmp_path: Path) -> None:
    write.front(tmp_path)
    assert "No page has been built yet" in Page(tmp_path / "report" / "index.html").text


def test_a_page_without_a_summary_is_listed_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "report" / "mine" / "tour"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("<p>old</p>")
    (folder / "summary.json").write_text("[1, 2")
    write.front(tmp_path)
    assert "mine/tour/index.html" in Page(tmp_path / "report" / "index.html").references


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "index.html").write_text("old")
    (folder / "stale.txt").write_text("stale")

    def broken(fresh: Path) -> None:
        (fresh / "index.html").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        write.whole(folder, broken)
    assert (folder / "index.html").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    write.whole(folder, lambda fresh: (fresh / "index.html").write_text("new") and None)
    assert [path.name for path in folder.iterdir()] == ["index.html"] and len(list(tmp_path.iterdir())) == 1
    assert (folder / "index.html").read_text() == "new"


def test_pages_are_made_twice_alike(pages: dict[str, Path], content: Content, tmp_path: Path) -> None:
    table = pages["golden"] / "rows.parquet"
    write.whole(tmp_path / "again", lambda folder: write.build(content, table, folder))
    for name in (
        "index.html",
        "search.html",
        "data/search.js",
        "report.tex",
        "figures/realised.svg",
        "figures/realised.pdf",
        "figures/noise.svg",
    ):
        assert (tmp_path / "again" / name).read_bytes() == (pages["golden"] / name).read_bytes(), name


def test_soft_breaks_escape_first() -> None:
    assert str(soft("a(b=<i>)")) == "a(<wbr>b=&lt;i&gt;)"
