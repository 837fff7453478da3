"""Names beside points: none touches another or a point, arms can be told apart, far ones hang on a line."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from reports.drawing import labels
from reports.drawing.labels import distinct, place
from reports.drawing.palette import pyplot


def axes_of() -> Any:
    figure, axes = pyplot().subplots(figsize=(3.4, 3.0), dpi=720)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    return axes


@pytest.mark.parametrize("seed", range(4))
def test_no_name_touches_another_or_a_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spots = [(x, y, f"method_{at}(knob={at})") for at, (x, y) in enumerate(rng.uniform(0.05, 0.95, (14, 2)))]
    axes = axes_of()
    left_out, room = place(axes, spots, spots)
    texts = [text for text in axes.texts if text.get_text()]
    assert len(texts) + len(left_out) == len(spots) and len(texts) > 8
    boxes = room.boxes[-len(texts) :]
    assert not any(labels._touch(a, b) for a, b in itertools.combinations(boxes, 2))
    points = room.boxes[: len(spots)]
    assert not any(labels._touch(box, point) for box in boxes for point in points)
    frame = room.frame
    assert all(labels._inside(box, frame) for box in boxes)


def test_boxes_are_where_the_text_is() -> None:
    axes = axes_of()
    _, room = place(axes, [(0.3, 0.5, "a_name_of(knob=1)\n−1.1 pt")], [(0.3, 0.5, "")])
    axes.figure.draw_without_rendering()
    scale = 72.0 / axes.figure.dpi
    extent = [edge * scale for edge in axes.texts[0].get_window_extent().extents]
    assert np.allclose(extent, room.boxes[-1], atol=3.0)


def test_a_name_far_off_hangs_on_a_line() -> None:
    axes = axes_of()
    crowd = [(0.5 + 0.02 * dx, 0.5 + 0.02 * dy, "") for dx in range(-4, 5) for dy in range(-4, 5)]
    left_out, _ = place(axes, [(0.5, 0.5, "in the middle")], crowd)
    lines = [line for line in axes.lines if line.get_color() == "#9a9a9a"]
    assert left_out or lines
    alone = axes_of()
    place(alone, [(0.5, 0.5, "alone")], [(0.5, 0.5, "")])
    assert not alone.lines


def test_arms_are_told_apart_by_what_differs() -> None:
    names = [f"agent(calls=12, checker={c}, memory=full, tries={t})" for c in (True, False) for t in (1, 2)]
    short = distinct(names, 36)
    assert len(set(short.values())) == 4
    assert all("memory" not in name and "calls" not in name for name in short.values())
    assert distinct(["baseline", "pruning(sparsity=0.9)"], 36) == {
        "baseline": "baseline", "pruning(sparsity=0.9)": "pruning(sparsity=0.9)",
    }  # fmt: skip


def test_too_long_names_are_cut_but_never_made_equal() -> None:
    long = [f"method({'knob_' * 20}={at}, other_{'x' * 60}={at})" for at in range(3)]
    assert len(set(distinct(long, 30).values())) == 3
    assert len(distinct([long[0]], 30)[long[0]]) == 30
