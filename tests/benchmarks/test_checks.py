# ruff: noqa: E501 - tables, one mistake a line
"""Checks name what some run of their card can produce: a typo is one line that says what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cards import load_card
from benchmarks.checks import EFFECTS, metrics_of
from benchmarks.digests import ROOT
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
    workloads: [batch1, batch@32, train_step]
    methods: {tiny_wide: {hidden: [4, 8, 12]}, tiny_keeps: {}}
  - task: {tiny: {}}
    methods: {tiny_half: {}}
  - task: {tiny: {easy: true}}
    train: false
    workloads: [batch8]
    methods: {tiny_wide: {hidden: 30}}
  - task: {tiny_sim: {}}
    methods: {tiny_fast: {}}
claims: [{id: one, says: something, checks: [CHECK]}]
"""
TINY, EASY, SIM = "on: {tiny: {easy: false}}", "on: {tiny: {easy: true}}", "on: {tiny_sim: {}}"


def resolve(check: str, tmp_path: Path, index: Any, text: str = CARD) -> dict[str, Any]:
    path = tmp_path / "tiny.yaml"
    path.write_text(text.replace("CHECK", check))
    resolver = Resolver(index)
    (found,) = resolve_checks(load_card(path, resolver), resolver)["claims"][0]["checks"]
    return found


ACCEPTED = [
    "accuracy", "nll", "accuracy@level=1", "accuracy@round=7", "params", "nonzero", "stored_bytes", "train_steps",
    "train_flops", "train_peak_live_bytes", "fit_cpu_s", "stages_cpu_s", "flops@batch1", "bytes_moved@batch@32",
    "flops@batch8", "peak_live_bytes@batch1", "latency_s@batch@32", "energy_j@batch1", "train_s",
]  # fmt: skip


@pytest.mark.parametrize("metric", ACCEPTED)
def test_what_the_cells_will_have_is_accepted(metric: str, tmp_path: Path, tiny_index: Any) -> None:
    said = f"{{metric: {metric}, {TINY}, of: {{tiny_keeps: {{}}}}, over: baseline, below: 1.0}}"
    assert resolve(said, tmp_path, tiny_index)["metric"] == metric


def test_a_simulators_own_count_is_accepted(tmp_path: Path, tiny_index: Any) -> None:
    said = f"{{metric: price, {SIM}, of: {{tiny_fast: {{}}}}, over: baseline, below: 1.0}}"
    assert resolve(said, tmp_path, tiny_index)["quality"] is False


#: metric, side -> what the line says after `checks[0].metric: `.
MISTAKES = {
    ("acuracy", "tiny_keeps"): "there is no metric 'acuracy' for these cells; did you mean 'accuracy'?",
    ("nonzeros", "tiny_keeps"): "there is no metric 'nonzeros' for these cells; did you mean 'nonzero'?",
    ("accuracy@levl=1", "tiny_keeps"): "these cells have no accuracy@levl=1; accuracy is there at: level=..., round=...",
    ("accuracy@level=", "tiny_keeps"): "these cells have no accuracy@level=",
    ("nonzero@batch1", "tiny_keeps"): "nonzero has no place 'batch1': it is one number a cell",
    ("flops", "tiny_keeps"): "flops needs a workload: flops@batch1, flops@batch8, flops@batch@32",
    ("flops@batch2", "tiny_keeps"): "these cells have no flops@batch2; flops is there at: batch1, batch8, batch@32",
    ("flops@train_step", "tiny_keeps"): "these cells have no flops@train_step",
    ("latency_s@batch2", "tiny_keeps"): "these cells have no latency_s@batch2; latency_s is there at: batch1, batch@32",
    ("latency_s@train_step", "tiny_keeps"): "these cells have no latency_s@train_step",
    ("latency_s@batch1", "tiny_half"): "these cells have no latency_s: no run of this card times them beside one baseline (`workloads`)",
    ("train_s", "tiny_half"): "these cells have no train_s: no run of this card times them beside one baseline (`workloads: [train_step]`)",
    ("cpu_s@batch1", "tiny_keeps"): "there is no metric 'cpu_s@batch1' for these cells; did you mean",
    ("spent_tokens", "tiny_keeps"): "there is no metric 'spent_tokens' for these cells; ",
    ("probe_rank", "tiny_half"): "there is no metric 'probe_rank' for these cells; ",
    ("accuracy", "tiny_wide"): "cells of a run with `train: false` have no accuracy: nobody scores random weights",
    ("latency_s@batch8", "tiny_fast"): "tiny_sim is a simulator: nothing of it is timed",
    ("wait@batch8", "tiny_fast"): "these cells have no wait@batch8; wait is there at: level=..., round=...",
}  # fmt: skip


@pytest.mark.parametrize(("metric", "side"), MISTAKES)
def test_a_metric_that_no_run_can_produce(metric: str, side: str, tmp_path: Path, tiny_index: Any) -> None:
    on = {"tiny_fast": SIM, "tiny_wide": EASY}.get(side, TINY)
    of = f"{side}: {{}}"
    with pytest.raises(InputError) as error:
        resolve(f"{{metric: {metric}, {on}, of: {{{of}}}, over: baseline, below: 1.0}}", tmp_path, tiny_index)
    line = str(error.value)
    assert line.startswith(f"tiny.yaml: claims.one.checks[0].metric: {MISTAKES[metric, side]}")
    assert "\n" not in line and len(line) < 700


LADDER = "of: {tiny_wide: {hidden: [4, 8, 12]}}"
#: The rest of a check with an effect -> what the line says after `checks[0]`.
EFFECT_MISTAKES = {
    "effect: slop, of: baseline": ".effect: there is no effect 'slop'; did you mean 'slope'?",
    f"effect: slope, {LADDER}": ".args: slope needs x: `along: <knob or counted number>`, `x: [numbers]` or `at: [places of the metric]`",
    f"effect: slope, {LADDER}, args: {{xs: [1, 2]}}": ".args (slope): there is no argument 'xs'; did you mean 'x'?",
    f"effect: slope, {LADDER}, args: {{x: 3}}": ".args.x: is a list of two entries or more, not 3",
    f"effect: slope, {LADDER}, args: {{x: [1, many, 3]}}": ".args.x: [1, 'many', 3] are not all numbers",
    f"effect: slope, {LADDER}, args: {{x: [1, 2, 3], along: hidden}}": ".args: `along` says x already",
    f"effect: slope, {LADDER}, args: {{along: hiden}}": ".args.along: there is no metric 'hiden' for these cells; did you mean 'hidden'?",
    f"effect: slope, {LADDER}, args: {{along: hidden, scale: lin}}": ".args.scale: 'lin' is none of linear, log, loglog",
    f"effect: crossover, {LADDER}, minus: baseline, args: {{along: hidden, scale: loglog}}": ".args.scale: 'loglog' is none of linear, log",
    f"effect: reach, {LADDER}, args: {{along: hidden}}": ".args: reach needs a `target`: a number, or a side",
    f"effect: reach, {LADDER}, args: {{along: hidden, target: {{tiny_wid: {{}}}}}}": ".args.target: there is no method of this card 'tiny_wid'",
    f"effect: reach, {LADDER}, args: {{along: hidden, target: [baseline, baseline]}}": ".args.target: is a number or one cell",
    f"effect: reach, {LADDER}, args: {{along: hidden, target: 0.5, factor: much}}": ".args.factor: 'much' is no number",
    "effect: reach, of: {tiny_keeps: {}}, args: {at: [round=7, rond=9], target: 0.5}": ".metric: these cells have no accuracy@rond=9; accuracy is there at: level=..., round=...",
    "effect: cost_of_pass, of: {tiny_keeps: {}}, over: baseline": ".metric: there is no metric 'success' for these cells",
    "effect: equal_size, of: {tiny_keeps: {}}, over: {tiny_wide: {hidden: [4, 8]}}, args: {along: hidden}": ".args.along: there is no metric 'hidden'",
    "of: {tiny_keeps: {}}, args: {x: [1, 2]}": ".args: arguments are for an `effect`, and this check names none",
}


@pytest.mark.parametrize("rest", EFFECT_MISTAKES)
def test_an_effect_or_argument_that_is_not_there(rest: str, tmp_path: Path, tiny_index: Any) -> None:
    with pytest.raises(InputError) as error:
        resolve(f"{{metric: accuracy, {TINY}, {rest}, above: 0}}", tmp_path, tiny_index)
    line = str(error.value)
    assert line.startswith(f"tiny.yaml: claims.one.checks[0]{EFFECT_MISTAKES[rest]}"), line
    assert "\n" not in line


def test_times_are_ratios(tmp_path: Path, tiny_index: Any) -> None:
    for sides in ("of: {tiny_keeps: {}}", "of: {tiny_keeps: {}}, minus: baseline"):
        with pytest.raises(InputError, match="train_s is compared as a ratio within a round: say `over`"):
            resolve(f"{{metric: train_s, {TINY}, {sides}, below: 1.0}}", tmp_path, tiny_index)


@pytest.mark.parametrize(
    "rest",
    [
        f"effect: slope, {LADDER}, args: {{along: hidden, scale: loglog}}",
        f"effect: crossover, {LADDER}, minus: baseline, args: {{along: nonzero}}",
        f"effect: reach, {LADDER}, args: {{along: hidden, target: baseline, factor: 0.9}}",
        f"effect: at_best, {LADDER}, args: {{x: [1, 2, 3]}}",
        f"effect: equal_size, of: {{tiny_keeps: {{}}}}, over: {LADDER.removeprefix('of: ')}",
        "effect: reach, of: {tiny_keeps: {}}, args: {at: [round=1, round=2], target: 0.5}",
        "effect: share_of_draws, of: {tiny_keeps: {}}, minus: baseline",
        "effect: difference_of_differences, of: [{tiny_keeps: {}}, baseline], minus: {tiny_wide: {hidden: [4, 8]}}",
        "effect: cost_of_pass, of: {tiny_keeps: {}}, over: baseline, args: {success: accuracy}",
    ],
)
def test_every_effect_can_be_written(rest: str, tmp_path: Path, tiny_index: Any) -> None:
    found = resolve(f"{{metric: accuracy, {TINY}, {rest}, above: 0}}", tmp_path, tiny_index)
    assert found["effect"] in EFFECTS


def test_a_knob_with_several_values_is_a_list_of_cells(tmp_path: Path, tiny_index: Any) -> None:
    found = resolve(
        f"{{metric: accuracy, {TINY}, effect: slope, {LADDER}, args: {{along: hidden}}, above: 0}}",
        tmp_path,
        tiny_index,
    )
    assert isinstance(found["of"], list) and len(found["of"]) == 3


def test_a_target_becomes_a_number_or_an_arm(tmp_path: Path, tiny_index: Any) -> None:
    said = f"{{metric: accuracy, {TINY}, effect: reach, {LADDER}, args: {{along: hidden, target: TARGET}}, above: 0}}"
    assert resolve(said.replace("TARGET", "0.5"), tmp_path, tiny_index)["target"] == 0.5
    found = resolve(said.replace("TARGET", "baseline"), tmp_path, tiny_index)
    assert found["target"] == found["baseline"]


def test_cells_timed_beside_different_baselines_never_meet(tmp_path: Path, tiny_index: Any) -> None:
    more = "  - {task: {tiny: {}}, workloads: [batch1], baseline: {tiny_wide: {hidden: 5}}, methods: {tiny_half: {}}}\nclaims:"
    said = f"{{metric: latency_s@batch1, {TINY}, of: {{tiny_keeps: {{}}}}, over: {{tiny_half: {{}}}}, below: 1.0}}"
    with pytest.raises(InputError, match="no run of this card times them beside one baseline"):
        resolve(said, tmp_path, tiny_index, CARD.replace("claims:", more))


def test_a_file_that_raises_lets_its_checks_pass(tmp_path: Path, tiny_index: Any) -> None:
    methods = {name: entry for name, entry in tiny_index["methods"].items() if name != "tiny_keeps"}
    index = {**tiny_index, "methods": methods, "errors": {"tiny_keeps": {"reason": "x", "kind": "method"}}}
    said = f"{{metric: whatever, {TINY}, of: {{tiny_keeps: {{}}}}, over: baseline, below: 1.0}}"
    assert resolve(said, tmp_path, index)["metric"] == "whatever"


def test_the_metrics_that_an_effect_reads() -> None:
    assert metrics_of({"metric": "a@b=1"}) == ["a@b=1"]
    assert metrics_of({"metric": "a", "args": {"at": ["n@1", "n@2"]}}) == ["a@n@1", "a@n@2"]
    assert metrics_of({"metric": "price@level=3", "effect": "cost_of_pass"}) == [
        "price@level=3",
        "success@level=3",
    ]
    assert metrics_of({"metric": "energy_j@batch1", "effect": "cost_of_pass"}) == [
        "energy_j@batch1",
        "success",
    ]


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "papers").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_card_names_what_it_runs(path: Path, small: bool, index: Any) -> None:
    resolver = Resolver(index, small=small)
    resolve_checks(load_card(path, resolver), resolver)
