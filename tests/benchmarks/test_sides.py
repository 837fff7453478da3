# ruff: noqa: E501 - cards and tables, one mistake a line
"""Sides of checks: a side names one cell of its card, or it is an error that says how to name one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.cards import Card, load_card
from benchmarks.knobs import InputError
from benchmarks.resolver import Resolver
from benchmarks.sides import resolve_checks

CARD = """
study: {key: tiny, title: a study}
family: pruning
scope: core
grade: C
faithful: {}
runs:
  - task: {tiny: {}}
    workloads: [batch8, train_step]
    methods:
      tiny_wide: {hidden: [4, 8, 12], drop: [0.0, 0.1]}
      tiny_student: {teacher: [baseline, {tiny_wide: {hidden: 4}}]}
      tiny_half: {start: [baseline, {tiny_wide: {hidden: 4}}]}
      tiny_keeps: {}
claims: [{id: one, says: something, checks: [CHECK]}]
"""
SECOND = "\n  - {task: {tiny: {easy: true}}, methods: {tiny_keeps: {}}}\nclaims:"


def card(tmp_path: Path, index: Any, check: str, text: str = CARD) -> tuple[Card, dict[str, Any]]:
    path = tmp_path / "tiny.yaml"
    path.write_text(text.replace("CHECK", check))
    resolver = Resolver(index)
    found = load_card(path, resolver)
    return found, resolve_checks(found, resolver)["claims"][0]["checks"][0]


def arm(found: Card, method: str, run: int = 0, **knobs: Any) -> str:
    """The id of the only arm of a card with this method and these knobs."""
    (one,) = [
        arm.id
        for arm in found.runs[run].arms
        if arm.method["method"] == method and knobs.items() <= arm.method["knobs"].items()
    ]
    return one


WIDE4 = {"method": "tiny_wide", "knobs": {"hidden": 4, "drop": 0.0, "mode": "a", "flag": False}}


@pytest.mark.parametrize(
    ("side", "method", "knobs"),
    [
        ("baseline", "baseline", {}),
        ("{baseline: {}}", "baseline", {}),
        ("{tiny_keeps: {}}", "tiny_keeps", {}),
        ("{tiny_keeps: null}", "tiny_keeps", {}),
        ("{tiny_wide: {hidden: 8, drop: 0.1}}", "tiny_wide", {"hidden": 8, "drop": 0.1}),
        ("{tiny_wide: {hidden: 8.0, drop: 0}}", "tiny_wide", {"hidden": 8, "drop": 0.0}),
        (
            "{tiny_wide: {hidden: 8}}",
            "tiny_wide",
            {"hidden": 8, "drop": 0.0},
        ),  # drop is left open: its default
        ("{tiny_wide: {}}", "tiny_wide", {"hidden": 12, "drop": 0.0}),
        ("{tiny_wide: {drop: 0.1}}", "tiny_wide", {"hidden": 12, "drop": 0.1}),
        ("{tiny_student: {teacher: {tiny_wide: {hidden: 4}}}}", "tiny_student", {"teacher": WIDE4}),
        ("{tiny_half: {start: {tiny_wide: {hidden: 4, mode: a}}}}", "tiny_half", {"start": WIDE4}),
        ("{tiny_half: {start: baseline}}", "tiny_half", {"start": {"method": "baseline", "knobs": {}}}),
    ],
)
def test_a_side_names_one_cell(side: str, method: str, knobs: Any, tmp_path: Path, tiny_index: Any) -> None:
    found, check = card(
        tmp_path, tiny_index, f"{{metric: accuracy, of: {side}, minus: baseline, above: 0.0}}"
    )
    assert check["of"] == arm(found, method, **knobs)
    assert check["minus"] == check["baseline"] == found.runs[0].baseline.id
    assert check["task"] == "tiny" and check["quality"] is True


def test_all_that_a_check_says_stays(tmp_path: Path, tiny_index: Any) -> None:
    said = "{metric: latency_s@batch8, of: [{tiny_keeps: {}}, baseline], below: 1.0, args: {x: [1, 2]}, effect: slope}"
    _, check = card(tmp_path, tiny_index, said)
    assert check["quality"] is False  # a cost
    assert {
        "metric": "latency_s@batch8",
        "below": 1.0,
        "args": {"x": [1, 2]},
        "effect": "slope",
    }.items() <= check.items()


def test_axes_do_not_hide_a_quality_metric(tmp_path: Path, tiny_index: Any) -> None:
    _, check = card(tmp_path, tiny_index, "{metric: accuracy@level=1, of: baseline, above: 0.4}")
    assert check["quality"] is True


def test_a_list_of_sides(tmp_path: Path, tiny_index: Any) -> None:
    said = "[{tiny_wide: {hidden: 4}}, {tiny_wide: {hidden: 8}}, baseline]"
    found, check = card(
        tmp_path,
        tiny_index,
        f"{{metric: nll, effect: slope, args: {{x: [1, 2, 3]}}, of: {said}, below: 0.0}}",
    )
    hidden = [arm(found, "tiny_wide", hidden=size, drop=0.0) for size in (4, 8)]
    assert check["of"] == [*hidden, found.runs[0].baseline.id]


def test_best_names_the_grid_and_the_metric_that_picks(tmp_path: Path, tiny_index: Any) -> None:
    said = "{best: {tiny_wide: {hidden: [4, 8]}}, by: nll}"
    found, check = card(
        tmp_path, tiny_index, f"{{metric: accuracy, of: {said}, minus: baseline, above: 0.0}}"
    )
    grid = {arm(found, "tiny_wide", hidden=size, drop=drop) for size in (4, 8) for drop in (0.0, 0.1)}
    assert set(check["of"]["best"]) == grid and check["of"]["by"] == "nll"


def test_on_picks_the_task_and_its_setting(tmp_path: Path, tiny_index: Any) -> None:
    text = CARD.replace("\nclaims:", SECOND)
    said = "{metric: accuracy, on: {tiny: {easy: true}}, of: {tiny_keeps: {}}, minus: baseline, above: 0.0}"
    found, check = card(tmp_path, tiny_index, said, text)
    assert check["of"] == arm(found, "tiny_keeps", run=1) != arm(found, "tiny_keeps")
    assert check["task_id"] == found.runs[1].arms[0].task_id


def test_controls_are_resolved_as_claims_are(tmp_path: Path, tiny_index: Any) -> None:
    controls = "controls: {positive: [{metric: accuracy, of: {tiny_keeps: {}}, minus: baseline, above: -0.5}]}\nclaims:"
    path = tmp_path / "tiny.yaml"
    path.write_text(CARD.replace("claims:", controls).replace("checks: [CHECK]", "not_tested: n"))
    resolver = Resolver(tiny_index)
    found = load_card(path, resolver)
    resolved = resolve_checks(found, resolver)
    assert resolved["controls"]["positive"][0]["of"] == arm(found, "tiny_keeps")
    assert resolved["claims"] == [{"id": "one", "says": "something", "not_tested": "n"}]


#: A check that is wrong -> what the line says after `tiny.yaml: claims.one.checks[0]`.
MISTAKES = {
    "{metric: accuracy, of: {tiny_wide: {mode: b}}, above: 0}": ".of: no cell of this card is tiny_wide with {'mode': 'b'}",
    "{metric: accuracy, of: {tiny_flaky: {}}, above: 0}": ".of: there is no method of this card 'tiny_flaky'; did you",
    "{metric: accuracy, of: {tiny_wid: {}}, above: 0}": ".of: there is no method of this card 'tiny_wid'; did you mean",
    "{metric: accuracy, of: {tiny_wide: {hiden: 4}}, above: 0}": ".of.tiny_wide: there is no knob 'hiden'; did you mean",
    "{metric: accuracy, of: {tiny_wide: {hidden: 400}}, above: 0}": ".of.tiny_wide.hidden: 400 is above 99",
    "{metric: accuracy, of: {tiny_wide: {hidden: [4, 8]}}, above: 0}": ".of: matches 4 cells (",
    "{metric: accuracy, of: {tiny_wide: {hidden: [4, 8], drop: 0.0}}, above: 0}": ".of: matches 2 cells (",
    "{metric: accuracy, of: {tiny_half: {}}, above: 0}": ".of: matches 2 cells (",
    "{metric: accuracy, of: {tiny_wide: 4}, above: 0}": ".of.tiny_wide: knobs are a mapping, not 4",
    "{metric: accuracy, of: {best: baseline}, above: 0}": ".of: a side is `baseline` or {method: {knob: value}}, not 'baseline'",
    "{metric: accuracy, of: {best: {tiny_wide: {}}, with: nll}, above: 0}": ".of: there is no key 'with'",
    "{metric: accuracy, of: {tiny_wide: {}, tiny_half: {}}, above: 0}": ".of: a side is `baseline` or {method",
    "{metric: accuracy, of: [nosuch], effect: slope, args: {x: [1, 2]}, above: 0}": ".of: a side is `baseline` or {method: {knob: value}}, not 'nosuch'",
    "{metric: accuracy, of: [baseline], above: 0}": ".of: a list of cells is for an `effect`; without one",
    "{metric: accuracy, on: {text: {}}, of: baseline, above: 0}": ".on: there is no task of this card 'text'",
    "{metric: accuracy, on: {tiny: {easy: true}}, of: baseline, above: 0}": ".on: no run of this card has tiny with {'easy': True}",
    "{metric: accuracy, on: {tiny: true}, of: baseline, above: 0}": ".on.tiny: knobs are a mapping, not True",
    "{metric: accuracy, on: {tiny: {eazy: true}}, of: baseline, above: 0}": ".on.tiny: there is no knob 'eazy'; did you mean 'easy'?",
    "{metric: accuracy, of: {best: {tiny_wide: {}}, by: acuracy}, above: 0}": ".of.by: there is no quality metric of tiny 'acuracy'; did you mean 'accuracy'?",
    "{metric: accuracy, above: 0}": ": a check needs a side `of`",
    "{metric: accuracy, of: baseline, minus: baseline, over: baseline, above: 0}": ": a check has `minus` or `over`, not both",
}  # fmt: skip


@pytest.mark.parametrize("check", MISTAKES)
def test_a_wrong_side_gives_one_clear_line(check: str, tmp_path: Path, tiny_index: Any) -> None:
    with pytest.raises(InputError) as error:
        card(tmp_path, tiny_index, check)
    line = str(error.value)
    assert line.startswith(f"tiny.yaml: claims.one.checks[0]{MISTAKES[check]}")
    assert "\n" not in line and len(line) < 700


def test_several_settings_need_on(tmp_path: Path, tiny_index: Any) -> None:
    with pytest.raises(
        InputError, match=r"checks\[0\]: this card runs 2 settings of tasks: say `on: {task: knobs}`"
    ):
        card(tmp_path, tiny_index, "{metric: nll, of: baseline, above: 0}", CARD.replace("\nclaims:", SECOND))


def test_runs_with_other_baselines_need_a_name(tmp_path: Path, tiny_index: Any) -> None:
    second = "\n  - {task: {tiny: {}}, baseline: {tiny_keeps: {}}, methods: {tiny_flaky: {}}}\nclaims:"
    text = CARD.replace("\nclaims:", second)
    with pytest.raises(InputError, match=r"\.minus: the runs have 2 baselines: name the method"):
        card(tmp_path, tiny_index, "{metric: nll, of: {tiny_flaky: {}}, minus: baseline, above: 0}", text)
    found, check = card(
        tmp_path, tiny_index, "{metric: nll, of: {tiny_flaky: {}}, minus: {tiny_keeps: {}}, above: 0}", text
    )
    assert check["minus"] == arm(found, "tiny_keeps")


def test_a_broken_method_resolves_as_typed(tmp_path: Path, tiny_index: Any) -> None:
    """A file that raises does not stop the planner: its cells will be failed records, its claims not tested."""
    methods = {name: entry for name, entry in tiny_index["methods"].items() if name != "tiny_keeps"}
    index = {
        **tiny_index,
        "methods": methods,
        "errors": {"tiny_keeps": {"reason": "x.py: oops", "kind": "method"}},
    }
    found, check = card(tmp_path, index, "{metric: nll, of: {tiny_keeps: {}}, minus: baseline, above: 0}")
    assert check["of"] == arm(found, "tiny_keeps")


def test_the_checks_of_these_tests_are_yaml() -> None:
    assert all(isinstance(yaml.safe_load(check), dict) for check in MISTAKES)
