"""Numbers as text: digits, units, signs, and names that fit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.notation import (
    Words,
    absolute,
    compact,
    fixed,
    shorten,
    signed,
    significant,
    slug,
    words,
)

ACCURACY = {"name": "accuracy", "unit": "share", "better": "higher", "band": 0.005}


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(-0.04, 1, "0.0"), (-0.06, 1, "−0.1"), (1234.5, 0, "1,234"), (math.inf, 2, "∞"), (-math.inf, 2, "−∞")],
)
def test_fixed(value: float, digits: int, text: str) -> None:
    assert fixed(value, digits) == text


def test_signed_says_plus_but_not_for_zero() -> None:
    assert (signed(1.25, 1), signed(-1.25, 1), signed(0.0, 1)) == ("+1.2", "−1.2", "0.0")


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("stored_bytes", 1066440, "1.07 MB"),
        ("stored_bytes", 999, "999 B"),
        ("latency_s@batch64", 392e-6, "392 µs"),
        ("latency_s@batch1", 0.0214, "21.4 ms"),
        ("fit_cpu_s", 2.94, "2.94 s"),
        ("flops@batch64", 34073600, "34.1 M"),
        ("nonzero", 26661, "26,661"),
        ("price", 0.0, "0"),
    ],
)
def test_absolute_numbers_carry_their_unit(metric: str, value: float, text: str) -> None:
    assert absolute(metric, value) == text


def test_shares_become_points_and_per_cent() -> None:
    assert (
        words("difference", "accuracy", ACCURACY).effect(-0.0256, -0.0306, -0.0206)
        == "−2.6 points [−3.1, −2.1]"
    )
    assert words("value", "accuracy", ACCURACY).effect(0.8621, 0.8551, 0.8691) == "86.2% [85.5, 86.9]"


def test_a_ratio_and_an_exact_number() -> None:
    assert Words("ratio", "").effect(0.535, 0.5288, 0.5411) == "0.535× [0.529, 0.541]"
    assert Words("ratio", "").effect(0.1, 0.1, 0.1) == "0.100×"


def test_no_interval_is_said() -> None:
    assert Words("ratio", "").effect(0.528, 0.0, math.inf) == "0.528× [no interval]"
    assert "no interval" in Words("difference", "nats").effect(0.1, -math.inf, math.inf)


def test_rounding_lays_no_end_on_the_threshold_or_on_no_effect() -> None:
    say = Words("ratio", "")
    assert say.effect(0.98909, 0.97961, 0.99858, line=0.98) == "0.9891× [0.9796, 0.9986]"
    assert words("difference", "accuracy", ACCURACY).effect(-0.0061, -0.0119, -0.0003).endswith("−0.03]")


@given(st.floats(-1, 1), st.floats(1e-4, 0.5), st.floats(-1, 1))
def test_text_never_moves_an_end_across_the_threshold(middle: float, half: float, line: float) -> None:
    """What is read from the page gives the same verdict as the numbers."""
    low, high = middle - half, middle + half
    if min(abs(low - line), abs(high - line)) < 1e-5:
        return
    shown = Words("difference", "nats").effect(middle, low, high, line=line)
    ends = [float(part) for part in shown.partition("[")[2][:-1].replace("−", "-").replace(",", " ").split()]
    for end, told in zip((low, high), ends, strict=True):
        assert (told > round(line, 6)) == (end > line) or abs(told - line) < 1e-6


def test_one_point_is_no_points() -> None:
    say = words("difference", "accuracy", ACCURACY)
    assert (say.one(0.01), say.one(-0.01), say.one(0.005)) == ("1 point", "−1 point", "0.5 points")


@given(st.text(max_size=300), st.integers(2, 80))
def test_short_names_fit(text: str, length: int) -> None:
    assert len(shorten(text, length)) <= length
    assert len(compact(text, length)) <= length


def test_compact_drops_cells_within_cells_first() -> None:
    label = "dense(like=gradual(sparsity=0.9), match=params)"
    assert compact(label, 40) == "dense(like=gradual…, match=params)"


@given(st.text())
def test_slugs_are_harmless(text: str) -> None:
    assert all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in slug(text))


@given(st.floats(1e-8, 1e15))
def test_significant_is_near(value: float) -> None:
    text = significant(value, 3).replace(",", "").replace("−", "-")
    number, _, step = text.partition(" ")
    scale = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[step]
    assert float(number) * scale == pytest.approx(value, rel=6e-3)
