"""What the pages of a site say: addresses, decisions, chart data, methods, records, other machines."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path

import pandas as pd
import pytest

from reports.content import Content
from reports.judging.costs import costs_of
from reports.judging.table import Table
from reports.site import beside, chartdata, dictionary, searching
from reports.site.addresses import Addresses, paths
from reports.site.families import families
from reports.site.methodviews import method_views, parts_of
from reports.site.recordviews import record_views
from reports.site.scopesite import ASSETS, CHART
from reports.typesetting import decision
from reports.views import TaskView, bibtex
from reports.wording.shortnames import short, short_names
from tests.reports import golden


@pytest.fixture(scope="module")
def task(content: Content) -> TaskView:
    return next(task for task in content.tasks if task.section.task == "toy_images")


def test_names_that_hold_anything_get_files_of_their_own() -> None:
    names = ["a/b", "a b", "A-B", "../up", "<script>", "", "x" * 300, "x" * 299, "a/b"]
    found = paths("cells", names)
    files = [path.lower() for path in found.values()]
    assert len(found) == len(names) - 1 and len(set(files)) == len(files)
    assert all(re.fullmatch(r"cells/[\w-]{1,64}\.html", path) for path in found.values())


def test_every_finding_and_claim_has_a_spot(content: Content) -> None:
    where = Addresses(content)
    assert {finding.anchor for finding in content.findings} <= set(where.spots)
    assert (
        where.spots["claim-toy-pruning-three-times-faster"]
        == "papers/toy-pruning.html#claim-three-times-faster"
    )


def test_the_decision_is_the_cheapest_that_surely_loses_less(task: TaskView) -> None:
    made = decision.decide(task.section, costs_of(task.section))
    assert len(made.heads) == 3 and made.heads[1:] == ("within 1 point", "within 3 points")
    band = 0.005
    for line in made.lines:
        for allowed, pick in zip((band, 0.01, 0.03), line.picks, strict=True):
            able = [
                (number.ratio.interval.effect, arm.label)
                for arm in task.section.arms
                if arm.change is not None and not arm.baseline and arm.change.interval.low > -allowed
                for number in [arm.times.get(line.metric) or arm.costs.get(line.metric)]
                if number and number.ratio and number.ratio.interval.high < 1 - max(number.ratio.band, 0.005)
            ]
            assert (pick.arm.label if pick else None) == (min(able)[1] if able else None), line
    fastest = next(line for line in made.lines if line.metric == "latency_s@batch64")
    assert fastest.picks[2] is not None and fastest.picks[2].arm.method in ("int8", "dense")
    assert any(line.picks[0] is None for line in made.lines) or made.idle


def test_a_loss_of_more_allows_no_dearer_choice(task: TaskView) -> None:
    for line in decision.decide(task.section, costs_of(task.section)).lines:
        ratios = [float(pick.ratio.split("×")[0]) if pick else 1.0 for pick in line.picks]
        assert ratios == sorted(ratios, reverse=True)


def test_the_chart_has_the_numbers_of_the_front(content: Content, task: TaskView) -> None:
    shown = chartdata.setting(task, Addresses(content), short_names(content.table))
    for front, cost in zip(task.every, shown["costs"], strict=True):
        low, high = cost["window"]
        assert low < 0 < high
        for point, told in zip(front.points, cost["points"], strict=True):
            assert told["x"][0] == pytest.approx(point.cost.effect, abs=1e-6)
            assert told["y"][0] == pytest.approx(100 * point.gain.effect, abs=1e-6)
            assert told["y"][1] is None or told["y"][1] <= told["y"][0] <= told["y"][2]
            assert math.isfinite(point.gain.low) == (told["y"][1] is not None)


def test_data_scripts_are_json_that_closes_nothing() -> None:
    text = chartdata.script('a"b', ["</script><!--", "\u2028", 1.5])
    assert "<" not in text and text.isascii()
    assert json.loads(text[text.index("]=") + 2 : -2]) == ["</script><!--", "\u2028", 1.5]
    with pytest.raises(ValueError):
        chartdata.script("x", [math.inf])


def test_short_names_tell_arms_apart(content: Content) -> None:
    names = short_names(content.table)
    by_task: dict[tuple[str, str], str] = {}
    for arm, name in names.items():
        key = (content.table.arms[arm]["task_id"], name)
        assert key not in by_task
        by_task[key] = arm
    assert short(content.table, "unknown", {"a": 1}, {}) == "unknown(a=1)"
    sparse = {"sparsity": 0.9, "begin": 0.1}
    known = {"knobs": [{"name": name, "default": value} for name, value in sparse.items()]}
    table = Table(content.table.rows, {"methods": {"gradual": known}})
    assert short(table, "gradual", sparse, {}) == "gradual"
    assert short(table, "gradual", sparse, {"gradual": {"sparsity"}}) == "gradual(sparsity=0.9)"


def test_a_family_shows_its_arms_and_the_rest_faintly(content: Content) -> None:
    found = families(content)
    assert found and len({family.figure for family in found}) == len(found)
    for family in found:
        assert all(point.arm.baseline or point.arm.family == family.family for point in family.front.points)
        assert all(point.arm.family != family.family for point in family.context)
        assert any(abs(point.cost.effect - 1) > 0.02 for point in family.front.points)


DOC = """One sentence: with a colon, about s = 1.

Paper: some-paper (2020), equation 1:
    s(t) = a ** 3
    u = b
Source: a book.
Deviations: one, since `x` is
    two lines.

    An indented end."""


def test_a_docstring_falls_into_its_parts() -> None:
    parts = parts_of(DOC)
    assert [(part.word, part.text, part.equation) for part in parts] == [
        ("", "One sentence: with a colon, about s = 1.", False),
        ("Paper", "some-paper (2020), equation 1:", False),
        ("", "s(t) = a ** 3", True),
        ("", "u = b", True),
        ("Source", "a book.", False),
        ("Deviations", "one, since `x` is two lines.", False),
        ("", "An indented end.", False),
    ]
    assert parts_of("") == []


def test_a_method_lists_its_arms_and_when_it_pays_back(content: Content) -> None:
    views = {view.name: view for view in method_views(content)}
    gradual = views["gradual"]
    _, cells, breaks, crossings = gradual.grids
    assert {row[0].title for row in cells.rows} <= set(content.table.arms)
    assert "toy-pruning" in gradual.papers
    (line,) = [row for row in crossings.rows if row[0].text == "gradual"]
    assert line[2].text == "sparsity" and "setting tried" in line[3].text or "from" in line[3].text
    for row in breaks.rows:
        extra, saved, calls = (cell.sort for cell in row[3:])
        assert isinstance(saved, float) and saved > 0
        assert calls == pytest.approx(max(0.0, float(extra or 0) / saved))


def test_records_hold_every_number_and_mark_the_stale(content: Content) -> None:
    old = content.table.cells["record"].dropna().unique()[:3].tolist()
    table = Table(content.table.rows, {**content.table.scope, "reference": {"machine": "m", "stale": old}})
    views = record_views(table)
    assert {view.arm for view in views} == set(table.arms)
    assert sorted(name for view in views for name in view.stale) == sorted(old)
    view = next(view for view in views if view.label == "int8")
    records, numbers, visits = view.grids
    assert len(records.rows) == golden.SEEDS
    part = table.cells[(table.cells["arm"] == view.arm) & (table.cells["metric"] == "accuracy")]
    line = next(row for row in numbers.rows if row[0].text == "accuracy")
    assert [cell.sort for cell in line[2:-1]] == part.sort_values("seed")["value"].tolist()
    timed = table.visits[
        (table.visits["arm"] == view.arm) & table.visits["metric"].str.startswith("latency_s@")
    ]
    assert len(visits.rows) == len(timed)


def test_search_knows_every_page(content: Content) -> None:
    where = Addresses(content)
    found = searching.entries(content, method_views(content), where)
    homes = {entry[3].partition("#")[0] for entry in found}
    wanted = [*where.papers.values(), *where.methods.values(), *where.tasks.values(), *where.cells.values()]
    assert homes == set(wanted)
    assert sum(entry[0] == "claim" for entry in found) == sum(len(p.claims) for p in content.papers)


def test_bibtex_stays_one_entry() -> None:
    text = bibtex(
        {"key": "k", "paper": {"title": "50 % {of} \\it & more", "year": 2020, "url": "https://a.b/c_d"}}
    )
    assert text.count("{") == text.count("}") == 4
    assert "50 \\% of it \\& more" in text and "https://a.b/c_d" in text


def test_reference_machines_are_compared_claim_by_claim(content: Content, tmp_path: Path) -> None:
    other = tmp_path / "report" / "reference-box" / "all"
    other.mkdir(parents=True)
    theirs = content.verdicts.copy()
    first = content.verdicts[content.verdicts["claim_verdict"] == "holds"].iloc[0]
    same = (theirs["paper"] == first["paper"]) & (theirs["claim"] == first["claim"])
    theirs.loc[same, "claim_verdict"] = "unclear"
    theirs.loc[same, ["effect", "low", "high"]] = [9.0, 8.0, 9.5]
    theirs.to_parquet(other / "verdicts.parquet")
    (other / "summary.json").write_text(json.dumps({"machine": "a box", "stale": 3, "cells": "1,234"}))
    (found,) = beside.others(content, tmp_path / "report" / "default" / "tour")
    assert (found.name, found.machine, found.stale, found.records) == ("box", "a box", 3, 1234)
    assert [(row["claim"], row["claim_verdict_there"]) for row in found.moved] == [
        (first["claim"], "unclear")
    ]
    tested = content.verdicts[content.verdicts["claim_verdict"] != "not tested"]
    assert found.same == tested.drop_duplicates(["paper", "claim"]).shape[0] - 1
    assert found.overlap == found.checks - int(same.sum())
    assert beside.moved_grid([found]).rows[0][2].text == "unclear"
    assert beside.others(content, other) == []
    (other / "verdicts.parquet").write_bytes(b"broken")
    assert beside.others(content, tmp_path / "report" / "default" / "tour") == []


def test_the_dictionary_explains_every_column(content: Content) -> None:
    told = " ".join(row[0].text for grid in dictionary.grids() for row in grid.rows)
    for column in [*content.table.rows.columns, *content.verdicts.columns]:
        assert re.search(rf"\b{re.escape(column)}\b", told), column


def test_the_chart_library_is_what_its_list_says() -> None:
    listed = (ASSETS / "README.md").read_text()
    digest = hashlib.sha256((ASSETS / CHART).read_bytes()).hexdigest()
    assert digest in listed and CHART in listed
    assert b"new Function" not in (ASSETS / CHART).read_bytes()
    assert b"Version 2.0" in (ASSETS / "LICENSE-echarts").read_bytes()


def test_figures_are_drawn_again_only_where_something_changed(
    content: Content, pages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reports import draw as drawing

    before, drawn = pages["golden"] / "figures", []
    monkeypatch.setattr(drawing, "_figure", lambda job: drawn.append(job.name) or _blank())
    wanted = drawing.jobs(content)
    found = drawing.draw(wanted, tmp_path / "same", before)
    assert drawn == [] and list(found) == [job.name for job in wanted]
    assert (tmp_path / "same" / "realised.svg").read_bytes() == (before / "realised.svg").read_bytes()
    changed = [
        drawing.Job(job.name, job.kind, (*job.data, 1)) if job.kind == "noise" else job for job in wanted
    ]
    drawing.draw(changed, tmp_path / "other", before)
    assert drawn == [job.name for job in wanted if job.kind == "noise"]


def _blank() -> object:
    from reports.drawing.palette import pyplot

    return pyplot().figure(figsize=(1, 1))


def test_rows_for_spreadsheets_have_all_rows(content: Content, pages: dict[str, Path]) -> None:
    flat = pd.read_csv(pages["golden"] / "rows.csv", low_memory=False)
    assert len(flat) == len(content.table.rows) and "items" not in flat
    assert flat["value"].dropna().tolist() == content.table.rows["value"].dropna().tolist()
