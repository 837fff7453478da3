"""LaTeX: nothing that a name contains does anything, tables stand alone, the report compiles."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.grids import Cell, Grid, Head, escape_md, markdown
from reports.latex import ROWS, Tex, booktabs, breakable, escape, pdf, words
from reports.page import Content
from tests.reports import golden

latex = pytest.mark.skipif(shutil.which("latexmk") is None, reason="latexmk is not installed")
#: Commands that `escape` may write; whatever else stands after a backslash came from the text.
OWN = {
    "textbackslash", "textasciicircum", "textasciitilde", "ensuremath", "ldots", "times", "pm", "infty", "mu",
    "cdot", "leq", "geq", "to", "circ", "ss", "c", "allowbreak",
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
    assert tex.startswith("% needs: booktabs, array, graphicx")
    assert r"\toprule" in tex and r"\bottomrule" in tex and r"\textbf{0.5}" in tex and r"100 \% exact." in tex
    assert "hidden" not in tex and tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 1
    assert r"\label{tab:name_1}" in tex


def test_a_long_table_has_parts_with_heads_of_their_own() -> None:
    tex = booktabs(table(2 * ROWS + 1))
    assert tex.count(r"\toprule") == 3 and tex.count("(continued)") == 2
    assert len(set(re.findall(r"\\label\{(.*?)\}", tex))) == 3


def test_markdown_is_escaped_and_complete() -> None:
    text = markdown(table(3))
    assert "arm\\_2" in text and text.count("\n|") == 5 and "**0.5**" in text
    assert escape_md("<b>|`x`") == "&lt;b&gt;\\|\\`x\\`"


def test_bold_only_where_the_interval_says_so(content: Content) -> None:
    grid = content.tasks[0].arms
    at = next(number for number, head in enumerate(grid.heads) if head.text.startswith("change"))
    strong = {row[0].text for row in grid.rows if row[at].strong}
    assert strong == {"distilled"}
    time = next(number for number, head in enumerate(grid.heads) if head.title == "latency_s@batch64")
    fast = {row[0].text for row in grid.rows if row[time].strong}
    assert "gradual(sparsity=0.9)" in fast and not fast & {
        "baseline",
        "lowrank(rank=32)",
        "gradual(sparsity=0.5)",
    }


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
