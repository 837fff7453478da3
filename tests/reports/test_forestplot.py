"""The forest plot as a figure: every mark stands where its row says, and no text runs into another mark."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from reports.content import Content
from reports.drawing import forestplot, typeset
from reports.drawing.forestlayout import COLUMN, PAGE, Layout, off_axis
from reports.drawing.forestplot import ASKED, COLORS, INK, ZONE
from reports.judging.forest import Forest, Group, Row
from reports.judging.verdicts import HOLDS, SHORT, UNCLEAR, UNTESTED

LAYOUTS = pytest.mark.parametrize("layout", [PAGE, COLUMN], ids=["page", "column"])


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def row(low: float, effect: float, high: float, **more: Any) -> Row:
    told = {"verdict": UNCLEAR, "direction": "none", "text": "+1 point", "asked": "> 0 points"} | more
    return Row(
        "accuracy: a against b", "accuracy: a against b", grade="B", effect=effect, low=low, high=high, **told
    )


def forest_of(*rows: Row, verdict: str = HOLDS, says: str = "what is claimed") -> Forest:
    return Forest("key", "B", [Group("claim", says, verdict, False, False, rows)])


def drawn(forest: Forest, layout: Layout) -> Any:
    return forestplot.figure(forest, layout).axes[0]


def x_of(forest: Forest, layout: Layout, value: float) -> float:
    left, right = layout.track
    return left + (right - left) * forest.at(value)


def lines(axes: Any, color: str, width: float) -> list[Any]:
    return [line for line in axes.lines if line.get_color() == color and line.get_linewidth() == width]


def marks(axes: Any, shape: str, size: float | None = None) -> list[Any]:
    found = [line for line in axes.lines if line.get_marker() == shape]
    return [line for line in found if size is None or line.get_markersize() == pytest.approx(size)]


@LAYOUTS
def test_the_threshold_stands_at_zero_in_every_tested_row_and_only_there(layout: Layout) -> None:
    untested = Row("label", "label", UNTESTED, "", "B", reason="needs a GPU")
    forest = forest_of(row(1, 2, 3), row(-2, -1, 5), untested)
    found = lines(drawn(forest, layout), INK, 0.9)
    assert len(found) == 2
    assert all(np.allclose(line.get_xdata(), x_of(forest, layout, 0.0)) for line in found)


@LAYOUTS
def test_a_second_threshold_ends_what_was_asked(layout: Layout) -> None:
    forest = forest_of(row(1, 2, 3, limit=6.0))
    axes = drawn(forest, layout)
    at = sorted(float(line.get_xdata()[0]) for line in lines(axes, INK, 0.9))
    assert at == pytest.approx([x_of(forest, layout, 0.0), x_of(forest, layout, 6.0)])
    assert spans(axes, ASKED) == [pytest.approx(at)]


def spans(axes: Any, color: str) -> list[list[float]]:
    """Left and right ends of the areas of a colour, without the samples of the key."""
    from matplotlib.colors import to_hex

    found = []
    for area in axes.collections:
        if len(area.get_facecolor()) and to_hex(area.get_facecolor()[0]) == color:
            xs = area.get_paths()[0].vertices[:, 0]
            ys = area.get_paths()[0].vertices[:, 1]
            if ys.max() < axes.get_ylim()[0] - 40:
                found.append([float(xs.min()), float(xs.max())])
    return found


@LAYOUTS
def test_the_interval_and_the_band_are_those_of_the_row(layout: Layout) -> None:
    forest = forest_of(row(-2.5, 1.0, 7.0, zone=(-4.0, -2.0), verdict=UNCLEAR))
    axes = drawn(forest, layout)
    (line,) = [line for line in lines(axes, COLORS[UNCLEAR], 1.5) if len(line.get_xdata()) == 2]
    assert line.get_xdata() == pytest.approx([x_of(forest, layout, -2.5), x_of(forest, layout, 7.0)])
    assert spans(axes, ZONE) == [pytest.approx([x_of(forest, layout, -4.0), x_of(forest, layout, -2.0)])]


@LAYOUTS
def test_an_interval_that_goes_on_ends_in_an_arrow_at_the_edge(layout: Layout) -> None:
    forest = forest_of(row(-math.inf, 1.0, math.inf))
    axes = drawn(forest, layout)
    at = [float(line.get_xdata()[0]) for shape in "<>" for line in marks(axes, shape, 3.4)]
    assert layout.track[0] in at and layout.track[1] in at
    axes = drawn(forest_of(row(-1.0, 1.0, 2.0)), layout)
    assert not marks(axes, "<", 3.4) and not marks(axes, ">", 3.4)


@LAYOUTS
def test_an_estimate_beyond_the_axis_is_an_arrow_and_no_mark(layout: Layout) -> None:
    forest = forest_of(row(4000.0, 5000.0, 6000.0, verdict=HOLDS))
    axes = drawn(forest, layout)
    assert off_axis(forest, 5000.0)
    assert not [line for line in marks(axes, "s") if line.get_color() == COLORS[HOLDS]]
    assert [line for line in marks(axes, ">", 3.4) if line.get_color() == COLORS[HOLDS]]


def test_a_band_without_width_does_not_stretch_the_axis() -> None:
    narrow = forest_of(row(4.0, 4.0, 4.0, zone=(-100.0, -100.0)))
    assert narrow.left == pytest.approx(3.15)
    assert forest_of(row(4.0, 4.0, 4.0, zone=(-100.0, -98.0))).left > 100


@LAYOUTS
def test_what_was_not_tested_says_why_and_has_no_mark(layout: Layout) -> None:
    untested = Row("", "", UNTESTED, "", "B", reason="needs a GPU with sparse cores")
    axes = drawn(forest_of(row(1, 2, 3), untested, verdict=UNTESTED), layout)
    told = {text.get_text(): text for text in axes.texts}
    assert told["needs a GPU with sparse cores"].get_style() == "italic"
    assert "not tested, B" in told


@LAYOUTS
def test_every_golden_claim_is_told_with_verdict_and_grade(content: Content, layout: Layout) -> None:
    for paper in content.papers:
        texts = [text.get_text() for text in drawn(paper.forest, layout).texts]
        for group in paper.forest.groups:
            control = bool(group.rows) and group.rows[0].control
            assert (group.verdict if control else f"{group.verdict}, {paper.forest.grade}") in texts
            for each in group.rows:
                told = each.asked if layout.asked is not None else f"asked {each.asked}"
                assert each.effect is None or (each.text in texts and told in texts)


@LAYOUTS
@pytest.mark.parametrize("name", ["content", "nasty"])
def test_no_text_leaves_the_figure_or_runs_into_the_track(
    request: pytest.FixtureRequest, layout: Layout, name: str
) -> None:
    content = request.getfixturevalue(name)
    for paper in content.papers:
        figure = forestplot.figure(paper.forest, layout)
        figure.set_dpi(720)  # at few dots an inch hinting makes letters wider than they are on paper
        figure.draw_without_rendering()
        scale = 72.0 / figure.dpi
        left, right = layout.track
        boxes = []
        for text in figure.axes[0].texts:
            x0, y0, x1, y1 = (edge * scale for edge in text.get_window_extent().extents)
            assert x0 > -2 and x1 < layout.width + 4, text.get_text()
            boxes.append((x0, y0, x1, y1, text.get_text()))
        if not layout.above:
            names = [box for box in boxes if abs(box[0] - 10.0) < 1.5]
            assert names and all(box[2] < left for box in names if box[4] not in reasons(paper.forest))
        for at, a in enumerate(boxes):
            for b in boxes[at + 1 :]:
                apart = a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] + 2.5 or b[3] <= a[1] + 2.5
                assert apart, (a[4], b[4])


def reasons(forest: Forest) -> set[str]:
    """Lines of reasons, which may stand where there is no track."""
    rows = [row for group in forest.groups for row in group.rows if row.effect is None]
    return {
        line
        for row in rows
        for layout in (PAGE, COLUMN)
        for line in typeset.wrap(row.reason, layout.small, layout.width - layout.label[0] - 2.0, 2)
    }


def test_verdicts_differ_for_a_reader_without_green_receptors() -> None:
    """Machado, Oliveira and Fernandes (2009), deuteranopia, severity 1, on linear RGB."""
    from matplotlib.colors import to_rgb

    seen = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    )

    def simulated(color: str) -> np.ndarray:
        rgb = np.array(to_rgb(color))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        mixed = np.clip(seen @ linear, 0, 1)
        return np.where(mixed <= 0.0031308, 12.92 * mixed, 1.055 * mixed ** (1 / 2.4) - 0.055)

    colors = [simulated(COLORS[verdict]) for verdict in (HOLDS, SHORT, UNCLEAR)]
    for at, a in enumerate(colors):
        for b in colors[at + 1 :]:
            assert np.linalg.norm(a - b) > 0.25


@pytest.mark.parametrize("color", COLORS.values())
def test_verdicts_can_be_read_on_white(color: str) -> None:
    """Contrast of 3 to 1 at least (WCAG, bold text and marks)."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (light + 0.05) >= 3.0


def test_wrapped_text_fits_and_loses_nothing() -> None:
    text = (
        "a large pruned network is more accurate than dense(like=gradual_pruning(sparsity=0.9), match=params)"
    )
    lines = typeset.wrap(text, 6.5, 120.0, 9)
    assert all(typeset.width(line, 6.5) <= 120.0 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    short = typeset.wrap(text, 6.5, 120.0, 2)
    assert len(short) == 2 and short[-1].endswith("…") and typeset.width(short[-1], 6.5) <= 120.0


def test_the_direction_is_a_shape_and_open_verdicts_are_hollow() -> None:
    axes = drawn(forest_of(row(-3, -2, -1, verdict=SHORT, direction="reversed"), row(-1, 0.5, 2)), PAGE)
    reverse = [line for line in marks(axes, "<", 4.8) if line.get_color() == COLORS[SHORT]]
    assert len(reverse) == 1 and reverse[0].get_markerfacecolor() == COLORS[SHORT]
    hollow = [line for line in marks(axes, "s", 4.2) if line.get_color() == COLORS[UNCLEAR]]
    assert len(hollow) == 1 and hollow[0].get_markerfacecolor() == "white"
