# ruff: noqa: E501
"""Effects on rows whose answer is known; the rows come out of records as `collect` reads them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from benchmarks.checks import EFFECTS
from benchmarks.collect import as_table, rows_of
from benchmarks.records import pack
from reports.judging.effects import compute, library, with_note
from reports.judging.table import Missing, Table

ACCURACY = {
    "name": "accuracy",
    "unit": "share",
    "better": "higher",
    "chance": 0.1,
    "band": 0.005,
    "relative": False,
}
LOSS = {"name": "loss", "unit": "nats", "better": "lower", "chance": 4.0, "band": 0.02, "relative": True}
TASKS = {
    "images": {"metrics": [ACCURACY, LOSS], "basis": "counted"},
    "sim": {"metrics": [LOSS], "basis": "modelled"},
}


def cell(
    arm: str,
    seed: int = 0,
    quality: dict[str, Any] | None = None,
    valid: dict[str, float] | None = None,
    cost: dict[str, Any] | None = None,
    status: str = "ok",
    reason: str = "",
    task: str = "images",
    reasons: dict[str, str] | None = None,
    stages: dict[str, float] | None = None,
) -> list[dict[str, Any]]:
    """The rows of a cell's record."""
    scores = {
        name: {"mean": float(np.mean(items)), "n": len(items), "items": pack(np.asarray(items, float))}
        | ({"valid": valid[name]} if valid and name in valid else {})
        for name, items in (quality or {}).items()
    }
    key = {
        "task": task,
        "task_knobs": {},
        "method": arm,
        "knobs": {},
        "seed": seed,
        "arm": arm,
        "system": f"{arm}{seed}",
    }
    return list(
        rows_of(
            {
                "kind": "cell", "key": {**key, "record": f"r{arm}{seed}"}, "status": status, "reason": reason,
                "quality": scores, "cost": cost or {}, "cost_reasons": reasons or {}, "probes": {},
                "training": {"cpu_s": 1.0, "stage_cpu_s": stages or {}}, "env": {},
            }
        )
    )  # fmt: skip


def visit(
    arm: str, round: int, ratio: float | None, form: str = "dense", flags: Any = (), baseline: str = "base", seed: int = 0,
    metric: str = "latency_s@batch1",
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of a visit's record; `ratio` is to the baseline."""
    name, _, workload = metric.partition("@")
    log = None if ratio is None else math.log(ratio)
    entry = {
        "clock": "wall",
        "flags": list(flags),
        "samples": 10,
        name: ratio,
        "log_ratio": log,
        "train_log_ratio": log,
    }
    key = {
        "task": "images",
        "task_knobs": {},
        "method": arm,
        "knobs": {},
        "seed": seed,
        "arm": arm,
        "system": f"{arm}{seed}",
    }
    more = {
        "workload": workload or "train_step",
        "round": round,
        "baseline": baseline,
        "protocol": 1,
        "device": "cpu",
    }
    forms = {} if ratio is None else {form: entry}
    return list(
        rows_of(
            {
                "kind": "visit", "key": {**key, **more}, "forms": forms, "reason": "" if forms else "emulated",
                "flags": [], "env": {},
            }
        )
    )  # fmt: skip


def table(*rows: list[dict[str, Any]], cards: Any = ()) -> Table:
    methods = {name: {"knobs": []} for name in ("a", "b", "c", "d", "base")}
    scope = {"tasks": TASKS, "methods": methods, "cards": list(cards)}
    return Table(as_table([row for part in rows for row in part]), scope)


def check(metric: str = "accuracy", task: str = "images", **parts: Any) -> dict[str, Any]:
    return {
        "metric": metric,
        "task": task,
        "quality": metric.partition("@")[0] in ("accuracy", "loss"),
        **parts,
    }


def seeds(
    arm: str, *levels: float, metric: str = "accuracy", items: int = 4, **more: Any
) -> list[dict[str, Any]]:
    """One cell a seed, all items at the seed's level."""
    return [
        row
        for seed, level in enumerate(levels)
        for row in cell(arm, seed, {metric: np.full(items, level)}, **more)
    ]


# -------------------------------------------------------------------- quality


def test_a_difference_is_paired_by_seed_and_item() -> None:
    """Seeds and items may lie far apart; what is paired away leaves no width."""
    hard = np.array([0.0, 10.0, -5.0, 3.0])
    rows = [
        cell(arm, seed, {"accuracy": hard + 100 * seed + gain})
        for seed in range(3)
        for arm, gain in (("a", 0.25), ("b", 0.0))
    ]
    found = compute(table(*rows), check(of="a", minus="b"))
    assert (found.interval.effect, found.interval.low, found.interval.high) == pytest.approx(
        (0.25, 0.25, 0.25), abs=1e-4
    )
    assert (found.scale, found.basis, found.band, found.interval.n) == ("difference", "counted", 0.005, 3)


def test_only_common_seeds_are_compared() -> None:
    found = compute(table(seeds("a", 0.5, 0.6, 0.9), seeds("b", 0.4, 0.5)), check(of="a", minus="b"))
    assert found.interval.replicates == pytest.approx((0.1, 0.1))
    with pytest.raises(Missing, match="the sides have no seed in common"):
        compute(table(seeds("a", 0.5), cell("b", 7, {"accuracy": [1, 0, 1, 0]})), check(of="a", minus="b"))


def test_a_side_alone_is_a_value() -> None:
    found = compute(table(seeds("a", 0.5, 0.7)), check(of="a"))
    assert (found.scale, found.band) == ("value", 0.0) and found.interval.effect == pytest.approx(0.6)


def test_a_ratio_of_quality() -> None:
    rows = table(seeds("a", 3.0, 3.0, metric="loss"), seeds("b", 2.0, 2.0, metric="loss"))
    found = compute(rows, check("loss", of="a", over="b"))
    assert found.interval.effect == pytest.approx(1.5) and (found.scale, found.band) == ("ratio", 0.02)
    # a band in the metric's own unit becomes a share of the level beside it
    found = compute(table(seeds("a", 0.5, 0.5), seeds("b", 0.25, 0.25)), check(of="a", over="b"))
    assert found.band == pytest.approx(0.005 / 0.25)
    with pytest.raises(Missing, match="accuracy is zero on one side: there is no ratio"):
        compute(table(seeds("a", 0.5), seeds("b", 0.0)), check(of="a", over="b"))


def test_a_band_that_is_a_share_becomes_the_units_of_a_difference() -> None:
    rows = table(seeds("a", 3.0, metric="loss"), seeds("b", 2.0, metric="loss"))
    assert compute(rows, check("loss", of="a", minus="b")).band == pytest.approx(0.02 * 2.0)


def test_what_diverged_scores_chance() -> None:
    rows = table(seeds("a", 0.8, 0.8), cell("a", 2, status="diverged"), seeds("b", 0.5, 0.5, 0.5))
    found = compute(rows, check(of="a", minus="b"))
    assert found.interval.replicates == pytest.approx((0.3, 0.3, 0.1 - 0.5))
    # a method that always diverges is chance on every item of the others
    rows = table(cell("a", 0, status="diverged"), cell("a", 1, status="diverged"), seeds("b", 0.5, 0.5))
    assert compute(rows, check(of="a", minus="b")).interval.replicates == pytest.approx((-0.4, -0.4))


def test_what_failed_otherwise_is_left_out_and_never_chance() -> None:
    rows = table(seeds("a", 0.8), cell("a", 1, status="oom", reason="needs more"), seeds("b", 0.5, 0.5))
    assert compute(rows, check(of="a", minus="b")).interval.n == 1


def test_a_number_that_is_not_there_says_why() -> None:
    rows = table(
        cell("a", 0, status="skipped", reason="needs the package peer"),
        cell(
            "b",
            0,
            {"accuracy": [1, 0]},
            cost={"flops@batch1": None},
            reasons={"flops@batch1": "no formula for fft"},
        ),
        visit("b", 0, None),
    )
    for side, metric, says in (
        ("a", "accuracy", "skipped: needs the package peer"),
        ("b", "flops@batch1", "flops@batch1 is null: no formula for fft"),
        ("b", "latency_s@batch1", "latency_s@batch1 is null: emulated"),
        ("b", "loss", "b has no loss"),
        ("nosuch", "accuracy", "its cells have not been run in this scope"),
    ):
        with pytest.raises(Missing) as missing:
            compute(rows, check(metric, of=side, over="b"))
        assert str(missing.value) == says


# -------------------------------------------------------------------- best


def best(arms: str, by: str = "") -> dict[str, Any]:
    return {"best": list(arms), "by": by}


def test_best_is_picked_on_validation_and_judged_on_test() -> None:
    rows = [
        seeds("a", 0.9, 0.9, valid={"accuracy": 0.6}),  # better on test, which is not looked at
        seeds("b", 0.5, 0.5, valid={"accuracy": 0.7}),
        seeds("base", 0.4, 0.4),
    ]
    found = compute(table(*rows), check(of=best("ab"), minus="base"))
    assert found.interval.effect == pytest.approx(0.1)
    # whatever the test scores are, the same arm is picked
    rows[0] = seeds("a", 99.0, 99.0, valid={"accuracy": 0.6})
    assert compute(table(*rows), check(of=best("ab"), minus="base")).interval.effect == pytest.approx(0.1)


def test_best_follows_the_metrics_direction_and_by() -> None:
    def both(arm: str, accuracy: float, loss: float) -> list[dict[str, Any]]:
        return cell(
            arm,
            0,
            {"accuracy": [accuracy] * 4, "loss": [1.0] * 4},
            valid={"accuracy": accuracy, "loss": loss},
        )

    rows = table(both("a", 0.3, 1.0), both("b", 0.6, 2.0))
    assert compute(rows, check(of=best("ab"))).interval.effect == pytest.approx(0.6)
    assert compute(rows, check(of=best("ab", by="loss"))).interval.effect == pytest.approx(
        0.3
    )  # lower is better
    with pytest.raises(Missing, match="best: params is no quality metric of images"):
        compute(rows, check(of=best("ab", by="params")))
    with pytest.raises(Missing, match="best: no cell has validation scores"):
        compute(table(seeds("a", 0.5)), check(of=best("a")))


def test_best_counts_a_seed_that_diverged_with_chance() -> None:
    rows = table(
        seeds("a", 0.9, valid={"accuracy": 0.9}), cell("a", 1, status="diverged"), seeds("b", 0.7, 0.7, valid={"accuracy": 0.7})
    )  # fmt: skip
    assert compute(rows, check(of=best("ab"))).interval.effect == pytest.approx(0.7)


# -------------------------------------------------------------------- counted


def test_counted_numbers_have_no_width() -> None:
    rows = table(
        *[cell(arm, seed, cost={"nonzero": n}) for seed in range(3) for arm, n in (("a", 25), ("b", 100))]
    )
    found = compute(rows, check("nonzero", of="a", over="b"))
    assert (found.interval.effect, found.interval.low, found.interval.high) == (0.25, 0.25, 0.25)
    assert (found.scale, found.basis, found.band) == ("ratio", "counted", 0.0)
    assert compute(rows, check("nonzero", of="a", minus="b")).interval.effect == -75.0
    assert compute(rows, check("nonzero", of="a")).scale == "value"


def test_counts_that_depend_on_the_seed_have_an_interval() -> None:
    rows = table(
        *[
            cell(arm, seed, cost={"tokens": n + seed})
            for seed in range(3)
            for arm, n in (("a", 200), ("b", 100))
        ]
    )
    found = compute(rows, check("tokens", of="a", over="b"))
    assert found.interval.low < found.interval.effect < found.interval.high and found.interval.n == 3


def test_a_count_of_zero_has_no_ratio() -> None:
    rows = table(cell("a", cost={"tokens": 5}), cell("b", cost={"tokens": 0}))
    for sides in ({"of": "a", "over": "b"}, {"of": "b", "over": "a"}):
        with pytest.raises(Missing, match="tokens is zero: there is no ratio"):
            compute(rows, check("tokens", **sides))


def test_cpu_seconds_of_a_stage_are_measured() -> None:
    rows = table(
        *[cell(arm, seed, stages={"fit": s}) for seed in range(2) for arm, s in (("a", 3.0), ("b", 2.0))]
    )
    found = compute(rows, check("fit_cpu_s", of="a", over="b"))
    assert (found.basis, found.band) == ("measured", 0.02) and found.interval.effect == pytest.approx(1.5)


def test_a_simulators_counts_are_modelled() -> None:
    rows = table(cell("a", cost={"price": 2.0}, task="sim"), cell("b", cost={"price": 4.0}, task="sim"))
    assert compute(rows, check("price", task="sim", of="a", over="b")).basis == "modelled"


# -------------------------------------------------------------------- timed


def rounds(arm: str, ratios: list[float], **more: Any) -> list[dict[str, Any]]:
    return [row for number, ratio in enumerate(ratios) for row in visit(arm, number, ratio, **more)]


def test_times_are_geometric_means_over_rounds() -> None:
    rows = table(rounds("a", [0.5, 0.7, 0.6]), rounds("base", [1.0, 1.0, 1.0]))
    found = compute(rows, check("latency_s@batch1", of="a", over="base"))
    assert found.interval.effect == pytest.approx((0.5 * 0.7 * 0.6) ** (1 / 3)) and found.interval.n == 3
    assert (found.scale, found.basis, found.band, found.note) == ("ratio", "measured", 0.02, "dense form")


def test_rounds_are_paired() -> None:
    """Two cells beside one baseline: what the baseline did in a round falls out."""
    drift = [1.0, 2.0, 0.5, 1.3, 0.9]
    rows = table(rounds("a", [0.6 * d for d in drift]), rounds("b", [0.3 * d for d in drift]))
    found = compute(rows, check("latency_s@batch1", of="a", over="b"))
    assert (found.interval.effect, found.interval.low) == pytest.approx((2.0, 2.0))


def test_the_fastest_form_stands_for_the_cell() -> None:
    rows = table(rounds("a", [0.9] * 6), rounds("a", [0.4] * 6, form="csr"), rounds("base", [1.0] * 6))
    found = compute(rows, check("latency_s@batch1", of="a", over="base"))
    assert found.interval.effect == pytest.approx(0.4) and found.note == "csr form"


def test_the_copy_of_the_baseline_is_no_form() -> None:
    rows = table(rounds("base", [1.0] * 6), rounds("base", [0.01] * 6, form="aa"), rounds("a", [0.5] * 6))
    assert compute(rows, check("latency_s@batch1", of="a", over="base")).interval.effect == pytest.approx(0.5)


def test_flagged_visits_enter_only_where_clean_ones_are_too_few() -> None:
    clean, flagged = rounds("a", [0.5] * 5), rounds("a", [9.0] * 8, flags=["preempted"])[5:]
    base = rounds("base", [1.0] * 8)
    found = compute(table(clean, flagged, base), check("latency_s@batch1", of="a", over="base"))
    assert (
        found.interval.n == 5 and found.interval.effect == pytest.approx(0.5) and found.note == "dense form"
    )
    few = rounds("a", [0.5] * 4)
    found = compute(table(few, flagged, base), check("latency_s@batch1", of="a", over="base"))
    assert found.interval.n == 7 and found.note == "dense form, contended"


def test_seeds_are_the_replicates_where_what_was_learnt_moves_the_cost() -> None:
    rows = [rounds("a", [level] * 4, seed=seed) for seed, level in enumerate((0.5, 0.6, 0.7))]
    rows += [rounds("base", [1.0] * 4, seed=seed) for seed in range(3)]
    found = compute(table(*rows), check("latency_s@batch1", of="a", over="base"))
    assert found.interval.n == 3 and found.interval.replicates == pytest.approx((0.5, 0.6, 0.7))


def test_times_of_the_whole_training() -> None:
    rows = table(rounds("a", [2.0] * 5, metric="train_s"), rounds("base", [1.0] * 5, metric="train_s"))
    assert compute(rows, check("train_s", of="a", over="base")).interval.effect == pytest.approx(2.0)


def test_a_cell_that_two_cards_timed_beside_different_baselines_meets_each_in_its_own_rounds() -> None:
    rows = table(
        rounds("base", [1.0] * 3),
        rounds("a", [0.5] * 3),
        rounds("base", [4.0] * 5, baseline="another"),
        rounds("b", [8.0] * 5, baseline="another"),
    )
    halved = compute(rows, check("latency_s@batch1", of="a", over="base")).interval
    doubled = compute(rows, check("latency_s@batch1", of="b", over="base")).interval
    assert (halved.effect, halved.n) == (pytest.approx(0.5), 3)
    assert (doubled.effect, doubled.n) == (pytest.approx(2.0), 5)


def test_every_seed_may_have_a_baseline_of_its_own() -> None:
    rows = []
    for seed, level in enumerate((0.5, 0.6, 0.7)):
        rows += [rounds("a", [level] * 4, seed=seed, baseline=f"base{seed}")]
        rows += [rounds("base", [1.0] * 4, seed=seed, baseline=f"base{seed}")]
    found = compute(table(*rows), check("latency_s@batch1", of="a", over="base"))
    assert found.interval.n == 3 and found.interval.replicates == pytest.approx((0.5, 0.6, 0.7))


def test_times_that_cannot_be_compared() -> None:
    rows = table(rounds("a", [0.5] * 5), rounds("b", [1.0] * 5, baseline="another"))
    with pytest.raises(Missing, match="the two sides never met: they were timed beside different baselines"):
        compute(rows, check("latency_s@batch1", of="a", over="b"))
    with pytest.raises(Missing, match=r"times are compared as ratios \(`over:`\) within a round"):
        compute(rows, check("latency_s@batch1", of="a", minus="b"))
    apart = table(rounds("a", [0.5]), [row for row in rounds("b", [1.0, 1.0])[1:]])
    with pytest.raises(Missing, match="the two sides have no round in common"):
        compute(apart, check("latency_s@batch1", of="a", over="b"))


# -------------------------------------------------------------------- the library


def test_an_unknown_effect_lists_those_that_are_there() -> None:
    with pytest.raises(
        Missing, match="there is no effect 'slop'; there are .*difference_of_differences, .*slope"
    ):
        compute(table(), check(effect="slop", of="a"))


def test_share_of_draws() -> None:
    a, b = [1.0, 2.0, 3.0, 10.0], [2.0, 3.0, 4.0, 5.0]
    rows = table(cell("a", 0, {"loss": a}, task="sim"), cell("b", 0, {"loss": b}, task="sim"))
    found = compute(rows, check("loss", task="sim", effect="share_of_draws", of="a", over="b"))
    assert (found.interval.effect, found.scale, found.basis) == (0.75, "value", "modelled")  # lower is better
    found = compute(
        rows, check("loss", task="sim", effect="share_of_draws", of="a", over="b", args={"factor": 0.6})
    )
    assert found.interval.effect == 0.25  # only 1 < 0.6 * 2
    with pytest.raises(Missing, match="needs one cell, and one to beat"):
        compute(rows, check("loss", task="sim", effect="share_of_draws", of="a"))
    with pytest.raises(Missing, match="params is no quality metric"):
        compute(rows, check("params", task="sim", effect="share_of_draws", of="a", over="b"))


def test_difference_of_differences() -> None:
    rows = table(seeds("a", 0.9, 0.8), seeds("b", 0.5, 0.5), seeds("c", 0.6, 0.6), seeds("d", 0.5, 0.4))
    found = compute(rows, check(effect="difference_of_differences", of=["a", "b"], minus=["c", "d"]))
    assert found.interval.replicates == pytest.approx((0.4 - 0.1, 0.3 - 0.2)) and found.band == 0.005
    with pytest.raises(Missing, match="needs two cells on each side, not 3 in all"):
        compute(rows, check(effect="difference_of_differences", of=["a", "b"], minus=["c"]))


def test_slope_is_least_squares() -> None:
    xs, levels = [0.0, 1.0, 4.0], [(0.5, 0.6), (0.4, 0.45), (0.2, 0.1)]
    rows = table(*[seeds(arm, *level) for arm, level in zip("abc", levels, strict=True)])
    found = compute(rows, check(effect="slope", of=list("abc"), args={"x": xs}))
    by_hand = [np.polyfit(xs, [level[seed] for level in levels], 1)[0] for seed in (0, 1)]
    assert found.interval.replicates == pytest.approx(by_hand)
    assert (found.scale, found.band, found.basis) == ("difference", 0.0, "counted")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"x": [1, 2]}, "slope: 2 values of x for 3 cells"),
        (None, "slope: needs x: `along`, `x` or `at` among its args"),
        ({"x": [1, 1, 1]}, "two different values"),
    ],
)
def test_slope_needs_an_x_for_each_cell(args: Any, says: str) -> None:
    rows = table(*[seeds(arm, 0.5) for arm in "abc"])
    with pytest.raises(Missing, match=says):
        compute(rows, check(effect="slope", of=list("abc"), args=args))


@pytest.mark.parametrize("name", sorted(library()))
@pytest.mark.parametrize("of", ["a", ["a", "b"]], ids=["one cell", "a list"])
def test_missing_seeds_are_missing_and_no_crash(name: str, of: Any) -> None:
    """Whatever an effect needs: sides that share no seed leave the check untested, not the report unwritten."""
    rows = table(
        *[cell(arm, seed, {"accuracy": [1.0, 0.5]}, cost={"nonzero": 3}) for seed, arm in enumerate("abcd")]
    )
    for other in ({"minus": ["c", "d"]}, {"over": ["c", "d"]}, {"over": "c"}, {}):
        with pytest.raises(Missing):
            compute(rows, check(effect=name, of=of, args={"x": [1.0, 2.0]}, target=0.5, **other))


def test_the_planner_knows_every_effect_and_no_other() -> None:
    """Cards are checked against names that stand beside the planner, which never imports a report."""
    assert set(library()) == set(EFFECTS)
    assert all(function.__doc__ for function in library().values())


def test_notes_add_up() -> None:
    found = compute(table(seeds("a", 0.5)), check(of="a"))
    assert with_note(with_note(found, "one"), "two").note == "one, two"
