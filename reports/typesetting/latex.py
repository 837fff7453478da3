"""report.tex and report.pdf; reports/typesetting/tex.py disarms text, reports/typesetting/textable.py sets tables."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.content import Content
from reports.judging.measuring import sensors
from reports.notation import slug
from reports.typesetting.tex import Tex, breakable, escape
from reports.typesetting.textable import booktabs
from reports.views import HOW_TO_READ
from reports.wording.captions import caption
from reports.wording.sentences import Sentence

TEMPLATES = Path(__file__).with_name("templates")
SECONDS = 180
__all__ = ["booktabs", "breakable", "escape", "pdf", "report", "words"]


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
    environment.globals |= {"caption": caption}
    return environment.get_template("report.tex.j2").render(
        page=content,
        figures=set(figures),
        families=[name for name in figures if name.startswith("family-")],
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
