"""What a figure shows, in one place for the LaTeX report, the workflow's report and pages."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).with_name("captions")


def caption(kind: str) -> str:
    """The caption of a kind of figure: `forest`, `front`, `realised`, `noise` or `crossover`."""
    return " ".join((FOLDER / f"{kind}.rst").read_text().split())
