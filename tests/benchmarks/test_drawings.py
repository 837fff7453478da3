# ruff: noqa: E501 - a figure a line
"""Figures of cards: which cells they show, of which settings of the task, and where on an axis that is a knob."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cards import load_card
from benchmarks.drawings import resolve_figures
from benchmarks.knobs import InputError
from benchmarks.resolver import Resolver

CARD = """
study: {key: tiny, title: a study}
family: pruning
scope: core
grade: C
faithful: {}
runs:
  - task: {tiny: {width: [8, 16]}}
    methods:
      baseline: {budget: [0.5, 1.0]}
      tiny_wide: {hidden: [4, 8, 12]}
      tiny_keeps: {}
  - {task: {tiny: {easy: true}}, methods: {tiny_keeps: {}}}
figures: [{id: one, says: Something, FIGURE, y: {metric: accuracy}}]
claims: [{id: one, says: something, checks: [{metric: accuracy, on: {tiny: {easy: true}}, of: {tiny_keeps: {}}, above: 0.0}]}]
"""


def resolved(tmp_path: Path, index: Any, figure: str) -> dict[str, Any]:
    path = tmp_path / "tiny.yaml"
    path.write_text(CARD.replace("FIGURE", figure))
    card = load_card(path, Resolver(index))
    (found,) = resolve_figures(card, Resolver(index))
    return found


def test_a_knob_of_the_task_spans_its_settings(tmp_path: Path, tiny_index: Any) -> None:
    found = resolved(tmp_path, tiny_index, "on: {tiny: {easy: false}}, x: {task: width}")
    assert [sorted(set(one["xs"].values())) for one in found["settings"]] == [[8.0], [16.0]]
    assert len({one["task_id"] for one in found["settings"]}) == 2
    assert all(one["baseline"] in one["arms"] for one in found["settings"])
    assert sorted(arm for one in found["settings"] for arm in one["arms"]) == sorted(found["arms"])


def test_a_knob_of_methods_has_the_value_that_is_left_out(tmp_path: Path, tiny_index: Any) -> None:
    place = "on: {tiny: {easy: false, width: 8}}"
    (setting,) = resolved(tmp_path, tiny_index, f"{place}, x: {{knob: budget}}")["settings"]
    assert sorted(setting["xs"].values()) == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    (setting,) = resolved(tmp_path, tiny_index, f"{place}, x: {{knob: hidden}}")["settings"]
    assert sorted(setting["xs"].values()) == [4.0, 8.0, 12.0]  # the others have no such knob
    narrow = f"{place}, methods: {{baseline: {{budget: 1.0}}, tiny_wide: {{hidden: [4, 12]}}}}, x: {{knob: hidden}}"
    assert len(resolved(tmp_path, tiny_index, narrow)["arms"]) == 3


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("on: {tiny: {easy: false}}, x: {knob: hidden}", "runs 2 settings of tasks: say `on"),
        ("on: {tiny: {easy: false}}, x: {task: widht}", "figures[0].x.task: there is no knob 'widht'"),
        ("on: {tiny: {width: 8, easy: false}}, x: {knob: hiden}", "did you mean 'hidden'"),
        ("kind: break-even, on: {tiny: {easy: false}}, x: {task: width}", "a break-even has one setting"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, tiny_index: Any, figure: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        resolved(tmp_path, tiny_index, figure)
    assert message in str(error.value) and "\n" not in str(error.value)
