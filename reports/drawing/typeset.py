"""Text as wide as it is: measured with the figures' own font, broken where a reader would, cut at its end."""

from __future__ import annotations

import re
from functools import lru_cache

from reports.notation import DOTS

#: Where a long name may be broken: after a blank, a comma, a bracket or an equals sign, and before an underscore.
_PARTS = re.compile(r"[^\s,(=_]*[,(=]?\s*|_[^\s,(=_]*[,(=]?\s*")


@lru_cache(maxsize=4096)
def width(text: str, size: float, bold: bool = False) -> float:
    """How wide a line of text is, in points, at a font size in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def wrap(text: str, size: float, room: float, lines: int, bold: bool = False) -> list[str]:
    """At most so many lines, none wider than `room` points; what does not fit ends in dots."""
    rest = " ".join(text.split())
    found: list[str] = []
    while rest and len(found) < lines - 1 and width(rest, size, bold) > room:
        line = _line(rest, size, room, bold)
        found.append(line.rstrip())
        rest = rest[len(line) :].lstrip()
    return [*found, cut(rest, size, room, bold)] if rest else found or [""]


def _line(text: str, size: float, room: float, bold: bool) -> str:
    """The longest beginning that fits, broken at a blank where one lies far enough, else within a name."""
    line = ""
    for part in re.findall(r"\S+\s*", text):
        if width((line + part).rstrip(), size, bold) > room:
            break
        line += part
    if width(line.rstrip(), size, bold) > 0.55 * room:
        return line
    line = ""
    for part in filter(None, _PARTS.findall(text)):
        if width((line + part).rstrip(), size, bold) > room:
            break
        line += part
    return line or _most(text, size, room, bold)


def _most(text: str, size: float, room: float, bold: bool) -> str:
    """As many letters as fit, one at least."""
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(text[:middle], size, bold) <= room else (low, middle - 1)
    return text[:low]


def cut(text: str, size: float, room: float, bold: bool = False) -> str:
    """The text, or as much of its beginning as fits before dots."""
    if width(text, size, bold) <= room:
        return text
    return _most(text, size, room - width(DOTS, size, bold), bold).rstrip(" ,(=_") + DOTS
