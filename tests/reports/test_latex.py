"""LaTeX: nothing that a name contains does anything, tables stand alone, the report compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.content import Content
from reports.judging.statistics import Interval
from reports.typesetting.grids import Cell, Grid, Head, escape_md, markdown
from reports.typesetting.latex import pdf, words
from reports.typesetting.task_tables import scale, unbeaten
from reports.typesetting.tex import Tex, breakable, escape
from reports.typesetting.textable import LINES, SMALL, WIDE, Column, booktabs, dealt, wide
from tests.reports import golden

latex = pytest.mark.skipif(shutil.which("latexmk") is None, reason="latexmk is not installed")
#: Commands that `escape` may write; whatever else stands after a backslash came from the text.
OWN = {
    "textbackslash", "textasciicircum", "textasciitilde", "ensuremath", "ldots", "times", "pm", "infty", "mu",
    "cdot", "leq", "geq", "to", "circ", "ss", "c", "allowbreak", "dagger",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("$x^2$", r"\$x\textasciicircum{}2\$"),
        ("−0.5×", r"\ensuremath{-}0.5\ensuremath{\times}"),
        ("中", r"{[}U+4E2D{]}"),
        ("a\n\nb", "a b"),
        (None, ""),
    ],
)
def test_escape(text: str | None, tex: str) -> None:
    assert escape(text) == tex


@given(st.text(max_size=80))
def test_no_text_becomes_a_command(text: str) -> None:
    for told in (escape(text), breakable(text)):
        bare = re.sub(r"\\[{}$&#%_'`\"~]", "", told)
        assert {name for name in re.findall(r"\\([A-Za-z]+)", bare)} <= OWN
        assert not re.findall(r"(?<!\\)[$&#%_^]", re.sub(r"\\ensuremath\{[^}]*\}*", "", told))
        plain = re.sub(r"\\[{}]", "", told)
        assert plain.count("{") == plain.count("}")
        assert told.isascii()


def test_what_is_latex_already_stays() -> None:
    assert escape(Tex(r"\textbf{x}")) == r"\textbf{x}"


def test_sentences_keep_their_blanks() -> None:
    assert words([("text", "a "), ("code", "b_c"), ("text", " d: "), ("verdict", "holds")]) == (
        r"a \texttt{b\_\allowbreak{}c} d: \textbf{holds}"
    )


def table(rows: int) -> Grid:
    grid = Grid(
        "name_1", "A caption & more", [Head("arm"), Head("value", True), Head("screen only", extra=True)]
    )
    grid.rows = [[Cell(f"arm_{at}"), Cell("0.5", 0.5, strong=at == 0), Cell("hidden")] for at in range(rows)]
    grid.notes = ["100 % exact."]
    return grid


def test_a_table_can_be_pasted() -> None:
    tex = booktabs(table(2))
    assert tex.startswith("% needs: booktabs.")
    assert r"\toprule" in tex and r"\bottomrule" in tex and r"\textbf{0.5}" in tex and r"100 \% exact." in tex
    assert "hidden" not in tex and tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 1
    assert r"\label{tab:name_1}" in tex


@latex
@pytest.mark.latex
@pytest.mark.parametrize("name", ["golden", "nasty"])
def test_every_table_stands_alone_with_booktabs_only(
    tmp_path: Path, pages: dict[str, Path], name: str
) -> None:
    """Each file is pasted into a bare article; nothing runs over the edge by more than a letter."""
    tables = sorted((pages[name] / "tables").glob("*.tex"))
    assert len(tables) > 8
    for table in tables:
        shutil.copy(table, tmp_path / table.name)
    inputs = "".join(rf"\input{{{table.stem}}}\clearpage" + "\n" for table in tables)
    head = r"\documentclass[a4paper]{article}\usepackage[margin=2.2cm]{geometry}\usepackage{booktabs}"
    (tmp_path / "paper.tex").write_text(head + "\\begin{document}\n" + inputs + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-1500:]
    assert "resizebox" not in "".join(table.read_text() for table in tables)
    over = [float(found) for found in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
    assert not [points for points in over if points > 6.0]


def test_a_long_table_has_parts_with_heads_of_their_own() -> None:
    tex = booktabs(table(2 * LINES + 1))
    assert tex.count(r"\toprule") == 3 and tex.count("(continued)") == 2
    assert len(set(re.findall(r"\\label\{(.*?)\}", tex))) == 3
    assert tex.count("exact.") == 1  # notes stand under the last part


@given(st.lists(st.floats(5.0, 300.0), min_size=1, max_size=12))
def test_wide_tables_are_dealt_out_and_lose_no_column(widths: list[float]) -> None:
    columns = [Column(at, points, False, True) for at, points in enumerate([60.0, *widths])]
    parts = dealt(columns)
    assert [column for part in parts for column in part[1:]] == columns[1:]
    assert all(part[0] == columns[0] for part in parts)
    assert all(len(part) == 2 or sum(c.points for c in part) <= WIDE for part in parts)


def test_a_table_with_many_intervals_is_cut_between_columns_not_scaled() -> None:
    grid = Grid("wide", "Wide", [Head("arm"), *(Head(f"time {at}", True) for at in range(12))])
    grid.rows = [[Cell("an arm"), *(Cell("0.531 [0.528, 0.534]", 0.5) for _ in range(12))]]
    tex = booktabs(grid)
    assert tex.count(r"\toprule") == 2 and tex.count("an arm") == 2 and "resizebox" not in tex
    assert 12 * wide("[0.528, 0.534]") > SMALL * WIDE  # so that it had to be


def test_intervals_stand_below_their_numbers_where_that_saves_a_cut() -> None:
    grid = Grid("wide", "Wide", [Head("arm"), *(Head(f"time {at}", True) for at in range(7))])
    grid.rows = [[Cell("an arm"), *(Cell("0.531 [0.528, 0.534]", 0.5, strong=at == 0) for at in range(7))]]
    tex = booktabs(grid)
    assert tex.count(r"\toprule") == 1 and 7 * wide("0.531 [0.528, 0.534]") > SMALL * WIDE
    assert tex.count(r"\textbf{0.531}\\\textbf{{[}0.528, 0.534{]}}") == 1
    assert tex.count(r"0.531\\{[}0.528, 0.534{]}") == 6


def test_columns_without_a_number_and_screen_columns_are_left_out() -> None:
    grid = Grid("some", "Some", [Head("arm"), Head("time", True), Head("stored", True)])
    grid.rows = [[Cell("a"), Cell("–"), Cell("0.5", 0.5)], [Cell("b"), Cell("–"), Cell("–")]]
    assert "time" not in booktabs(grid) and "stored" in booktabs(grid)


def test_markdown_is_escaped_and_complete() -> None:
    text = markdown(table(3))
    assert "arm\\_2" in text and text.count("\n|") == 5 and "**0.5**" in text
    assert escape_md("<b>|`x`") == "&lt;b&gt;\\|\\`x\\`"


def test_bold_only_where_the_interval_says_so(content: Content) -> None:
    """Surely better than the baseline, and beaten surely by none: gradual pruning is fast, small networks faster."""
    grid = content.tasks[0].arms
    at = next(number for number, head in enumerate(grid.heads) if head.text.startswith("change"))
    strong = {row[0].text for row in grid.rows if row[at].strong}
    assert strong == {"distilled"}
    time = next(number for number, head in enumerate(grid.heads) if head.title == "latency_s@batch64")
    fast = {row[0].text for row in grid.rows if row[time].strong}
    assert len(fast) == 1 and "match=params" in fast.pop()


def at(low: float, effect: float, high: float) -> Interval:
    return Interval(effect, low, high, 5, 4.0)


def test_the_best_is_best_by_interval_not_by_point() -> None:
    """The smallest estimate does not win alone where another interval reaches as low as its upper end."""
    assert unbeaten([at(0.4, 0.5, 0.6), at(0.55, 0.6, 0.65), at(0.61, 0.7, 0.8)]) == [True, True, False]
    assert unbeaten([at(-3, -2, -1), at(1, 2, 3), None], -1.0) == [False, True, False]


def test_overlapping_arms_share_the_bold_and_the_baseline_has_none(content: Content) -> None:
    section = content.tasks[0].section
    grid = content.tasks[0].arms
    base = next(row for row, arm in zip(grid.rows, section.arms, strict=True) if arm.baseline)
    assert not any(cell.strong for cell in base)
    assert "no other arm" in " ".join(grid.notes)


def test_modelled_numbers_carry_a_mark_and_a_note(content: Content) -> None:
    by_basis = {task.section.basis: task.arms for task in content.tasks}
    modelled, counted = by_basis["modelled"], by_basis["counted"]
    assert all("†" in head.text for head in modelled.heads[1:] if not head.extra)
    assert any(note.startswith("†") for note in modelled.notes) and r"\dagger" in booktabs(modelled)
    assert not any("†" in head.text for head in counted.heads)
    verdicts = next(paper.grid for paper in content.papers if paper.key == "toy-serving")
    assert verdicts.rows[0][2].text.endswith("†") and any("†" in note for note in verdicts.notes)
    measured = next(paper.grid for paper in content.papers if paper.key == "toy-pruning")
    assert not any("†" in cell.text for row in measured.rows for cell in row)


def test_units_stand_in_the_heads(content: Content) -> None:
    costs = content.tasks[0].costs
    assert "stored, kB" in [head.text for head in costs.heads]
    stored = next(number for number, head in enumerate(costs.heads) if head.text.startswith("stored"))
    assert costs.rows[0][stored].text == "1,066" and costs.rows[0][stored].sort == 1066440.0
    assert not any("kB" in cell.text for row in costs.rows for cell in row)


@pytest.mark.parametrize(
    ("metric", "values", "unit", "factor"),
    [
        ("stored_bytes", [512.0], "B", 1.0),
        ("latency_s@batch1", [39e-6, 41e-6], "µs", 1e-6),
        ("flops@batch64", [3.4e7], "M", 1e6),
        ("nonzero", [26661.0], "", 1.0),
        ("nonzero", [266610.0], "k", 1e3),
        ("tokens", [], "", 1.0),
    ],
)
def test_scale(metric: str, values: list[float], unit: str, factor: float) -> None:
    assert scale(metric, values) == (factor, unit)


def test_verdicts_are_bold_only_where_they_are_sure(content: Content) -> None:
    for paper in content.papers:
        for row in paper.grid.rows:
            assert row[-1].strong <= (row[-1].text in ("holds", "falls short", ""))


def test_without_latexmk_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="build the page first"):
        pdf(tmp_path / "report.pdf")
    (tmp_path / "report.tex").write_text("x")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="latexmk is not installed"):
        pdf(tmp_path / "report.pdf")


@latex
@pytest.mark.latex
@pytest.mark.parametrize("name", ["golden", "nasty"])
def test_the_report_compiles(pages: dict[str, Path], name: str) -> None:
    out = pages[name] / "report.pdf"
    pdf(out)
    assert out.read_bytes().startswith(b"%PDF") and out.stat().st_size > 50_000
    if shutil.which("pdftotext"):
        told = subprocess.run(["pdftotext", str(out), "-"], capture_output=True, text=True, check=True).stdout
        assert "How to read this" in told and "Scoreboard" in told
        assert "root:" not in told  # \input{/etc/passwd} stayed text
        if name == "nasty":
            assert "input{/etc/passwd}" in " ".join(told.split()).replace(" ", "")


@latex
@pytest.mark.latex
def test_broken_latex_fails_with_its_first_error(tmp_path: Path) -> None:
    (tmp_path / "report.tex").write_text(r"\documentclass{article}\begin{document}\nothing\end{document}")
    with pytest.raises(SystemExit, match="latexmk failed: ! Undefined control sequence"):
        pdf(tmp_path / "report.pdf")
    assert not (tmp_path / "report.pdf").exists()


def test_golden_is_hostile_enough() -> None:
    assert len(golden.NASTY) > 200 and all(sign in golden.NASTY for sign in "<>\"'&%$#_^~{}\\|`")
