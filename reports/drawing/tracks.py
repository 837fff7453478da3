"""The forest plot on a page: an SVG a check that stretches. Positions in per cent, shapes in pixels."""

from __future__ import annotations

from reports.drawing.forestlayout import off_axis, spaced, tick_label
from reports.judging.forest import Forest, Row
from reports.judging.verdicts import HOLDS, SHORT

#: Shape of the estimate by direction.
PATHS = {
    "as claimed": "M-4.5-5.5L6 0L-4.5 5.5Z",
    "reversed": "M4.5-5.5L-6 0L4.5 5.5Z",
    "none": "M-4.5-4.5H4.5V4.5H-4.5Z",
    "": "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0-5 0Z",
}
#: Heads of arrows at the edges.
ENDS = ("M0 0L5-4V4Z", "M0 0L-5-4V4Z")
HEIGHT = 30


def track(forest: Forest, row: Row) -> str:
    """One check: what was asked, the band around no difference, the estimate with its interval."""
    middle = HEIGHT / 2
    parts = [_upright("grid", forest.at(tick)) for tick in spaced(forest) if tick]
    if row.effect is not None:
        edge = forest.right * 1.01 if row.limit is None else row.limit
        parts.append(_box("asked", forest.at(0.0), forest.at(edge), 0, HEIGHT))
        if row.limit is not None:
            parts.append(_upright("line", forest.at(edge)))
        if row.zone and not (off_axis(forest, row.zone[0]) and off_axis(forest, row.zone[1])):
            left, right = (forest.at(end) for end in row.zone)
            parts.append(_box("zone", left, right, middle - 5, 10))
            parts.append(_upright("zone", left, middle - 5, middle + 5) if left == right else "")
            nothing = forest.at(sum(row.zone) / 2)
            parts.append(_upright('nothing" stroke="#fff', nothing, middle - 5, middle + 5) * (left < right))
    parts.append(_upright("line", forest.at(0.0)))
    if row.effect is not None:
        parts.append(_estimate(forest, row, row.effect, middle))
    return _svg("".join(parts))


def axis(forest: Forest) -> str:
    """The axis below the tracks."""
    parts = ['<line class="base" x1="0" x2="100%" y1="0" y2="0"/>']
    for tick in spaced(forest):
        x = _cent(forest.at(tick))
        parts.append(_upright("base", forest.at(tick), 0, 5))
        parts.append(f'<text x="{x}" y="17" text-anchor="middle">{tick_label(tick)}</text>')
    return _svg("".join(parts))


def _estimate(forest: Forest, row: Row, effect: float, y: float) -> str:
    dots = [f'<circle class="dot" cx="{_cent(forest.at(v))}" cy="{y - 10}" r="1.7"/>' for v in row.replicates]
    low, high = (_cent(forest.at(end)) for end in (row.low, row.high))
    parts = [*dots, f'<line class="span" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>']
    for end, path in zip((row.low, row.high), ENDS, strict=True):
        if off_axis(forest, end):
            parts.append(_shape(forest.at(end), y, path))
    if not off_axis(forest, effect):  # beyond the axis the arrow alone tells
        face = "" if row.verdict in (HOLDS, SHORT) else "hollow"
        parts.append(_shape(forest.at(effect), y, PATHS[row.direction], face))
    return f'<g class="v-{row.verdict.replace(" ", "-")}">{"".join(parts)}</g>'


def _svg(inner: str) -> str:
    return f'<svg class="track" width="100%" height="{HEIGHT}" aria-hidden="true">{inner}</svg>'


def _cent(share: float) -> str:
    return f"{100 * share:.2f}%"


def _upright(kind: str, x: float, top: float = 0, bottom: float = HEIGHT) -> str:
    return f'<line class="{kind}" x1="{_cent(x)}" x2="{_cent(x)}" y1="{top}" y2="{bottom}"/>'


def _box(kind: str, left: float, right: float, top: float, height: float) -> str:
    width = _cent(max(right - left, 0.0))
    return f'<rect class="{kind}" x="{_cent(left)}" width="{width}" y="{top}" height="{height}"/>'


def _shape(x: float, y: float, path: str, kind: str = "") -> str:
    return f'<svg x="{_cent(x)}" y="{y}" overflow="visible"><path class="{kind}" d="{path}"/></svg>'
