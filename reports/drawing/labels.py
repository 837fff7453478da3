"""Names beside points of a figure, where there is room: no name touches another, nor a point.

A name takes the cheapest free place around its point: near before far, above and right first, over as few lines
as can be. One that stands further off hangs on a thin line, so that nobody has to guess whose it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reports.drawing import typeset
from reports.notation import compact, shorten

SIZE = 6.2
#: Height of a line of text, points, and the room that a point takes on each side.
LINE, DOT = 7.4, 3.4
#: Directions in which a name may stand, the better first, as angles in degrees.
ANGLES = (35, -35, 145, -145, 90, -90, 0, 180, 65, -65, 115, -115)
#: Distances from the point, points; from LEADER on a line leads back to it.
DISTANCES, LEADER = (4.5, 9.0, 15.0, 22.0, 31.0, 42.0, 55.0), 9.0
#: What lies below a name costs as much as so many points of distance.
CROSSING = 6.0
Box = tuple[float, float, float, float]
Spot = tuple[float, float, str]
Segment = tuple[tuple[float, float], tuple[float, float]]
Wanted = tuple[tuple[float, float], str]
Found = tuple[tuple[float, float], Box, str, float]


@dataclass
class Room:
    """What is taken on a figure, all in points from its lower left corner."""

    frame: Box
    boxes: list[Box]
    segments: list[Segment]

    def free(self, box: Box) -> bool:
        """Whether a box lies inside and touches nothing."""
        return _inside(box, self.frame) and not any(_touch(box, other) for other in self.boxes)

    def crossings(self, box: Box) -> int:
        """Lines that run below a box."""
        return sum(_cuts(box, segment) for segment in self.segments)


def place(
    axes: Any,
    wanted: Sequence[Spot],
    everything: Sequence[Spot],
    lines: Sequence[Segment] = (),
    texts: Sequence[Any] = (),
    color: str = "#222222",
    room: Room | None = None,
) -> tuple[list[str], Room]:
    """Write the names of `wanted` beside their points; `lines` are better left free, `texts` must be.

    Returns:
        Names without room, and what is taken now (hand it over for names of lower rank).
    """
    room = room or _room(axes, everything, lines, texts)
    spots = [(_points(axes, (x, y)), name) for x, y, name in wanted]
    tries = (_try(order, room) for order in _orders(spots))
    best: tuple[list[Found], list[str]] | None = None
    for found, left_out in tries:
        if best is None or len(left_out) < len(best[1]):
            best = (found, left_out)
        if not left_out:
            break
    assert best is not None
    for at, box, told, distance in best[0]:
        room.boxes.append(box)
        _write(axes, told, at, box, distance, color)
    return best[1], room


def _orders(spots: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """The order of rank first; others only where something found no room in it."""
    yield list(spots)
    yield sorted(spots, key=lambda spot: spot[0][1])
    yield sorted(spots, key=lambda spot: spot[0][0])
    yield sorted(spots, key=lambda spot: -spot[0][0])


def _try(spots: Sequence[Wanted], room: Room) -> tuple[list[Found], list[str]]:
    """Each name in its cheapest place, one after the other."""
    trial = Room(room.frame, list(room.boxes), room.segments)
    found: list[Found] = []
    left_out = []
    for at, name in spots:
        best = min(_places(at, name, trial), key=lambda one: one[0], default=None)
        if best is None:
            left_out.append(name)
            continue
        _, box, told, distance = best
        trial.boxes.append(box)
        found.append((at, box, told, distance))
    return found, left_out


def _room(axes: Any, everything: Sequence[Spot], lines: Sequence[Segment], texts: Sequence[Any]) -> Room:
    axes.figure.draw_without_rendering()
    scale = 72.0 / axes.figure.dpi
    window = axes.get_window_extent()
    frame = (window.x0 * scale + 1, window.y0 * scale + 1, window.x1 * scale + 3, window.y1 * scale + 2)
    boxes = [_around(*_points(axes, (x, y))) for x, y, _ in everything]
    boxes += [tuple(edge * scale for edge in text.get_window_extent().extents) for text in texts]
    return Room(frame, boxes, [(_points(axes, a), _points(axes, b)) for a, b in lines])


def _points(axes: Any, at: tuple[float, float]) -> tuple[float, float]:
    x, y = axes.transData.transform(at) * (72.0 / axes.figure.dpi)
    return float(x), float(y)


def _places(at: tuple[float, float], name: str, room: Room) -> Iterator[tuple[float, Box, str, float]]:
    for rank, told in enumerate(_variants(name)):
        wide, high = _size(told)
        for distance in DISTANCES:
            for order, angle in enumerate(ANGLES):
                box = _box(at, wide, high, distance, angle)
                if not room.free(box) or (distance > LEADER and _blocked(at, box, room)):
                    continue
                cost = distance + 0.35 * order + 2.0 * rank + CROSSING * room.crossings(box)
                yield cost, box, told, distance


def distinct(names: Sequence[str], length: int) -> dict[str, str]:
    """Names short enough for a figure that still tell arms apart.

    Knobs that most arms of a method share are left out where the rest tells them apart, then those that all
    share; what is still too long loses its middle, unless that would make two names equal.
    """
    found: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.partition("(")[0], []).append(name)
    for method, group in groups.items():
        knobs = [_knobs(name) for name in group]
        count = Counter(knob for mine in knobs for knob in mine)
        for least in (0.5 * len(group), len(group) - 0.5 if len(group) > 1 else math.inf):
            kept = [[knob for knob in mine if count[knob] <= least] for mine in knobs]
            if len({tuple(mine) for mine in kept}) == len(group) and (len(group) > 1 or least == math.inf):
                break
        told = [f"{method}({', '.join(mine)})" if mine else method for mine in kept]
        short = [shorten(name, length) for name in told]
        found |= zip(group, short if len(set(short)) == len(set(told)) else told, strict=True)
    return found


def _knobs(name: str) -> list[str]:
    return [knob for knob in compact(name, 10_000).partition("(")[2].removesuffix(")").split(", ") if knob]


def _variants(name: str) -> list[str]:
    """The name as it is, and a long one broken before its knobs, then between them."""
    first, feed, price = name.partition("\n")
    method, bracket, knobs = first.partition("(")
    if not bracket or len(first) <= 18:
        return [name]
    found = [] if len(first) > 44 else [name]
    lines = [bracket]
    for knob in knobs.split(", "):
        if len(lines[-1]) > 1 and len(lines[-1]) + len(knob) > 26:
            lines.append("")
        lines[-1] += knob + ", "
    broken = [line.removesuffix(" ") for line in lines]
    broken[-1] = broken[-1].removesuffix(",")
    return [*found, "\n".join([method, *broken]) + feed + price]


def _size(told: str) -> tuple[float, float]:
    lines = told.split("\n")
    return max(typeset.width(line, SIZE) for line in lines) + 1.0, LINE * len(lines)


def _box(at: tuple[float, float], wide: float, high: float, distance: float, angle: float) -> Box:
    """The box whose nearest edge or corner lies so far from a point in a direction."""
    dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = at[0] + distance * dx, at[1] + distance * dy
    left = x if dx > 0.3 else x - wide if dx < -0.3 else x - wide / 2
    low = y - high / 2 if abs(dy) < 0.3 else y - 0.25 * high if dy > 0 else y - 0.75 * high
    if abs(dx) <= 0.45:
        low = y if dy > 0 else y - high
    return (left, low, left + wide, low + high)


def _blocked(at: tuple[float, float], box: Box, room: Room) -> bool:
    """Whether the line back to the point would run over a name or another point."""
    end = _nearest(at, box)
    others = [other for other in room.boxes if not _touch(_around(*at), other)]
    return any(_cuts(other, (at, end)) for other in others)


def _nearest(at: tuple[float, float], box: Box) -> tuple[float, float]:
    return (min(max(at[0], box[0]), box[2]), min(max(at[1], box[1]), box[3]))


def _around(x: float, y: float) -> Box:
    return (x - DOT, y - DOT, x + DOT, y + DOT)


def _inside(box: Box, frame: Box) -> bool:
    return frame[0] <= box[0] and frame[1] <= box[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _touch(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _cuts(box: Sequence[float], segment: Segment) -> bool:
    """Whether a segment runs through a box (Liang and Barsky's clipping)."""
    (x, y), (x1, y1) = segment
    begin, end = 0.0, 1.0
    for step, gap in ((x - x1, x - box[0]), (x1 - x, box[2] - x), (y - y1, y - box[1]), (y1 - y, box[3] - y)):
        if step == 0:
            if gap < 0:
                return False
        elif step < 0:
            begin = max(begin, gap / step)
        else:
            end = min(end, gap / step)
    return begin < end


def _write(axes: Any, told: str, at: tuple[float, float], box: Box, distance: float, color: str) -> None:
    scale = axes.figure.dpi / 72.0
    inverse = axes.transData.inverted()
    left, middle = inverse.transform((box[0] * scale, (box[1] + box[3]) / 2 * scale))
    right = box[0] >= at[0] - 1
    centre = box[0] < at[0] - 1 and box[2] > at[0] + 1
    x = (box[0] + box[2]) / 2 if centre else box[0] if right else box[2]
    x = inverse.transform((x * scale, 0.0))[0]
    side = "center" if centre else "left" if right else "right"
    how = {"fontsize": SIZE, "ha": side, "va": "center", "linespacing": 1.15, "color": color, "zorder": 6}
    halo = {"facecolor": "white", "alpha": 0.7, "pad": 0.3, "lw": 0}
    axes.text(x, middle, told, bbox=halo, **how)
    if distance > LEADER:
        end = inverse.transform(tuple(value * scale for value in _nearest(at, box)))
        start = inverse.transform(tuple(value * scale for value in at))
        axes.plot([start[0], end[0]], [start[1], end[1]], color="#9a9a9a", lw=0.5, zorder=2.5)
