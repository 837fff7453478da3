"""Tables once, for HTML, Markdown and LaTeX alike: cells with what is shown, sorted by and stressed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        sort: what a column is sorted by; None goes last.
        strong: stressed, because its interval says so.
        tone: a class of the page's style (a verdict, `dim`).
        title: shown when pointed at.
    """

    text: str
    sort: float | str | None = None
    strong: bool = False
    tone: str = ""
    title: str = ""


@dataclass(frozen=True)
class Head:
    """The head of a column; `number` columns are set right, `extra` ones are for the screen only."""

    text: str
    number: bool = False
    title: str = ""
    extra: bool = False


@dataclass
class Grid:
    """A table with its caption and notes."""

    name: str
    caption: str
    heads: list[Head]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


DASH = Cell("–", None, tone="dim")


def markdown(grid: Grid) -> str:
    """The table in GitHub's Markdown, with its caption and notes."""
    from tabulate import tabulate

    body = [
        [f"**{escape_md(cell.text)}**" if cell.strong and cell.text else escape_md(cell.text) for cell in row]
        for row in grid.rows
    ]
    heads = [escape_md(head.text) for head in grid.heads]
    aligned = ["right" if head.number else "left" for head in grid.heads]
    table = tabulate(
        body, heads, tablefmt="github", disable_numparse=True, colalign=aligned if body else None
    )
    notes = "".join(f"\n{escape_md(note)}\n" for note in grid.notes)
    return f"{escape_md(grid.caption)}\n\n{table}\n{notes}"


def escape_md(text: str) -> str:
    """Text that stays text: Markdown may carry HTML, and a bar would end a cell."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for letter in "\\`*_[]#|~$":
        text = text.replace(letter, f"\\{letter}")
    return text
