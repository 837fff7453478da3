"""Trade-off figures: what the cells of a study show, and how its lines are called."""

from __future__ import annotations

from typing import Any

import pytest

from reports.content import Content
from reports.drawing import tradeoffs
from reports.drawing.linenames import line_name


def baseline(**knobs: Any) -> dict[str, Any]:
    return {"method": "baseline", "knobs": knobs}


class Arms:
    """As much of a table as names need."""

    def __init__(self, **arms: tuple[str, dict[str, Any]]) -> None:
        self.arms = {name: {"method": method, "knobs": knobs} for name, (method, knobs) in arms.items()}

    def label(self, method: str, knobs: dict[str, Any]) -> str:
        told = ", ".join(f"{name}={value}" for name, value in knobs.items())
        return f"{method}({told})" if told else method


def names(table: Arms) -> list[str]:
    spec = {"arms": [*table.arms, "a cell that was not run"]}
    return [line_name(table, spec, arm) for arm in table.arms]  # type: ignore[arg-type]


def test_a_line_keeps_what_is_no_number() -> None:
    table = Arms(
        a=("h2o", {"by": "sum", "budget": 8}), b=("h2o", {"by": "last", "budget": 16}), c=("quest", {})
    )
    assert names(table) == ["h2o(by=sum)", "h2o(by=last)", "quest"]


def test_lines_of_one_method_are_called_by_what_differs() -> None:
    mono = {"method": "mono_forward", "knobs": {"budget": 4.0}}
    table = Arms(
        a=("layer_probe", {"start": baseline(lr=2.0), "layer": 1}),
        b=("layer_probe", {"start": baseline(budget=0.0), "layer": 2}),
        c=("layer_probe", {"start": mono, "layer": 1}),
    )
    assert names(table) == ["baseline(lr=2.0)", "baseline(budget=0.0)", "mono_forward"]


def test_a_line_that_keeps_a_cell_alone_is_called_by_it_beside_other_methods() -> None:
    mono = {"method": "mono_forward", "knobs": {"budget": 4.0}}
    table = Arms(
        a=("layer_probe", {"start": baseline(), "layer": 1}),
        b=("layer_probe", {"start": mono, "layer": 1}),
        c=("goodness_probe", {"start": {"method": "forward_forward", "knobs": {}}, "layer": 1}),
    )
    assert names(table) == ["baseline", "mono_forward", "goodness_probe"]
    other = Arms(
        a=("sinks", {"start": baseline(), "window": 8}),
        b=("sinks", {"start": mono, "window": 8}),
        c=("quest", {"by": "bound"}),
        d=("quest", {"by": "random"}),
    )
    assert names(other)[0] == "sinks(start=baseline)" and names(other)[2] == "quest(by=bound)"


def test_what_is_empty_or_a_number_is_no_part_of_a_name() -> None:
    table = Arms(
        a=("cascade", {"by": "checker", "threshold": None, "weak": None}),
        b=("cascade", {"by": "logprob", "threshold": 0.2, "weak": None}),
        c=("cascade", {"by": "logprob", "threshold": 0.4, "weak": None}),
        d=("cascade", {"by": "checker", "threshold": None, "weak": baseline(width=24)}),
    )
    names_of = names(table)
    assert names_of[1] == names_of[2] == "logprob"
    assert names_of[0] == "checker" and "baseline(width=24)" in names_of[3]


def figure_of(section: Any, x: dict[str, Any], y: dict[str, Any], at: float | None = None) -> dict[str, Any]:
    arms = list(dict.fromkeys([section.baseline, *section.arm_ids]))
    xs = {} if at is None else dict.fromkeys(arms, float(at))
    place = {"task_id": section.task_id, "baseline": section.baseline, "arms": arms, "xs": xs}
    return {
        "id": "all",
        "says": "All",
        "task": section.task,
        "arms": arms,
        "settings": [place],
        "x": x,
        "y": y,
    }


def test_dots_are_effects_on_the_baseline(content: Content) -> None:
    section = next(one for one in content.sections if len(one.arm_ids) > 2)
    y = {"metric": section.metric["name"], "minus": "baseline"}
    spec = figure_of(section, {"metric": "nonzero", "over": "baseline"}, y)
    drawn = tradeoffs.trade_off(content.table, spec)
    dots = {dot.label: dot for line in drawn.lines for dot in line.dots}
    arms = {arm.label: arm for arm in section.arms}
    assert len(dots) > 2
    for label, dot in dots.items():
        change = arms[label].change
        if change is not None and not arms[label].baseline:
            assert dot.y.effect == pytest.approx(100 * change.interval.effect)
    assert drawn.level == 0.0 and drawn.ylabel.endswith("points")
    axes = tradeoffs.figure(drawn).axes[0]
    assert axes.get_xlabel() and axes.get_ylabel() == drawn.ylabel


def test_a_knob_of_the_task_spans_settings_each_with_its_own_baseline(content: Content) -> None:
    few = many = next(
        one for one in content.sections if len(one.arm_ids) > 2
    )  # one setting, put at two places
    metric = few.metric["name"]
    parts = [figure_of(one, {"task": "depth"}, {"metric": metric}, at) for one, at in ((few, 2), (many, 8))]
    arms = [arm for part in parts for arm in part["arms"]]
    spec = {**parts[0], "arms": arms, "settings": [part["settings"][0] for part in parts]}
    plain = tradeoffs.trade_off(content.table, spec)
    xs = [dot.x.effect for line in plain.lines for dot in line.dots]
    assert set(xs) == {2.0, 8.0} and plain.level is None
    own = content.table.arms[few.baseline]["label"]
    assert [dot.label for line in plain.lines for dot in line.dots].count(own) == 2
    relative = tradeoffs.trade_off(content.table, {**spec, "y": {"metric": metric, "minus": "baseline"}})
    assert own not in [dot.label for line in relative.lines for dot in line.dots]  # it is the level
    thousand = tradeoffs.trade_off(content.table, {**spec, "y": {"metric": metric, "times": 1000.0}})
    assert thousand.lines[0].dots[0].y.effect == pytest.approx(1000 * plain.lines[0].dots[0].y.effect)
