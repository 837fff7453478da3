# ruff: noqa: E501 - rows of a table
"""Effects read off curves, on rows whose answer is worked out by hand; readings of single curves beside them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.judging.effects import compute
from reports.judging.readings import best, crossing, first_passage, last_passage
from reports.judging.samples import Reading, interval
from reports.judging.table import Missing
from tests.reports.test_effects import cell, check, rounds, seeds, table

X = np.array([1.0, 2.0, 4.0, 8.0])

# -------------------------------------------------------------------- single curves


@pytest.mark.parametrize(
    ("gap", "rising", "value", "below", "above"),
    [
        ([-2, -1, 1, 3], True, 3.0, False, False),  # halfway between 2 and 4
        ([-2, 0, 1, 3], True, 2.0, False, False),  # met exactly at a point
        ([1, 2, 3, 4], True, 1.0, True, False),  # met before the first point
        ([-4, -3, -2, -1], True, 8.0, False, True),  # never met
        ([3, 1, -1, -2], False, 3.0, False, False),  # less is better
        ([-1, 1, -1, 1], True, 1.5, False, False),  # met twice: the first
        ([0, 0, 0, 0], True, 1.0, True, False),
    ],
)
def test_first_passage(gap: list[float], rising: bool, value: float, below: bool, above: bool) -> None:
    assert first_passage(X, np.array(gap, float), rising) == Reading(value, below, above)


@pytest.mark.parametrize(
    ("gap", "value", "below", "above"),
    [
        ([3, 1, -1, -2], 3.0, False, False),
        ([3, 1, 0, -2], 4.0, False, False),
        ([3, 2, 1, 1], 8.0, False, True),  # still met at the last point
        ([-1, -1, -1, -1], 1.0, True, False),  # met nowhere
        ([1, -1, 1, -1], 6.0, False, False),  # met twice: the last
    ],
)
def test_last_passage(gap: list[float], value: float, below: bool, above: bool) -> None:
    assert last_passage(X, np.array(gap, float), True) == Reading(value, below, above)


@pytest.mark.parametrize(
    ("gap", "at"),
    [
        ([3, 1, -1, -2], 3.0),
        ([-3, -1, 1, 2], 3.0),
        ([3, 0, -1, -2], 2.0),  # equal at a point, the other way round behind it
        ([3, 0, 0, -2], 2.0),
        ([3, 0, 1, 2], None),  # touches and turns back
        ([0, 0, 1, 2], None),  # equal at first: nothing is crossed
        ([0, 0, 0, 0], None),
        ([1, 2, 3, 4], None),
        ([1, -1, 1, -1], 1.5),  # three times: the first
        ([0, 1, -1, -1], 3.0),
    ],
)
def test_crossing(gap: list[float], at: float | None) -> None:
    assert crossing(X, np.array(gap, float)) == at


def test_best_is_the_vertex_of_a_parabola() -> None:
    x = np.array([0.0, 1.0, 3.0, 7.0])
    assert best(x, -((x - 2.2) ** 2)) == Reading(pytest.approx(2.2))
    assert best(x, np.array([0.0, 1.0, 1.0, 0.0])).value == pytest.approx(2.0, abs=0.35)
    assert best(x, np.array([3.0, 2.0, 1.0, 0.0])) == Reading(0.0, below=True)
    assert best(x, np.array([0.0, 1.0, 2.0, 3.0])) == Reading(7.0, above=True)
    assert best(x, np.zeros(4)) == Reading(0.0, below=True)  # all equal: the first, and that says nothing


@given(st.floats(0.5, 6.5), st.floats(0.1, 9.0))
def test_best_finds_any_inner_vertex(middle: float, height: float) -> None:
    x = np.array([0.0, 1.0, 3.0, 4.5, 7.0])
    found = best(x, 5.0 - height * (x - middle) ** 2)
    if not (found.below or found.above):
        assert found.value == pytest.approx(middle, abs=1e-6)


def test_a_difference_of_readings_is_open_on_the_sides_that_follow() -> None:
    low, high, sure = Reading(1.0, below=True), Reading(4.0, above=True), Reading(2.0)
    assert high.minus(sure) == Reading(2.0, above=True) and sure.minus(high) == Reading(-2.0, below=True)
    assert sure.minus(low) == Reading(1.0, above=True)
    assert high.minus(high) == Reading(0.0, below=True, above=True)


# -------------------------------------------------------------------- intervals of what has no value an item


def test_the_jackknife_is_the_plain_interval_where_the_number_is_a_mean() -> None:
    """Groups of one item: pseudo-values of a mean are the items themselves."""
    values = np.random.default_rng(0).normal(size=(4, 20))
    found, _ = interval(lambda means: Reading(float(means[0][0])), [[[row] for row in values]], "quality")
    from reports.judging.statistics import crossed

    plain = crossed(values)
    assert (found.effect, found.low, found.high, found.df) == pytest.approx(
        (plain.effect, plain.low, plain.high, plain.df)
    )


def test_the_interval_of_a_crossing_covers() -> None:
    """5 seeds x 400 items, a true crossing at 2.5: 93 to 97.5 % of the intervals hold it."""
    rng, x, hits = np.random.default_rng(1), np.array([1.0, 2.0, 3.0, 4.0]), 0
    true = 2.5 - x

    def read(means: Any) -> Reading | None:
        at = crossing(x, means[0])
        return None if at is None else Reading(at)

    for _ in range(400):
        items = 1.0 * rng.normal(size=(1, 4, 400))
        values = (
            true[None, :, None] + 0.05 * rng.normal(size=(5, 4, 1)) + items + rng.normal(size=(5, 4, 400))
        )
        found, _ = interval(read, [[list(seed) for seed in values]], "quality")
        hits += found.low <= 2.5 <= found.high
    assert 0.93 <= hits / 400 <= 0.98


def test_an_interval_is_open_where_a_replicate_was_censored() -> None:
    points = [[np.array([value])] for value in (1.0, 2.0, 3.0)]
    found, _ = interval(lambda m: Reading(float(m[0][0]), above=m[0][0] > 2.5), [points], "timed")
    low, _ = stats.t.interval(0.95, 2, loc=2.0, scale=stats.sem([1.0, 2.0, 3.0]))
    assert (found.effect, found.low, found.high) == (2.0, pytest.approx(low), math.inf)


# -------------------------------------------------------------------- crossover

#: arm -> accuracy of two seeds.
LEVELS = {"a": (0.9, 0.9), "b": (0.7, 0.6), "c": (0.4, 0.4), "base": (0.6, 0.6)}
ROWS = table(
    *[seeds(arm, *level) for arm, level in LEVELS.items()],
    *[
        cell(arm, seed, cost={"nonzero": size, "tokens": tokens})
        for seed in (0, 1)
        for arm, size, tokens in (("a", 100, 50), ("b", 200, 20), ("c", 400, 5), ("base", 250, 20))
    ],
)  # fmt: skip


def test_crossover_by_hand() -> None:
    """Seed 0: 0.9, 0.7, 0.4 pass 0.6 a third of the way from 2 to 3; seed 1: 0.9, 0.6, 0.4 at 2 itself."""
    found = compute(ROWS, check(effect="crossover", of=list("abc"), minus="base", args={"x": [1, 2, 3]}))
    assert found.interval.replicates == pytest.approx((2 + 1 / 3, 2.0))
    assert (found.scale, found.basis, found.band, found.note) == ("value", "counted", 0.0, "along x")
    assert found.interval.low < found.interval.effect < found.interval.high and not found.on_logs


def test_crossover_on_a_log_axis_of_counted_sizes() -> None:
    said = check(effect="crossover", of=list("cab"), minus="base", args={"along": "nonzero", "scale": "log"})
    found = compute(ROWS, said)  # whatever the order of the cells is
    assert found.interval.replicates == pytest.approx((200 * 2 ** (1 / 3), 200.0))
    assert found.on_logs and found.note == "along nonzero"
    assert found.interval.effect == pytest.approx(200 * 2 ** (1 / 6))  # the mean of logs


def test_two_ladders_cross() -> None:
    rows = table(*[seeds(arm, level) for arm, level in zip("abcd", (0.2, 0.8, 0.4, 0.6), strict=True)])
    found = compute(rows, check(effect="crossover", of=["a", "b"], minus=["c", "d"], args={"x": [0, 1]}))
    assert found.interval.effect == pytest.approx(0.5)  # -0.2 and 0.2


@pytest.mark.parametrize(
    ("of", "says"),
    [
        ("ab", r"no crossover in 1 of 2 replicates for x from 1 to 2"),
        ("ca", r"no crossover for x from 1 to 2: the curves are equal"),
    ],
)
def test_no_crossover_is_null_with_a_reason(of: str, says: str) -> None:
    levels = {"a": (0.9, 0.9), "b": (0.8, 0.5), "c": (0.9, 0.9), "base": (0.6, 0.6)}
    rows = table(*[seeds(arm, *level) for arm, level in levels.items()])
    other = "base" if of == "ab" else "a"
    with pytest.raises(Missing, match=says):
        compute(rows, check(effect="crossover", of=list(of), minus=other, args={"x": [1, 2]}))


def test_no_crossover_in_range_says_which_way_the_curves_lie() -> None:
    with pytest.raises(Missing, match=r"no crossover for x from 1 to 2: `of` stays above it$"):
        compute(ROWS, check(effect="crossover", of=["a", "b"], minus="c", args={"x": [1, 2]}))


def test_crossover_of_times_along_a_workload() -> None:
    """One cell at three places beside the baseline: log ratios 0.2, 0.1, -0.1 in every round, along log2 sizes."""
    rows = table(
        *[
            rounds(arm, [math.exp(gap) if arm == "a" else 1.0] * 5, metric=f"latency_s@decode@{size}")
            for size, gap in ((1024, 0.2), (2048, 0.1), (4096, -0.1))
            for arm in ("a", "base")
        ]
    )
    at = ["decode@1024", "decode@2048", "decode@4096"]
    said = check("latency_s", effect="crossover", of="a", over="base", args={"at": at, "scale": "log"})
    found = compute(rows, said)
    assert found.interval.effect == pytest.approx(2048 * 2**0.5)
    assert (found.basis, found.replicate, found.note) == ("measured", "rounds", "along decode")


def test_times_that_never_met_have_no_crossover() -> None:
    rows = table(
        rounds("a", [1.2] * 5, metric="latency_s@n@1"), rounds("a", [0.8] * 5, metric="latency_s@n@2", baseline="x"),
        rounds("base", [1.0] * 5, metric="latency_s@n@1"), rounds("base", [1.0] * 5, metric="latency_s@n@2"),
    )  # fmt: skip
    with pytest.raises(Missing, match="they were timed beside different baselines"):
        compute(
            rows, check("latency_s", effect="crossover", of="a", over="base", args={"at": ["n@1", "n@2"]})
        )


# -------------------------------------------------------------------- reach


def reach(**parts: Any) -> dict[str, Any]:
    args = {"x": [1, 2, 3], **parts.pop("args", {})}
    return check(effect="reach", of=parts.pop("of", list("cba")), args=args, **parts)


def test_reach_by_hand() -> None:
    """0.4, 0.7 | 0.6, 0.9 reach 0.65 at 1 + 0.25 / 0.3, and at 2 + 0.05 / 0.3."""
    found = compute(ROWS, reach(target=0.65))
    assert found.interval.replicates == pytest.approx((1 + 0.25 / 0.3, 2 + 0.05 / 0.3))
    assert found.scale == "value" and found.note == "along x"


def test_reach_of_a_cells_own_score_with_factor_and_margin() -> None:
    found = compute(ROWS, reach(target="base", args={"factor": 0.5, "margin": 0.25}))  # 0.55
    assert found.interval.replicates == pytest.approx((1.5, 1.75))


def test_what_is_not_reached_is_censored() -> None:
    found = compute(ROWS, reach(target=0.95))
    assert found.interval.replicates == (3.0, 3.0)
    assert (found.interval.low, found.interval.high) == (3.0, math.inf)
    assert found.note == "along x, 2 of 2 beyond the last point"
    early = compute(ROWS, reach(target=0.3))
    assert (early.interval.low, early.interval.effect, early.interval.high) == (-math.inf, 1.0, 1.0)
    assert early.note == "along x, 2 of 2 below the first point"


def test_one_censored_seed_opens_the_interval_and_keeps_its_other_end() -> None:
    levels = {"a": (0.1, 0.1, 0.1), "b": (0.5, 0.6, 0.3), "c": (0.8, 0.9, 0.4)}
    rows = table(*[seeds(arm, *level) for arm, level in levels.items()])
    found = compute(rows, reach(of=list("abc"), target=0.5))
    cut = (2.0, 1.8, 3.0)
    low, _ = stats.t.interval(0.95, 2, loc=np.mean(cut), scale=stats.sem(cut))
    assert found.interval.replicates == pytest.approx(cut) and found.note.endswith(
        "1 of 3 beyond the last point"
    )
    assert (found.interval.low, found.interval.high) == (pytest.approx(low), math.inf)


def test_a_diverged_seed_enters_with_chance() -> None:
    """Seed 1 of the largest cell diverged: it scores 0.1, so that seed's curve never reaches 0.8."""
    rows = table(seeds("a", 0.5, 0.5), seeds("b", 0.7, 0.7), seeds("c", 0.9), cell("c", 1, status="diverged"))
    found = compute(rows, reach(of=list("abc"), target=0.8))
    assert found.interval.replicates == pytest.approx((2.5, 3.0)) and found.interval.high == math.inf


def test_the_last_x_that_still_holds() -> None:
    """How far can one go: 0.9, 0.7 | 0.6, 0.4 stay above 0.65 until 2 + 0.05 / 0.3, and 1 + 0.25 / 0.3."""
    found = compute(ROWS, reach(of=list("abc"), target=0.65, args={"last": True}))
    assert found.interval.replicates == pytest.approx((2 + 0.05 / 0.3, 1 + 0.25 / 0.3))


def test_less_is_better_for_a_cost() -> None:
    said = check("tokens", effect="reach", of=list("abc"), args={"along": "nonzero"}, target=20.0)
    found = compute(ROWS, said)
    assert (found.interval.effect, found.interval.low, found.interval.high) == (200.0, 200.0, 200.0)


def test_a_ratio_of_two_reaches_is_on_logs() -> None:
    """Steps to 0.5: `a` at 2, `b` at 4 in both seeds, along places of one metric."""
    curves = {"a": (0.0, 0.5, 0.8), "b": (0.0, 0.25, 0.75)}
    rows = table(
        *[
            cell(
                arm,
                seed,
                {f"accuracy@round={r}": np.full(4, level) for r, level in zip((1, 2, 6), curve, strict=True)},
            )
            for seed in (0, 1)
            for arm, curve in curves.items()
        ]
    )
    args = {"at": ["round=1", "round=2", "round=6"]}
    found = compute(rows, check(effect="reach", of="a", over="b", args=args, target=0.5))
    assert found.scale == "ratio" and found.interval.effect == pytest.approx(0.5)
    assert found.note == "along round"
    both = compute(rows, check(effect="reach", of="a", over="b", args=args, target=0.9))
    assert (both.interval.low, both.interval.high) == (
        0.0,
        math.inf,
    )  # neither reached it: nothing can be said


def test_missing_seeds_are_left_out_of_a_reach() -> None:
    rows = table(seeds("a", 0.2, 0.2, 0.2), seeds("b", 0.4, 0.4, 0.4), seeds("c", 0.8, 0.6))
    assert compute(rows, reach(of=list("abc"), target=0.5)).interval.n == 2


def test_a_reach_of_times() -> None:
    """The smallest size at which the cell takes 0.9 of the baseline's time or less."""
    rows = table(
        *[
            rounds(arm, [ratio if arm == "a" else 1.0] * 4, metric=f"latency_s@n@{size}")
            for size, ratio in ((1, 1.0), (2, 0.81), (3, 0.5))
            for arm in ("a", "base")
        ]
    )
    said = check("latency_s", effect="reach", of="a", args={"at": ["n@1", "n@2", "n@3"]}, target=0.9)
    assert compute(rows, said).interval.effect == pytest.approx(1.5)  # log 0.9 is half of log 0.81


# -------------------------------------------------------------------- at_best, equal_size


def test_at_best_by_hand() -> None:
    """-(x - 2.25)^2 at 1, 2, 4; the vertex is found on each seed."""
    rows = table(
        *[
            seeds(arm, 0.5 - 0.01 * (x - 2.25) ** 2, 0.5 - 0.01 * (x - 2.5) ** 2)
            for arm, x in (("a", 1), ("b", 2), ("c", 4))
        ]
    )
    found = compute(rows, check(effect="at_best", of=list("abc"), args={"x": [1, 2, 4]}))
    assert found.interval.replicates == pytest.approx((2.25, 2.5), abs=1e-4) and found.scale == "value"


def test_at_best_follows_the_metrics_direction() -> None:
    rows = table(*[seeds(arm, level, metric="loss") for arm, level in (("a", 2.0), ("b", 1.0), ("c", 2.0))])
    found = compute(rows, check("loss", effect="at_best", of=list("abc"), args={"x": [1, 2, 3]}))
    assert found.interval.effect == pytest.approx(2.0)


def test_a_best_at_the_end_of_the_ladder_is_a_flag_and_no_number() -> None:
    said = check(effect="at_best", of=list("abc"), args={"x": [1, 2, 3]})
    with pytest.raises(Missing, match="the best is at an end of the ladder in all 2 replicates: widen it"):
        compute(ROWS, said)
    levels = {"a": (0.1, 0.1), "b": (0.5, 0.5), "c": (0.1, 0.9)}
    found = compute(table(*[seeds(arm, *level) for arm, level in levels.items()]), said)
    assert found.interval.high == math.inf and found.note.endswith("1 of 2 beyond the last point")
    with pytest.raises(Missing, match="needs three points"):
        compute(ROWS, check(effect="at_best", of=["a", "b"], args={"x": [1, 2]}))


LADDER = table(
    *[seeds(arm, *level) for arm, level in {"a": (0.7, 0.7), "b": (0.5, 0.5), "c": (0.6, 0.6), "d": (0.8, 0.8)}.items()],
    *[
        cell(arm, seed, cost={"nonzero": size})
        for seed in (0, 1)
        for arm, size in (("a", 50), ("b", 100), ("c", 200), ("d", 800))
    ],
)  # fmt: skip


def test_equal_size_by_hand() -> None:
    """0.7 lies half way from 0.6 (200) to 0.8 (800): 400 on logs; `a` has 50, an eighth."""
    found = compute(LADDER, check(effect="equal_size", of="a", over=list("bcd"), args={"along": "nonzero"}))
    assert (found.interval.effect, found.scale, found.note) == (
        pytest.approx(1 / 8),
        "ratio",
        "along nonzero",
    )
    assert found.interval.high - found.interval.low < 1e-6  # equal in both seeds and all items


@pytest.mark.parametrize(("of", "low", "effect", "high"), [("d", 0.0, 4.0, 4.0), ("b", 0.5, 0.5, math.inf)])
def test_better_or_worse_than_the_whole_ladder_is_censored(
    of: str, low: float, effect: float, high: float
) -> None:
    ladder = ["c", "a"] if of == "d" else ["c", "d"]  # sizes 200, 50 | 200, 800
    found = compute(LADDER, check(effect="equal_size", of=of, over=ladder))
    assert (found.interval.low, found.interval.effect, found.interval.high) == pytest.approx(
        (low, effect, high)
    )


# -------------------------------------------------------------------- slope, contrasts of costs


def test_an_exponent_of_a_count() -> None:
    """FLOPs that grow with the square of a size."""
    rows = table(cell("a", cost={f"flops@n@{n}": 3.0 * n**2 for n in (64, 128, 512)}))
    args = {"at": ["n@64", "n@128", "n@512"], "scale": "loglog"}
    found = compute(rows, check("flops", effect="slope", of="a", args=args))
    assert (found.interval.effect, found.interval.low, found.note) == (
        pytest.approx(2.0),
        pytest.approx(2.0),
        "along n",
    )


def test_a_difference_of_slopes() -> None:
    rows = table(*[seeds(arm, level) for arm, level in zip("abcd", (0.1, 0.3, 0.2, 0.3), strict=True)])
    said = check(effect="slope", of=["a", "b"], minus=["c", "d"], args={"x": [1, 2]})
    assert compute(rows, said).interval.effect == pytest.approx(0.1)


def test_places_with_other_items_have_a_slope_too() -> None:
    rows = table(
        *[
            cell("a", seed, {f"accuracy@level={n}": np.full(4 * n, 0.9 - 0.1 * n) for n in (1, 2, 3)})
            for seed in (0, 1)
        ]
    )
    args = {"at": [f"level={n}" for n in (1, 2, 3)]}
    assert compute(rows, check(effect="slope", of="a", args=args)).interval.effect == pytest.approx(-0.1)


def test_a_ratio_of_ratios_of_times() -> None:
    rows = table(*[rounds(arm, [ratio] * 4) for arm, ratio in zip("abcd", (0.4, 0.8, 0.9, 0.9), strict=True)])
    said = check("latency_s@batch1", effect="difference_of_differences", of=["a", "b"], over=["c", "d"])
    found = compute(rows, said)
    assert (found.interval.effect, found.scale, found.replicate) == (pytest.approx(0.5), "ratio", "rounds")


def test_a_ratio_of_ratios_of_counts() -> None:
    rows = table(*[cell(arm, cost={"tokens": n}) for arm, n in zip("abcd", (10, 20, 30, 30), strict=True)])
    said = check("tokens", effect="difference_of_differences", of=["a", "b"], over=["c", "d"])
    assert compute(rows, said).interval.effect == pytest.approx(0.5)
    said = check("tokens", effect="difference_of_differences", of=["a", "b"], minus=["c", "d"])
    assert compute(rows, said).interval.effect == pytest.approx(-10)


def test_ties_win_no_draw() -> None:
    rows = table(cell("a", 0, {"accuracy": [1, 1, 0, 0]}), cell("b", 0, {"accuracy": [1, 0, 0, 1]}))
    assert compute(rows, check(effect="share_of_draws", of="a", minus="b")).interval.effect == 0.25


def test_one_side_that_diverged_loses_draws_by_chance_level() -> None:
    rows = table(cell("a", 0, {"accuracy": [1, 0.2, 0, 0]}), cell("b", 0, status="diverged"))  # chance is 0.1
    assert compute(rows, check(effect="share_of_draws", of="a", minus="b")).interval.effect == 0.5


# -------------------------------------------------------------------- what x is


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"along": "nosuch"}, "a has no nosuch"),
        ({"at": ["n@1", "n@2"]}, "`at` is for one cell on a side, not 3"),
        ({"x": [0, 1, 2], "scale": "log"}, "x is not above zero everywhere"),
        ({}, "needs x: `along`, `x` or `at`"),
    ],
)
def test_an_x_that_is_not_there_says_why(args: dict[str, Any], says: str) -> None:
    with pytest.raises(Missing, match=says):
        compute(ROWS, check(effect="reach", of=list("abc"), args=args, target=0.5))


def test_a_knob_is_an_x_and_so_is_its_default() -> None:
    rows = table(seeds("a", 0.2), seeds("b", 0.6))
    rows.scope["methods"]["a"] = {"knobs": [{"name": "rank", "default": 4}]}
    rows.rows.loc[rows.rows["arm"] == "b", "knobs"] = '{"rank": 8}'
    found = compute(rows, check(effect="reach", of=["a", "b"], args={"along": "rank"}, target=0.4))
    assert found.interval.effect == pytest.approx(6.0)
    rows.scope["methods"]["a"] = {"knobs": [{"name": "rank", "default": "full"}]}
    with pytest.raises(Missing, match="rank of a is 'full', which is no number"):
        compute(rows, check(effect="reach", of=["a", "b"], args={"along": "rank"}, target=0.4))
