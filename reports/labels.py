"""Names beside points of a figure, where there is room: no name touches another, nor a point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

#: Behind a name, so that lines do not run through it.
HALO = {"facecolor": "white", "alpha": 0.75, "pad": 0.4, "lw": 0}
SIZE, LETTER, HEIGHT = 6.2, 3.45, 7.0
#: Where a name may stand from its point, in points, the nearest first.
OFFSETS = (
    (5, 3, "left"), (5, -9, "left"), (-5, 3, "right"), (-5, -9, "right"), (0, 6, "center"),
    (0, -12, "center"), (8, 9, "left"), (-8, -16, "right"), (8, -17, "left"), (-8, 11, "right"),
    (0, 14, "center"), (0, -20, "center"),
)  # fmt: skip
Box = tuple[float, float, float, float]
Spot = tuple[float, float, str]


def place(axes: Any, wanted: Sequence[Spot], everything: Sequence[Spot]) -> list[str]:
    """Write the names of `wanted` beside their points, over no point; returns those without room."""
    axes.figure.draw_without_rendering()
    scale = 72.0 / axes.figure.dpi
    window = axes.get_window_extent()
    frame = tuple(edge * scale for edge in (window.x0 - 2, window.y0, window.x1 + 6, window.y1 + 2))
    taken = [_around(*(axes.transData.transform((x, y)) * scale)) for x, y, _ in everything]
    left_out = []
    for x, y, name in wanted:
        px, py = axes.transData.transform((x, y)) * scale
        for box, dx, dy, side in _boxes(px, py, name):
            if _inside(box, frame) and not any(_touch(box, other) for other in taken):
                taken.append(box)
                _write(axes, name, (x, y), (dx, dy), side)
                break
        else:
            left_out.append(name)
    return left_out


def _boxes(x: float, y: float, name: str) -> Iterator[tuple[Box, float, float, str]]:
    width = LETTER * len(name) + 1
    for dx, dy, side in OFFSETS:
        left = x + dx - {"left": 0.0, "center": width / 2, "right": width}[side]
        yield (left, y + dy, left + width, y + dy + HEIGHT), dx, dy, side


def _around(x: float, y: float) -> Box:
    return (x - 3, y - 3, x + 3, y + 3)


def _inside(box: Box, frame: Sequence[float]) -> bool:
    return frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _touch(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _write(axes: Any, name: str, point: tuple[float, float], offset: tuple[float, float], side: str) -> None:
    how = {
        "textcoords": "offset points",
        "ha": side,
        "va": "bottom",
        "fontsize": SIZE,
        "zorder": 5,
        "bbox": HALO,
    }
    axes.annotate(name, point, offset, color="#222222", **how)
