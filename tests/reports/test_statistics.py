# ruff: noqa: E501
"""Intervals: what they promise is held against simulations and against scipy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.judging.statistics import (
    Interval,
    benjamini_hochberg,
    crossed,
    exact,
    log_ratio_of_means,
    p_value,
    student,
    sum_of,
)

TIMES = 2000


def coverage(interval_of: object, truth: float, seed: int) -> float:
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(TIMES):
        found = interval_of(rng)  # type: ignore[operator]
        hits += found.low <= truth <= found.high
    return hits / TIMES


# -------------------------------------------------------------------- seeds and items


@pytest.mark.parametrize(
    ("over_seeds", "over_items", "rest"),
    [(0.007, 0.0, 0.1), (0.0005, 0.4, 0.3), (0.007, 0.3, 0.3)],
    ids=["seeds rule", "items rule", "both"],
)
def test_crossed_covers(over_seeds: float, over_items: float, rest: float) -> None:
    """5 seeds and 2,000 items: 93 to 97 % of the 95 % intervals hold the truth for other seeds and other items."""

    def draw(rng: np.random.Generator) -> Interval:
        seeds, items = over_seeds * rng.normal(size=(5, 1)), over_items * rng.normal(size=(1, 2000))
        return crossed(0.01 + seeds + items + rest * rng.normal(size=(5, 2000)))

    found = coverage(draw, 0.01, seed=3)
    assert 0.93 <= found <= 0.97, f"coverage {found:.4f}"


def test_crossed_covers_paired_answers() -> None:
    """Right and wrong answers of two methods on the same items: differences of -1, 0 and 1."""

    def draw(rng: np.random.Generator) -> Interval:
        skill = rng.normal(1.0, 1.5, size=(1, 2000))  # hard and easy items
        level = 0.05 * rng.normal(size=(5, 1))
        first = rng.random((5, 2000)) < 1 / (1 + np.exp(-(skill + level)))
        second = rng.random((5, 2000)) < 1 / (1 + np.exp(-(skill + 0.05 * rng.normal(size=(5, 1)))))
        return crossed(first.astype(float) - second)

    found = coverage(draw, 0.0, seed=4)
    assert 0.93 <= found <= 0.985, f"coverage {found:.4f}"


def test_crossed_is_never_narrower_than_either_source() -> None:
    """Noise alone: the interval may be too wide, never too narrow."""
    found = coverage(lambda rng: crossed(0.3 * rng.normal(size=(5, 500))), 0.0, seed=5)
    assert found >= 0.94, f"coverage {found:.4f}"


def test_crossed_by_hand() -> None:
    found = crossed(np.array([[1.0, 3.0, 2.0], [2.0, 6.0, 4.0]]))
    by_seed, by_item = np.array([2.0, 4.0]), np.array([1.5, 4.5, 3.0])
    rest = np.array([[1, 3, 2], [2, 6, 4]]) - by_seed[:, None] - by_item[None, :] + 3.0
    over_seeds, over_items = by_seed.var(ddof=1) / 2, by_item.var(ddof=1) / 3
    variance = over_seeds + over_items - (rest**2).sum() / 2 / 6
    df = variance**2 / (over_seeds**2 / 1 + over_items**2 / 2)
    half = stats.t.ppf(0.975, df) * math.sqrt(variance)
    assert (found.effect, found.low, found.high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))
    assert found.n == 2 and found.replicates == (2.0, 4.0) and found.df == pytest.approx(df)


def test_one_seed_speaks_of_items_only() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    found, plain = crossed(values), student(values)
    assert (found.effect, found.low, found.high) == pytest.approx((plain.effect, plain.low, plain.high))
    assert found.n == 1


def test_one_item_speaks_of_seeds_only() -> None:
    values = np.array([[0.1], [0.3], [0.2]])
    found, plain = crossed(values), student(values[:, 0])
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))


def test_equal_numbers_have_no_width() -> None:
    found = crossed(np.full((3, 4), 0.25))
    assert (found.low, found.high, found.df) == (0.25, 0.25, math.inf)
    single = crossed(np.array([[0.7]]))
    assert (single.effect, single.n) == (0.7, 1)


# -------------------------------------------------------------------- rounds


def test_student_is_scipys() -> None:
    values = [1.0, 1.5, 0.5, 2.0]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    found = student(values)
    assert (found.effect, found.low, found.high) == pytest.approx((1.25, low, high))
    assert (found.n, found.df, found.replicates) == (4, 3, tuple(values))


def test_a_single_replicate_has_no_interval() -> None:
    found = student([3.0])
    assert (found.effect, found.low, found.high, found.df, found.n) == (3.0, -math.inf, math.inf, 0.0, 1)
    assert found.exp().high == math.inf and found.exp().low == 0.0


def _half_widths(means_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and half-widths of many t intervals at once, [draws, rounds] -> [draws]."""
    rounds = means_of.shape[1]
    return means_of.mean(1), stats.t.ppf(0.975, rounds - 1) * means_of.std(1, ddof=1) / math.sqrt(rounds)


def test_the_fast_interval_of_these_tests_is_students() -> None:
    values = np.random.default_rng(0).normal(size=(1, 5))
    mean, half = _half_widths(values)
    found = student(values[0])
    assert (found.low, found.high) == pytest.approx((float(mean[0] - half[0]), float(mean[0] + half[0])))


@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_cost_of_five_rounds_covers(tails: str) -> None:
    """40,000 simulated ratios, processes with a spread of 1 %: 95 % +- 2 of the intervals hold the true ratio."""
    rng = np.random.default_rng(11)
    noise = rng.normal(size=(40_000, 5)) if tails == "normal" else rng.standard_t(5, size=(40_000, 5))
    mean, half = _half_widths(math.log(0.6) + 0.01 * noise)
    found = float((np.abs(mean - math.log(0.6)) <= half).mean())
    assert 0.93 <= found <= 0.97, f"coverage {found:.4f}"


@pytest.mark.parametrize("drift", [0.0, 0.01, 0.03])
def test_a_copy_of_the_baseline_differs_in_five_per_cent_of_runs_and_beyond_the_band_hardly_ever(
    drift: float,
) -> None:
    """A/A in rounds: what drifts between rounds falls out of the pair; with the band of 2 % below 1 % are false."""
    rng = np.random.default_rng(12)
    shared = drift * rng.normal(size=(20_000, 5))
    one, other = (shared + 0.007 * rng.normal(size=(20_000, 5)) for _ in range(2))
    mean, half = _half_widths(one - other)
    assert 0.03 <= float((np.abs(mean) > half).mean()) <= 0.06
    beyond = (mean + half < math.log(0.98)) | (mean - half > math.log(1.02))
    assert float(beyond.mean()) < 0.01


def test_a_product_of_both_kinds_covers() -> None:
    """Energy of a right answer: a cost over 5 rounds times successes over 5 seeds and 400 items, on logs."""
    rng, hits, times = np.random.default_rng(13), 0, 1000
    for _ in range(times):
        cost = student(math.log(2.0) + 0.02 * rng.normal(size=5))
        right = crossed(0.3 + 0.01 * rng.normal(size=(5, 1)) + 0.3 * rng.normal(size=(5, 400)))
        made = sum_of(cost, right)
        hits += made.low <= math.log(2.0) + 0.3 <= made.high
    assert 0.93 <= hits / times <= 0.98


@pytest.mark.parametrize("rounds", [3, 5, 8])
def test_student_covers(rounds: int) -> None:
    found = coverage(lambda rng: student(0.5 + rng.normal(size=rounds)), 0.5, seed=rounds)
    assert 0.93 <= found <= 0.97


def test_exact_numbers() -> None:
    found = exact([5.0, 5.0, 5.0])
    assert (found.effect, found.low, found.high, found.n, found.df) == (5.0, 5.0, 5.0, 3, math.inf)
    assert exact([5.0]).low == 5.0  # one counted number is certain
    assert exact([5.0, 6.0]) == student([5.0, 6.0])  # counted, but it depends on the seed


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12))
def test_intervals_hold_their_effect(values: list[float]) -> None:
    for found in (student(values), crossed(np.array(values)[:, None]), exact(values)):
        assert found.low <= found.effect <= found.high
        assert min(values) - 1e-9 <= found.effect <= max(values) + 1e-9


def test_exp_goes_from_logs_to_ratios() -> None:
    found = student([0.1, 0.2, 0.3]).exp()
    assert found.effect == pytest.approx(math.exp(0.2)) and found.low < found.effect < found.high
    assert found.replicates == pytest.approx((math.exp(0.1), math.exp(0.2), math.exp(0.3)))


# -------------------------------------------------------------------- ratios of means


def test_log_ratio_covers_and_is_not_biased() -> None:
    """The delta method against a simulation: cost an item of two methods, both uncertain."""
    estimates: list[float] = []

    def draw(rng: np.random.Generator) -> Interval:
        shared = rng.gamma(4.0, 0.25, size=(1, 300))
        above, below = (
            level * shared * rng.gamma(9.0, 1 / 9, size=(5, 300)) * np.exp(0.03 * rng.normal(size=(5, 1)))
            for level in (1.5, 1.0)
        )
        found = log_ratio_of_means(above, below)
        estimates.append(found.effect)
        return found

    found = coverage(draw, math.log(1.5), seed=6)
    assert 0.93 <= found <= 0.97, f"coverage {found:.4f}"
    assert np.mean(estimates) == pytest.approx(math.log(1.5), abs=0.002)


def test_log_ratio_effect_is_the_mean_over_seeds() -> None:
    above, below = np.array([[2.0, 4.0], [6.0, 2.0]]), np.array([[1.0, 1.0], [1.0, 3.0]])
    found = log_ratio_of_means(above, below)
    assert found.effect == pytest.approx((math.log(3.0) + math.log(2.0)) / 2)
    same = log_ratio_of_means(3.0 * below, below)
    assert (same.low, same.high) == pytest.approx((math.log(3.0), math.log(3.0)))


# -------------------------------------------------------------------- many tests at once


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([0.05, 0.1, 0.2]))
def test_benjamini_hochberg_is_scipys(values: list[float], rate: float) -> None:
    adjusted = stats.false_discovery_control(values)
    ours = benjamini_hochberg(values, rate)
    for mine, theirs in zip(ours, adjusted, strict=True):
        if not math.isclose(theirs, rate, rel_tol=1e-9):
            assert mine == (theirs <= rate)


def test_benjamini_hochberg_by_hand() -> None:
    assert benjamini_hochberg([0.01, 0.9, 0.04, 0.065, 0.2], rate=0.10) == [True, False, True, False, False]
    # the largest rank that passes takes the smaller ones along, though they miss their own line
    assert benjamini_hochberg([0.06, 0.06, 0.06], rate=0.10) == [True] * 3
    assert benjamini_hochberg([], 0.1) == []


@pytest.mark.parametrize(("above", "expected"), [(True, "greater"), (False, "less")])
def test_p_value_is_the_one_sided_t_test(above: bool, expected: str) -> None:
    values = [0.3, 0.5, 0.1, 0.45]
    assert p_value(student(values), 0.2, above) == pytest.approx(
        stats.ttest_1samp(values, 0.2, alternative=expected).pvalue
    )
    ratio = p_value(student(values).exp(), math.exp(0.2), above, log=True)
    assert ratio == pytest.approx(stats.ttest_1samp(values, 0.2, alternative=expected).pvalue)


def test_p_value_where_there_is_no_spread_or_no_interval() -> None:
    assert p_value(exact([0.3]), 0.2, above=True) == 0.0 and p_value(exact([0.3]), 0.2, above=False) == 1.0
    assert p_value(exact([0.2]), 0.2, above=True) == 1.0
    assert p_value(student([0.3]), 0.2, above=True) == 1.0


def test_p_value_agrees_with_the_interval() -> None:
    """Half of 5 % one-sided: an interval that touches the line has p = 0.025."""
    found = student([0.1, 0.4, 0.2, 0.3])
    assert p_value(found, found.low, above=True) == pytest.approx(0.025)
    assert p_value(found, found.high, above=False) == pytest.approx(0.025)


def test_p_values_of_what_was_censored() -> None:
    """Open on the far side: the near side tells. All replicates cut off at one number: the sign test."""
    plain = student([1.0, 2.0, 3.0, 2.5])
    cut = replace(plain, high=math.inf)
    assert p_value(cut, 0.5, above=True) == pytest.approx(p_value(plain, 0.5, above=True))
    assert p_value(cut, 9.0, above=False) == 1.0
    beyond = Interval(3.0, 3.0, math.inf, 5, math.inf, (3.0,) * 5)
    assert p_value(beyond, 2.0, above=True) == 0.5**5 and p_value(beyond, 4.0, above=True) == 1.0


def test_logs_and_back() -> None:
    found = student([0.5, 1.0, 2.0])
    again = found.exp().log()
    assert (again.effect, again.low, again.high) == pytest.approx((found.effect, found.low, found.high))
    assert Interval(1.0, 0.0, math.inf, 1, 0.0).log().low == -math.inf
