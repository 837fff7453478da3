r"""Tables for papers: booktabs and nothing else, cut where a page or its width ends, each part with its heads.

Widths are estimated with those of Computer Modern. Text that is long is set in paragraphs of a share of
\linewidth; where numbers alone are too wide, the columns are dealt out to several parts that all begin with the
first column. Nothing is scaled: type is \footnotesize, or \scriptsize, and an interval stands below its number,
where that saves a table from being cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from reports.drawing.labels import distinct
from reports.notation import slug
from reports.typesetting.grids import Cell, Grid, Head
from reports.typesetting.tex import breakable, escape

#: A page's text is so many points wide, a gap between columns takes so many, and a part may have so many lines.
WIDE, GAP, LINES = 462.0, 8.0, 40
#: A column of text that is wider than LONG becomes a paragraph, NARROW at the narrowest and BROAD at the broadest.
LONG, NARROW, BROAD = 110.0, 62.0, 230.0
#: The same where intervals are stacked, since width is scarce there.
SHORTER = 70.0
#: Names of arms that are longer (in characters) are cut down to what tells them apart.
VERY_LONG = 60
#: How much more stands on a line of \scriptsize.
SMALL = 1.06
#: Characters after which the head of a column is broken.
HEAD = 14
#: Widths of cmr8 in points; of other letters it is OTHER.
LETTERS = {
    **dict.fromkeys("il.,:;|!'j", 2.36), **dict.fromkeys("[]() ftr-", 3.2), **dict.fromkeys("0123456789", 4.25),
    **dict.fromkeys("mwMW%@", 7.0), **dict.fromkeys("ABCDEFGHKLNOPQRUVXY", 6.0), **dict.fromkeys("−×+=<>≤≥±∞", 6.6),
}  # fmt: skip
OTHER = 4.3
NEEDS = "% needs: booktabs. As wide as a page's text (16 cm); in two columns make it table*.\n"


@dataclass(frozen=True)
class Column:
    """A column that is set.

    Attributes:
        at: its place in the grid.
        points: its width.
        wraps: set as a paragraph.
        stacked: intervals stand below their numbers.
    """

    at: int
    points: float
    wraps: bool
    number: bool
    stacked: bool = False


def booktabs(grid: Grid) -> str:
    """The table as it can be pasted into a paper: caption, booktabs, notes."""
    grid = _short_names(grid)
    ways = [(room, stacked) for stacked in (False, True) for room in (WIDE, SMALL * WIDE)]
    tried = [(dealt(_columns(grid, *way), way[0]), way[0]) for way in ways]
    parts, room = min(tried, key=lambda one: len(one[0]))
    pages = [(columns, rows) for columns in parts for rows in _pages(grid, columns)]
    return NEEDS + "\n".join(
        _part(grid, columns, rows, number, number == len(pages) - 1, room)
        for number, (columns, rows) in enumerate(pages)
    )


def _short_names(grid: Grid) -> Grid:
    """Very long names of arms lose the knobs that most arms of a method share; a note says so."""
    names = [row[0].text for row in grid.rows]
    if grid.heads[0].text != "arm" or max(map(len, names), default=0) <= VERY_LONG:
        return grid
    short = distinct(names, 200)
    rows = [[replace(row[0], text=short[row[0].text]), *row[1:]] for row in grid.rows]
    notes = [*grid.notes, "Names leave out knobs that most arms of the method share."]
    return replace(grid, rows=rows, notes=notes)


def wide(text: str) -> float:
    """How wide a text is in footnotesize type, points."""
    return sum(LETTERS.get(letter, OTHER) for letter in text)


def _columns(grid: Grid, room: float, stacked: bool) -> list[Column]:
    """Columns for paper: those for the screen, and those without any number, are left out."""
    found = []
    for at, head in enumerate(grid.heads):
        texts = [row[at].text for row in grid.rows]
        if head.extra or (at and texts and head.number and set(texts) <= {"–", ""}):
            continue
        stack = stacked and head.number and any(len(_stack(text)) > 1 for text in texts)
        lines = [
            (line, row[at].strong)
            for row in grid.rows
            for line in (_stack(row[at].text) if stack else [row[at].text])
        ]
        longest = max((wide(line) * (1.15 if strong else 1.0) for line, strong in lines), default=0.0)
        wraps = not head.number and longest > (SHORTER if stacked else LONG)
        points = max(longest, *map(wide, _head_lines(head)))
        found.append(Column(at, points, wraps, head.number, stack))
    return _squeezed(found, room)


def _stack(text: str) -> list[str]:
    """`0.5 [0.4, 0.6]` as two lines."""
    value, bracket, rest = text.partition(" [")
    return [value, f"[{rest}"] if bracket else [text]


def _squeezed(columns: Sequence[Column], room: float) -> list[Column]:
    """Paragraphs share what the other columns leave, by the roots of what their texts want; each has its least."""
    left = room - sum(column.points for column in columns if not column.wraps) - GAP * (len(columns) - 1)
    pool = sorted((column for column in columns if column.wraps), key=lambda column: column.points)
    least = NARROW if len(pool) > 1 else LONG
    given: dict[int, float] = {}
    while pool:  # the smallest first, so that what it does not want goes to the others
        column = pool.pop(0)
        share = left * math.sqrt(column.points) / sum(math.sqrt(other.points) for other in (column, *pool))
        given[column.at] = max(least, min(column.points, share, BROAD))
        left -= given[column.at]
    return [replace(column, points=given.get(column.at, column.points)) for column in columns]


def dealt(columns: Sequence[Column], room: float = WIDE) -> list[list[Column]]:
    """The columns in as few parts as fit the width; every part begins with the first column."""
    first, parts = columns[0], [[columns[0]]]
    for column in columns[1:]:
        if len(parts[-1]) > 1 and sum(c.points + GAP for c in (*parts[-1], column)) > room + GAP + 0.5:
            parts.append([first])
        parts[-1].append(column)
    return parts


def _pages(grid: Grid, columns: Sequence[Column]) -> Iterator[Sequence[Sequence[Cell]]]:
    """Rows by pages: as many as a page has lines for."""
    page: list[Sequence[Cell]] = []
    used = 0
    for row in grid.rows:
        lines = max(_lines(row[column.at].text, column) for column in columns)
        if page and used + lines > LINES:
            yield page
            page, used = [], 0
        page.append(row)
        used += lines
    yield page


def _lines(text: str, column: Column) -> int:
    if column.wraps:
        return math.ceil(1.1 * wide(text) / column.points)
    return len(_stack(text)) if column.stacked else 1


def _part(
    grid: Grid,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    number: int,
    last: bool,
    room: float,
) -> str:
    size = "footnotesize" if room == WIDE else "scriptsize"
    heads = " & ".join(_head(grid.heads[column.at]) for column in columns)
    body = "\n".join(_row(row, columns) for row in rows)
    notes = escape(" ".join(grid.notes))
    return "\n".join([
        r"\begin{table}[!htbp]",
        rf"\centering\{size}\setlength{{\tabcolsep}}{{4pt}}",
        rf"\caption{{{escape(grid.caption)}{' (continued)' if number else ''}}}",
        rf"\label{{tab:{slug(grid.name)}{f'-{number}' if number else ''}}}",
        rf"\begin{{tabular}}{{@{{}}{''.join(_kind(column, room) for column in columns)}@{{}}}}",
        r"\toprule", heads + r" \tabularnewline", r"\midrule", body, r"\bottomrule", r"\end{tabular}",
        *([rf"\par\smallskip\begin{{minipage}}{{\linewidth}}\scriptsize {notes}\end{{minipage}}"]
          if notes and last else []),
        r"\end{table}", "",
    ])  # fmt: skip


def _kind(column: Column, room: float) -> str:
    if column.wraps:
        return rf"p{{{column.points / (room + 4):.3f}\linewidth}}"
    return "r" if column.number else "l"


def _row(row: Sequence[Cell], columns: Sequence[Column]) -> str:
    return " & ".join(_cell(row[column.at], column) for column in columns) + r" \tabularnewline"


def _cell(cell: Cell, column: Column) -> str:
    if column.stacked and len(stack := _stack(cell.text)) > 1:
        lines = [rf"\textbf{{{escape(line)}}}" if cell.strong else str(escape(line)) for line in stack]
        return r"\begin{tabular}[t]{@{}r@{}}" + r"\\".join(lines) + r"\end{tabular}"
    text = breakable(cell.text) if column.wraps else escape(cell.text)
    told = rf"\textbf{{{text}}}" if cell.strong and cell.text else str(text)
    return rf"\raggedright {told}" if column.wraps and cell.text else told


def _head_lines(head: Head) -> list[str]:
    lines = [""]
    for word in head.text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= HEAD:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _head(head: Head) -> str:
    """The head of a column, broken into lines."""
    lines = [escape(line) for line in _head_lines(head)]
    if len(lines) == 1:
        return lines[0]
    side = "r" if head.number else "l"
    return rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}" + r"\\ ".join(lines) + r"\end{tabular}"
