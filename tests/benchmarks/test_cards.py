# ruff: noqa: E501 - MISTAKES is a table, one mistake a line
"""Cards: every mistake gives one line that names the file, the key and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.cards import Arm, Card, load_card, read_yaml
from benchmarks.knobs import InputError
from benchmarks.resolver import Resolver

CARD = """
study: {key: tiny, title: a study}
family: pruning
scope: core
grade: C
faithful: {}
runs:
  - task: {tiny: {}}
    workloads: [batch1, batch@32]
    methods:
      tiny_wide: {hidden: [4, 8]}
      tiny_half: {start: [baseline, {tiny_wide: {hidden: 4}}]}
claims:
  - id: one
    says: something
    not_tested: no reason
"""
RUNS = CARD[CARD.index("runs:") : CARD.index("claims:")]
#: What is put in place of what in CARD -> what the line says.
MISTAKES = {
    "unknown key": ("family: pruning", "famly: pruning", "unknown key 'famly'; did you mean 'family'?"),
    "unknown key, nothing near": ("grade: C", "grade: C\nzzz: 1", "unknown key 'zzz'; allowed: budget_cpu_s, budget_reason"),
    "unknown key that is a number": ("grade: C", "grade: C\n7: 1", "unknown key 7; allowed: budget_cpu_s"),
    "key of a run": ("workloads: [", "workload: [", "runs[0]: unknown key 'workload'; did you mean 'workloads'?"),
    "missing key": ("scope: core\n", "", "'scope' is a required property"),
    "wrong word": ("grade: C", "grade: D", "grade: 'D' is not one of ['A', 'B', 'C']"),
    "wrong type": ("faithful: {}", "faithful: much", "faithful: 'much' is not of type 'object'"),
    "neither paper nor study": ("study: {key: tiny, title: a study}\n", "", "needs exactly one of paper, study"),
    "both": ("grade: C", "grade: C\npaper: {key: tiny, title: t, year: 2020}", "needs exactly one of paper, study"),
    "odd name": ("key: tiny,", "key: Tiny Study,", "study.key: 'Tiny Study' does not match '^[a-z0-9_-]+$'"),
    "a path as name": ("key: tiny,", "key: ../tiny,", "study.key: '../tiny' does not match"),
    "other name than the file": ("key: tiny,", "key: teeny,", "the key is 'teeny', so the file must be teeny.yaml"),
    "no runs": (RUNS, "runs: []\n", "runs: []"),
    "unknown task": ("tiny: {}}", "tinny: {}}", "runs[0].task: there is no task 'tinny'; did you mean 'tiny'?"),
    "knob of the task": ("tiny: {}}", "tiny: {with: 3}}", "runs[0].task.tiny: there is no knob 'with'; did you mean 'width'?"),
    "two tasks": ("tiny: {}}", "tiny: {}, tiny_sim: {}}", "runs[0].task: "),
    "task knobs are a number": ("tiny: {}}", "tiny: 3}", "runs[0].task.tiny: knobs are a mapping, not 3"),
    "unknown method": ("tiny_wide: {hidden: [4, 8]}", "tiny_wid: {}", "runs[0].methods: there is no method 'tiny_wid'; did you mean 'tiny_wide'?"),
    "unknown knob": ("{hidden: [4, 8]}", "{hiden: 4}", "methods.tiny_wide: there is no knob 'hiden'; did you mean 'hidden'?"),
    "knobs are a number": ("{hidden: [4, 8]}", "0.5", "methods.tiny_wide: knobs are a mapping, not 0.5"),
    "knobs are a list": ("{hidden: [4, 8]}", "[4, 8]", "methods.tiny_wide: knobs are a mapping, not 4"),
    "an empty list of grids": ("{hidden: [4, 8]}", "[]", "methods.tiny_wide: an empty list runs nothing"),
    "a setting twice in a list of grids": ("{hidden: [4, 8]}", "[{hidden: [4, 8]}, {hidden: 8, drop: 0}]", "methods.tiny_wide: a setting is given twice"),
    "out of bounds": ("[4, 8]", "[4, 800]", "methods.tiny_wide.hidden: 800 is above 99 (hidden units)"),
    "word for number": ("[4, 8]", "[4, many]", "tiny_wide.hidden: 'many' is no int (hidden units)"),
    "bool for int": ("[4, 8]", "true", "tiny_wide.hidden: True is no int (hidden units)"),
    "int for bool": ("{hidden: [4, 8]}", "{flag: 1}", "tiny_wide.flag: 1 is no bool (does nothing)"),
    "nan": ("{hidden: [4, 8]}", "{drop: .nan}", "tiny_wide.drop: nan is no finite number (does nothing)"),
    "inf": ("{hidden: [4, 8]}", "{lr_factor: .inf}", "tiny_wide.lr_factor: inf is no finite number"),
    "no choice": ("{hidden: [4, 8]}", "{mode: c}", "tiny_wide.mode: 'c' is none of a, b (does nothing)"),
    "null for int": ("[4, 8]", "null", "tiny_wide.hidden: None is no int (hidden units)"),
    "a date": ("[4, 8]", "[2024-01-01]", "tiny_wide.hidden: datetime.date(2024, 1, 1) is no int (hidden units)"),
    "empty grid": ("[4, 8]", "[]", "methods.tiny_wide.hidden: an empty list runs nothing"),
    "duplicate value": ("[4, 8]", "[4, 8, 4]", "methods.tiny_wide.hidden: a value is given twice"),
    "duplicate value, other spelling": ("[4, 8]", "[4, 8, 4.0]", "methods.tiny_wide.hidden: a value is given twice"),
    "duplicate cell": ("start: [baseline,", "start: [baseline, {baseline: {}},", "methods.tiny_half.start: a value is given twice"),
    "unknown cell": ("start: [baseline,", "start: [nosuch,", "methods.tiny_half.start: there is no method 'nosuch'"),
    "cell with two methods": ("{tiny_wide: {hidden: 4}}]", "{tiny_wide: {}, baseline: {}}]", "start: a cell is `baseline` or {method: {knob: value}}"),
    "cell that is a grid": ("{tiny_wide: {hidden: 4}}]", "{tiny_wide: {hidden: [4, 5]}}]", "start: a reference names one cell, not a grid of 2"),
    "knob of a cell": ("{tiny_wide: {hidden: 4}}]", "{tiny_wide: {hidden: 400}}]", "tiny_half.start.tiny_wide.hidden: 400 is above 99"),
    "start of what starts from nothing": ("{hidden: [4, 8]}", "{start: baseline}", "tiny_wide.start: trains from scratch, so it has no start"),
    "wrong pairing": ("tiny_wide: {hidden: [4, 8]}", "tiny_text: {}", "runs[0]: tiny_text needs text, which tiny does not offer (it offers points)"),
    "wrong pairing of a start": ("start: [baseline,", "start: [tiny_text,", "runs[0]: tiny_text needs text, which tiny does not offer"),
    "wrong pairing of a baseline": ("    methods:", "    baseline: {tiny_text: {}}\n    methods:", "runs[0]: tiny_text needs text"),
    "unknown workload": ("[batch1,", "[batch2,", "runs[0].workloads: tiny has no workload 'batch2'; did you mean"),
    "size of a workload": ("batch@32", "batch@many", "runs[0].workloads: tiny has no workload 'batch@many'"),
    "workload of a simulator": (RUNS, "runs: [{task: {tiny_sim: {}}, methods: {tiny_fast: {}}, workloads: [batch1]}]\n", "runs[0].workloads: tiny_sim has no workload 'batch1'; there is none here"),
    "workload twice": ("[batch1,", "[batch1, batch1,", "runs[0].workloads: ['batch1', 'batch1', 'batch@32'] has non-unique elements"),
    "seeds": ("    methods:", "    seeds: true\n    methods:", "runs[0].seeds: True is not of type 'integer'"),
    "no seeds": ("    methods:", "    seeds: 0\n    methods:", "runs[0].seeds: 0 is less than the minimum of 1"),
    "baseline is a grid": ("    methods:", "    baseline: {tiny_wide: {hidden: [4, 8]}}\n    methods:", "runs[0].baseline: names one cell, not a grid of 2"),
    "duplicate id": ("  - id: one\n", "  - {id: one, says: s, not_tested: n}\n  - id: one\n", "claims: the id 'one' is given twice"),
    "neither checks nor reason": ("    not_tested: no reason\n", "", "claims[0]: needs exactly one of checks, not_tested"),
    "no threshold": ("not_tested: no reason", "checks: [{metric: accuracy, of: baseline}]", "claims[0].checks[0]: needs exactly one of above, below, within"),
    "duplicate key": ("scope: core\n", "scope: core\nscope: core\n", "line 5: the key 'scope' is given twice"),
    "no YAML": ("scope: core", "scope: [core", "line"),
    "where it is no YAML": ("scope: core", "scope: [core", "tiny.yaml: line "),
    "a side": ("not_tested: no reason", "checks: [{metric: accuracy, of: {tiny_wide: {}}, minus: baselin, above: 0}]", "claims[0].checks[0].minus: 'baselin' is no side: `baseline`, {method: {knob: value}}, or a list"),
    "no mapping": (CARD, "- a\n- b\n", "is no mapping of keys to values"),
    "a tag": ("scope: core", "scope: !!python/name:os.system core", "could not determine a constructor for the tag"),
}  # fmt: skip


def load(text: str, tmp_path: Path, index: Any, small: bool = False) -> Card:
    path = tmp_path / "tiny.yaml"
    path.write_text(text)
    return load_card(path, Resolver(index, small=small))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_clear_line(mistake: str, tmp_path: Path, tiny_index: Any) -> None:
    old, new, says = MISTAKES[mistake]
    assert CARD.count(old) == 1
    with pytest.raises(InputError) as error:
        load(CARD.replace(old, new), tmp_path, tiny_index)
    line = str(error.value)
    assert line.startswith(f"{tmp_path}/tiny.yaml: ") and says in line
    assert "\n" not in line and len(line) < 700 + len(str(tmp_path))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuch.yaml: there is no such file$"):
        read_yaml(tmp_path / "nosuch.yaml")


def test_words_are_read_as_in_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("on: 1e-3\noff: [yes, no, true, FALSE, 2E5, 1.5e3, 1.5, 7, 1e, truely]\n")
    assert read_yaml(path) == {
        "on": 1e-3,
        "off": ["yes", "no", True, False, 2e5, 1.5e3, 1.5, 7, "1e", "truely"],
    }


# -------------------------------------------------------------------- what a good card becomes


def test_grids_become_arms(tmp_path: Path, tiny_index: Any) -> None:
    (run,) = load(CARD, tmp_path, tiny_index).runs
    assert [arm.method["method"] for arm in run.arms] == [
        "baseline",
        "tiny_wide",
        "tiny_wide",
        "tiny_half",
        "tiny_half",
    ]
    assert run.baseline is run.arms[0] and run.baseline.method == {"method": "baseline", "knobs": {}}
    assert [arm.method["knobs"]["hidden"] for arm in run.arms[1:3]] == [4, 8]
    # a cell knob holds the whole canonical cell, so that spelling it otherwise names the same cell
    assert run.arms[4].method["knobs"]["start"] == run.arms[1].method
    assert run.task_knobs == {"width": 8, "noise": 1.0, "kind": "clouds", "easy": False}
    assert len({arm.id for arm in run.arms}) == 5


def test_a_list_of_grids_is_their_union(tmp_path: Path, tiny_index: Any) -> None:
    text = CARD.replace("{hidden: [4, 8]}", "[{hidden: [4, 8]}, {hidden: 5, drop: [0.1, 0.2]}, {}]")
    (run,) = load(text, tmp_path, tiny_index).runs
    assert [(arm.method["knobs"]["hidden"], arm.method["knobs"]["drop"]) for arm in run.arms[1:6]] == [
        (4, 0.0), (8, 0.0), (5, 0.1), (5, 0.2), (12, 0.0),
    ]  # fmt: skip


def test_a_grid_of_the_task_is_one_run_each(tmp_path: Path, tiny_index: Any) -> None:
    runs = load(
        CARD.replace("tiny: {}}", "tiny: {width: [3, 5], easy: [true, false]}}"), tmp_path, tiny_index
    ).runs
    assert [(run.task_knobs["width"], run.task_knobs["easy"]) for run in runs] == [
        (3, True), (3, False), (5, True), (5, False),
    ]  # fmt: skip
    assert len({arm.task_id for run in runs for arm in run.arms}) == 4


def spelled(knobs: str, tmp_path: Path, index: Any, small: bool = False) -> Arm:
    return load(CARD.replace("{hidden: [4, 8]}", knobs), tmp_path, index, small).runs[0].arms[1]


@pytest.mark.parametrize(
    "knobs",
    [
        "{}",
        "{hidden: 12}",
        "{hidden: 12.0}",
        "{drop: 0}",
        "{budget: 1, lr_factor: 1.0}",
        "{width: null}",
        "null",
    ],
)
def test_one_cell_has_one_name(knobs: str, tmp_path: Path, tiny_index: Any) -> None:
    """Defaults spelled out name the same cell; common knobs enter only where they say something."""
    arm = spelled(knobs, tmp_path, tiny_index)
    assert arm.method["knobs"] == {"hidden": 12, "drop": 0.0, "mode": "a", "flag": False}
    assert arm.id == spelled("{}", tmp_path, tiny_index).id


def test_common_knobs_that_differ_make_another_cell(tmp_path: Path, tiny_index: Any) -> None:
    arm = spelled("{budget: 0.5}", tmp_path, tiny_index)
    assert arm.method["knobs"]["budget"] == 0.5
    assert arm.id != spelled("{}", tmp_path, tiny_index).id


def test_train_false_is_a_budget_of_zero(tmp_path: Path, tiny_index: Any) -> None:
    (run,) = load(CARD.replace("    methods:", "    train: false\n    methods:"), tmp_path, tiny_index).runs
    assert {arm.method["knobs"]["budget"] for arm in run.arms} == {0.0}


def test_small_knobs_are_for_tests(tmp_path: Path, tiny_index: Any) -> None:
    (run,) = load(CARD, tmp_path, tiny_index, small=True).runs
    assert run.task_knobs["width"] == 4
    (run,) = load(CARD.replace("tiny: {}}", "tiny: {width: 9}}"), tmp_path, tiny_index, small=True).runs
    assert run.task_knobs["width"] == 9  # what a card says outright stays


def test_a_file_that_raises_is_planned_as_typed(tmp_path: Path, tiny_index: Any) -> None:
    index = {**tiny_index, "errors": {"broken": {"reason": "broken.py: SyntaxError", "kind": "method"}}}
    card = CARD.replace("tiny_wide: {hidden: [4, 8]}", "broken: {whatever: 1}")
    assert load(card, tmp_path, index).runs[0].arms[1].method == {
        "method": "broken",
        "knobs": {"whatever": 1},
    }


def test_scope_and_kind(tmp_path: Path, tiny_index: Any) -> None:
    study = load(CARD, tmp_path, tiny_index)
    assert (study.key, study.scope, study.is_paper) == ("tiny", "study_tiny", False)
    text = CARD.replace(
        "study: {key: tiny, title: a study}", "paper: {key: tiny, title: a paper, year: 2020}"
    )
    paper = load(text, tmp_path, tiny_index)
    assert (paper.scope, paper.is_paper) == ("paper_tiny", True)


def test_the_card_of_these_tests_is_plain_yaml() -> None:
    assert yaml.safe_load(CARD)["study"]["key"] == "tiny"
