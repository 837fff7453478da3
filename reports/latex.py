"""LaTeX: an escape that disarms any name, booktabs tables to paste, report.tex, report.pdf."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.grids import Cell, Grid, Head
from reports.measuring import sensors
from reports.notation import slug
from reports.page import Content
from reports.sentences import Sentence
from reports.views import HOW_TO_READ

TEMPLATES = Path(__file__).with_name("templates")
#: Rows of a table on one page; longer tables are cut, with their heads repeated.
ROWS = 46
#: Characters from which a column of text is set as a paragraph.
LONG = 26
SECONDS = 180
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}", "|": r"\ensuremath{|}", '"': r"{''}", "'": r"{'}", "`": r"{`}", "-": r"{-}",
    "[": r"{[}", "]": r"{]}", "*": r"{*}", "−": r"\ensuremath{-}", "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "∞": r"\ensuremath{\infty}", "µ": r"\ensuremath{\mu}", "·": r"\ensuremath{\cdot}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}", "→": r"\ensuremath{\to}", "°": r"\ensuremath{^\circ}",
    "…": r"\ldots{}", "–": r"--", "—": r"---", "“": r"``", "”": r"''", "‘": r"`", "’": r"'", "\u00a0": "~",
    "é": r"\'e", "è": r"\`e", "ü": r"\"u", "ö": r"\"o", "ä": r"\"a", "ß": r"{\ss}", "á": r"\'a", "ó": r"\'o",
    "ñ": r"\~n", "ç": r"\c{c}",
}  # fmt: skip


class Tex(str):
    """Text that is LaTeX already."""


def escape(value: object) -> Tex:
    """Any text as LaTeX that prints it; what Computer Modern lacks is printed as its code point."""
    if isinstance(value, Tex):
        return value
    text = "" if value is None else " ".join(str(value).split())
    return Tex(
        "".join(
            SPECIAL.get(letter)
            or (letter if letter.isascii() and letter.isprintable() else rf"{{[}}U+{ord(letter):04X}{{]}}")
            for letter in text
        )
    )


def breakable(text: str) -> Tex:
    """Escaped, with places to break a line after signs and within very long words."""
    parts, run = [], 0
    for letter in " ".join(text.split()):
        parts.append(escape(letter) if letter != " " else " ")
        run = 0 if letter == " " else run + 1
        if letter in ",=(_/;" or run > 18:
            parts.append(r"\allowbreak{}")
            run = 0
    return Tex("".join(parts))


def words(sentence: Sentence) -> Tex:
    """A sentence with its code and verdict set apart."""
    shape = {"code": r"\texttt{%s}", "verdict": r"\textbf{%s}"}
    return Tex(
        "".join(shape[kind] % breakable(part) if kind in shape else _spaced(part) for kind, part in sentence)
    )


def _spaced(part: str) -> str:
    """Plain text keeps the blanks at its ends: its neighbours are set apart by them."""
    head = " " if part[:1].isspace() else ""
    tail = " " if part[-1:].isspace() and part.strip() else ""
    return head + escape(part) + tail


def booktabs(grid: Grid) -> str:
    """The table as it can be pasted into a paper: caption, booktabs, notes; a part a page."""
    parts = [grid.rows[at : at + ROWS] for at in range(0, len(grid.rows), ROWS)] or [[]]
    return "% needs: booktabs, array, graphicx\n" + "\n".join(
        _part(grid, rows, number) for number, rows in enumerate(parts)
    )


def _part(grid: Grid, rows: Sequence[Sequence[Cell]], number: int) -> str:
    kept = [at for at, head in enumerate(grid.heads) if not head.extra]
    columns = "".join(_column(grid, at) for at in kept)
    heads = " & ".join(_head(grid.heads[at]) for at in kept)
    body = "\n".join(" & ".join(_cell(row[at]) for at in kept) + r" \\" for row in rows)
    notes = escape(" ".join(grid.notes))
    return "\n".join([
        r"\begin{table}[!htbp]",
        r"\centering\small",
        rf"\caption{{{escape(grid.caption)}{' (continued)' if number else ''}}}",
        rf"\label{{tab:{slug(grid.name)}{f'-{number}' if number else ''}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule", heads + r" \\", r"\midrule", body, r"\bottomrule", r"\end{tabular}}",
        *([rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {notes}}}"] if notes else []),
        r"\end{table}", "",
    ])  # fmt: skip


def _column(grid: Grid, at: int) -> str:
    if grid.heads[at].number:
        return "r"
    longest = max((len(row[at].text) for row in grid.rows), default=0)
    return "l" if longest <= LONG else r">{\raggedright\arraybackslash}p{4.6cm}"


def _head(head: Head) -> str:
    """The head of a column, broken into lines of about 14 characters."""
    lines = [""]
    for word in head.text.split():
        if lines[-1] and len(lines[-1]) + len(word) > 13:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return (
        rf"\begin{{tabular}}[b]{{@{{}}{'r' if head.number else 'l'}@{{}}}}"
        + r"\\ ".join(escape(line) for line in lines)
        + r"\end{tabular}"
    )


def _cell(cell: Cell) -> str:
    text = breakable(cell.text)
    return rf"\textbf{{{text}}}" if cell.strong and cell.text else text


def report(content: Content, figures: Sequence[str]) -> str:
    """report.tex: the same content as the page, for paper."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\#{",
        comment_end_string="}",
        trim_blocks=True,
        undefined=StrictUndefined,
        finalize=escape,
        autoescape=False,
    )
    environment.filters |= {"words": words, "slug": lambda text: Tex(slug(text)), "breakable": breakable}
    return environment.get_template("report.tex.j2").render(
        page=content,
        figures=set(figures),
        how_to_read=HOW_TO_READ,
        sensors=sensors(content.table),
        cost=content.footprint.told,
    )


def pdf(out: Path) -> None:
    """Compile report.tex beside `out`, in a folder of its own, without shell escapes and without a dialogue.

    Raises:
        SystemExit: no latexmk, no report.tex, or LaTeX failed; one line says which.
    """
    tex = out.with_name("report.tex")
    if not tex.is_file():
        raise SystemExit(f"{tex} is not there: build the page first (python -m reports page)")
    if shutil.which("latexmk") is None:
        raise SystemExit(
            "latexmk is not installed: report.tex is there, report.pdf needs it "
            "(Debian: apt-get install latexmk texlive-latex-recommended)"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("tables", "figures"):
            if (out.parent / part).is_dir():
                shutil.copytree(out.parent / part, folder / part)
        shutil.copy(tex, folder / "report.tex")
        _latexmk(folder)
        temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        shutil.copy(folder / "report.pdf", temporary)
        os.replace(temporary, out)


def _latexmk(folder: Path) -> None:
    command = [
        "latexmk",
        "-norc",
        "-pdf",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "report.tex",
    ]
    environment: dict[str, Any] = {
        **os.environ,
        "openin_any": "p",
        "openout_any": "p",
        "SOURCE_DATE_EPOCH": "0",
    }
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SystemExit(f"latexmk took longer than {SECONDS} s and was stopped") from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.startswith("!")]
        raise SystemExit(f"latexmk failed: {lines[0] if lines else done.stderr.strip()[-300:]}")
