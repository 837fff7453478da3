"""Fronts, realised saving and the noise floor as figures: marks stand where the records say, or are not drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from reports.content import Content
from reports.drawing import figures, realised
from reports.drawing.figures import BAND, MEMBERS
from reports.drawing.palette import BLUE, MARKS, marks_of
from reports.drawing.svg import save
from reports.judging.fronts import Front, fronts
from reports.judging.measuring import Floor, Realised
from reports.judging.statistics import Interval, student
from reports.wording.captions import FOLDER, caption


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def marks(axes: Any, shape: str) -> list[Any]:
    return [line for line in axes.lines if line.get_marker() == shape]


def at(line: Any) -> tuple[float, float]:
    return float(line.get_xdata()[0]), float(line.get_ydata()[0])


def areas(axes: Any, color: str) -> list[tuple[float, float]]:
    """(lowest, highest) y of the patches of a colour."""
    from matplotlib.colors import to_hex

    found = [patch for patch in axes.patches if to_hex(patch.get_facecolor()) == color]
    return [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in found]


@pytest.fixture
def by_time(content: Content) -> tuple[Front, dict[str, Any], Any]:
    section = content.sections[0]
    front = fronts(section)[0]
    assert section.metric is not None
    return front, section.metric, figures.front(front, section.metric).axes[0]


def test_every_point_of_a_front_is_at_its_estimates(by_time: tuple[Front, dict[str, Any], Any]) -> None:
    front, _, axes = by_time
    low = axes.get_ylim()[0]
    drawn = {
        (round(x, 9), round(y, 9)) for line in (*marks(axes, "o"), *marks(axes, "*")) for x, y in [at(line)]
    }
    for point in front.points:
        y = 100 * point.gain.effect
        assert y < low or (round(point.cost.effect, 9), round(y, 9)) in drawn


def test_members_of_a_front_are_told_apart(by_time: tuple[Front, dict[str, Any], Any]) -> None:
    front, _, axes = by_time
    low = axes.get_ylim()[0]
    looks = {at(line): (line.get_color(), line.get_markerfacecolor()) for line in marks(axes, "o")}
    for point in front.points:
        spot = (point.cost.effect, 100 * point.gain.effect)
        if not point.arm.baseline and spot[1] >= low:
            assert looks[spot] == MEMBERS[point.member][:2]
    assert len({look[:3] for look in MEMBERS.values()}) == len(MEMBERS)
    assert {point.member for point in front.points} >= {"surely", "possibly", "no"}


def test_the_baseline_is_a_star_at_one_and_nought(by_time: tuple[Front, dict[str, Any], Any]) -> None:
    _, _, axes = by_time
    (star,) = marks(axes, "*")
    assert at(star) == (1.0, 0.0)


def test_the_band_is_the_metrics(by_time: tuple[Front, dict[str, Any], Any]) -> None:
    _, metric, axes = by_time
    assert areas(axes, BAND) == [(pytest.approx(-100 * metric["band"]), pytest.approx(100 * metric["band"]))]


def test_a_relative_band_is_a_share_of_the_baseline(content: Content) -> None:
    section = next(section for section in content.sections if section.basis == "modelled")
    assert section.metric is not None and section.metric["relative"]
    front = fronts(section)[0]
    base = next(point.arm.quality for point in front.points if point.arm.baseline)
    assert base is not None
    axes = figures.front(front, section.metric).axes[0]
    half = section.metric["band"] * base.interval.effect
    assert areas(axes, BAND) == [(pytest.approx(-half), pytest.approx(half))]


def test_the_stairs_are_the_front(by_time: tuple[Front, dict[str, Any], Any]) -> None:
    front, _, axes = by_time
    (stairs,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    best = front.best
    assert list(stairs.get_xdata())[1:-1] == [point.cost.effect for point in best]
    assert list(stairs.get_ydata())[1:-1] == [100 * point.gain.effect for point in best]


def test_an_arm_below_the_window_is_a_triangle_with_its_value(
    by_time: tuple[Front, dict[str, Any], Any],
) -> None:
    front, _, axes = by_time
    low = axes.get_ylim()[0]
    fallen = [point for point in front.points if 100 * point.gain.effect < low]
    triangles = [line for line in marks(axes, "v") if line.get_markersize() == pytest.approx(4.4)]
    assert fallen and len(triangles) == len(fallen)
    assert all(at(line)[1] == low for line in triangles)
    assert any(text.get_text().startswith("−11") for text in axes.texts)


def test_an_interval_beyond_the_window_ends_in_an_arrow(content: Content) -> None:
    from dataclasses import replace

    section = content.sections[0]
    front = fronts(section)[0]
    wide = replace(front.points[2], gain=Interval(front.points[2].gain.effect, -5.0, 5.0, 2, 1.0))
    points = (*front.points[:2], wide, *front.points[3:])
    assert section.metric is not None
    axes = figures.front(replace(front, points=points), section.metric).axes[0]
    low, high = axes.get_ylim()
    heads = {
        line.get_marker(): at(line)
        for line in axes.lines
        if line.get_markersize() == pytest.approx(3.4) and at(line)[0] == wide.cost.effect
    }
    assert heads["v"][1] == low and heads["^"][1] == high
    assert max(max(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "-") <= max(high, 1)


def test_chance_is_told(by_time: tuple[Front, dict[str, Any], Any]) -> None:
    front, metric, axes = by_time
    base = next(point.arm.quality for point in front.points if point.arm.baseline)
    assert base is not None
    value = 100 * (metric["chance"] - base.interval.effect)
    assert any(text.get_text() == f"chance: −{abs(value):.0f} ▾" for text in axes.texts)


def test_members_have_names(by_time: tuple[Front, dict[str, Any], Any]) -> None:
    front, _, axes = by_time
    texts = " ".join(text.get_text().replace("\n", "") for text in axes.texts)
    assert all(point.arm.label.partition("(")[0] in texts for point in front.best if not point.arm.baseline)


def test_other_families_stay_faint_and_nameless(content: Content) -> None:
    section = content.sections[0]
    front = fronts(section)[0]
    from dataclasses import replace

    mine = tuple(p for p in front.points if p.arm.baseline or p.arm.family == "pruning")
    rest = tuple(p for p in front.points if p not in mine)
    assert section.metric is not None
    axes = figures.front(replace(front, points=mine), section.metric, rest, "pruning").axes[0]
    faint = [line for line in marks(axes, "o") if line.get_color() == "#dcdcdc"]
    assert 0 < len(faint) <= len(rest)
    texts = " ".join(text.get_text() for text in axes.texts)
    assert "gradual" in texts and "distilled" not in texts and axes.get_title(loc="left") == "pruning"


def test_fronts_on_which_nothing_differs_are_not_drawn(content: Content) -> None:
    from dataclasses import replace

    front = fronts(content.sections[0])[0]
    same = tuple(replace(point, cost=Interval(1.004, 1.0, 1.01, 5)) for point in front.points)
    assert front.apart and not replace(front, points=same).apart


def saving(
    nominal: float, effect: float, low: float, high: float, by: str = "nonzero", family: str = "pruning"
) -> Realised:
    name = f"{family} {by} {nominal:g}"
    return Realised(
        name, "task", family, "batch64", nominal, by, Interval(effect, low, high, 5, 4.0), "csr form"
    )


def test_realised_points_are_where_the_records_say(content: Content) -> None:
    axes = realised.figure(content.realised).axes[0]
    spots = [at(line) for line in axes.lines if line.get_markersize() == pytest.approx(5.0)]
    for point in content.realised:
        assert any(np.allclose(spot, (point.nominal, point.saving.effect)) for spot in spots)
        ends = [line.get_ydata() for line in axes.lines if line.get_linewidth() == 1.0]
        assert any(np.allclose(end, (point.saving.low, point.saving.high)) for end in ends)
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_on_the_diagonal_a_promise_is_kept_and_below_one_it_is_slower() -> None:
    axes = realised.figure([saving(10.0, 0.5, 0.45, 0.55), saving(4.0, 3.9, 3.8, 4.0)]).axes[0]
    diagonal = [
        line
        for line in axes.lines
        if np.allclose(line.get_xdata(), line.get_ydata()) and len(line.get_xdata()) > 1
    ]
    assert diagonal and axes.get_ylim()[0] < 0.45
    (slow,) = axes.collections
    ys = slow.get_paths()[0].vertices[:, 1]
    assert ys.max() == 1.0 and ys.min() == axes.get_ylim()[0]
    assert any("slower than the model it replaces" in text.get_text() for text in axes.texts)


def test_families_have_mark_and_colour_and_counts_a_filling() -> None:
    points = [saving(2, 1.5, 1.4, 1.6), saving(4, 2, 1.9, 2.1, "stored_bytes", "quantization"),
              saving(8, 3, 2.9, 3.1, "flops", "reference")]  # fmt: skip
    axes = realised.figure(points).axes[0]
    looks = {
        (line.get_marker(), line.get_color(), line.get_fillstyle(), line.get_markerfacecolor())
        for line in axes.lines
        if line.get_markersize() == pytest.approx(5.0)
    }
    known = marks_of(["pruning", "quantization", "reference"])
    assert looks == {
        (*known["pruning"], "full", "white"),
        (*known["quantization"], "bottom", known["quantization"][1]),
        (*known["reference"], "full", known["reference"][1]),
    }
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == [
        "pruning",
        "quantization",
        "reference",
        "by non-zero weights",
        "by FLOPs",
        "by stored bytes",
    ]


def test_no_two_families_look_alike() -> None:
    known = marks_of([f"family {number}" for number in range(len(MARKS))])
    assert len(set(known.values())) == len(MARKS)


def test_an_emulated_arm_is_promised_in_a_strip_and_never_measured(content: Content) -> None:
    promised = realised.promises(content.sections)
    assert [promise.label for promise in promised] == ["ternary"]
    assert promised[0].nominal == pytest.approx(1 / 0.065, rel=0.01) and promised[0].by == "stored_bytes"
    drawn = realised.figure(content.realised, promised)
    above, strip = drawn.axes
    assert not any(math.isclose(x, promised[0].nominal) for line in above.lines for x in line.get_xdata())
    ticks = [line for line in strip.lines if math.isclose(line.get_xdata()[0], promised[0].nominal)]
    assert len(ticks) == 1 and ticks[0].get_marker() == "None" and not len(strip.get_yticks())
    assert any("not timed" in text.get_text() for text in strip.texts)
    assert len(realised.figure(content.realised).axes) == 1


def test_a_saving_says_what_it_costs_in_quality(content: Content) -> None:
    price = realised.prices(content.sections)
    task = content.sections[0].title
    assert price[task, "gradual(sparsity=0.9)"].startswith("−1.") and price[
        task, "gradual(sparsity=0.9)"
    ].endswith("pt")
    texts = [text.get_text() for text in realised.figure(content.realised, price=price).axes[0].texts]
    assert any("gradual" in text and "pt" in text for text in texts)


def test_more_of_an_error_is_not_told_as_a_gain(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    section = content.sections[0]
    error = {**(section.metric or {}), "name": "output_error", "better": "lower"}
    monkeypatch.setattr(type(section), "metric", error)
    told = realised.prices([section]).values()
    assert told and all(text.startswith("output error") for text in told)


def test_a_saving_with_an_endless_interval_has_arrows() -> None:
    axes = realised.figure([saving(10.0, 2.0, 0.0, math.inf), saving(2.0, 1.5, 1.4, 1.6)]).axes[0]
    heads = {
        line.get_marker(): at(line) for line in axes.lines if line.get_markersize() == pytest.approx(3.4)
    }
    assert heads["v"] == (10.0, axes.get_ylim()[0]) and heads["^"] == (10.0, axes.get_ylim()[1])


def test_the_noise_floor_shows_every_round_and_the_mean() -> None:
    logs = (-0.012, 0.004, 0.019, -0.003)
    axes = figures.noise([Floor("task", "batch64", logs, student(logs).exp(), 0.01, 0.02)]).axes[0]
    dots = np.concatenate([area.get_offsets()[:, 0] for area in axes.collections if len(area.get_offsets())])
    assert sorted(dots) == pytest.approx(sorted(100 * math.expm1(log) for log in logs))
    (mean,) = marks(axes, "D")
    assert at(mean)[0] == pytest.approx(100 * math.expm1(np.mean(logs)))
    mine = student(logs).exp()
    spans = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 1.2]
    assert any(np.allclose(span, (100 * (mine.low - 1), 100 * (mine.high - 1))) for span in spans)
    left, right = axes.get_xlim()
    assert left < min(dots) and right > max(dots)


def test_a_single_round_has_an_endless_mean() -> None:
    axes = figures.noise([Floor("task", "batch64", (0.01,), student((0.01,)).exp(), None, 0.01)]).axes[0]
    assert len(marks(axes, "<")) == len(marks(axes, ">")) == 1


def test_hostile_names_come_out_as_text(nasty: Content, tmp_path: Any) -> None:
    told = save(realised.figure(nasty.realised), tmp_path, "realised")
    section = nasty.sections[-1]
    assert section.metric is not None
    told += save(figures.front(fronts(section)[0], section.metric), tmp_path, "front")
    assert (
        "<script>alert" not in told
        and "<b>" not in told
        and "<script" not in (tmp_path / "front.svg").read_text()
    )


def test_captions_are_there_for_every_kind() -> None:
    for kind in ("forest", "front", "realised", "noise", "crossover"):
        told = caption(kind)
        assert told.endswith(".") and "\n" not in told and len(told) > 60
    assert {path.stem for path in FOLDER.glob("*.rst")} >= {
        "forest",
        "front",
        "realised",
        "noise",
        "crossover",
    }


def test_blue_is_for_members() -> None:
    assert MEMBERS["surely"][0] == BLUE and MEMBERS["no"][0] != BLUE
