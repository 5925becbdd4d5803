"""The statistics, held against brute force: every order in which the values could have come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from math import comb, exp, inf, log
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_orchestrator.analysis.comparing.statistics import (
    chance_below,
    order_of,
    shift,
    values_needed,
)

THIRD = Fraction(1, 60)
"""What each of three metrics may err with, so that all together err in 5 %."""

values = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=6)


def orders(n: int, m: int) -> Iterator[tuple[list[int], list[int]]]:
    """Yield every way in which n + m different values can fall into two groups."""
    for chosen in combinations(range(n + m), n):
        yield list(chosen), [i for i in range(n + m) if i not in chosen]


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("m", range(1, 7))
def test_the_probability_is_that_counted_over_all_orders(n: int, m: int) -> None:
    below = [sum(c - b <= 0 for b in base for c in cand) for base, cand in orders(n, m)]
    for k in range(1, n * m // 2 + 1):
        counted = Fraction(sum(number < k for number in below), comb(n + m, n))
        assert chance_below(n, m, k) == counted


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("m", range(1, 7))
@pytest.mark.parametrize("error", [THIRD, Fraction(1, 40), Fraction(1, 80), Fraction(1, 4)])
def test_k_is_the_largest_that_errs_no_more_often_than_allowed(
    n: int, m: int, error: Fraction
) -> None:
    k = order_of(n, m, error)
    assert k == 0 or chance_below(n, m, k) <= error
    assert chance_below(n, m, k + 1) > error or k == (n * m + 1) // 2


def test_five_against_five_takes_the_third_and_the_twenty_third_difference() -> None:
    base, candidate = [1.0, 2.0, 4.0, 8.0, 16.0], [3.0, 9.0, 27.0, 81.0, 243.0]
    apart = shift(base, candidate, THIRD)
    differences = sorted(c - b for b in base for c in candidate)
    assert (apart.low, apart.high) == (differences[2], differences[22])
    assert apart.estimate == differences[12]
    assert round(apart.confidence, 3) == 0.968
    assert apart.error == pytest.approx(4 / 252)


@pytest.mark.parametrize(
    ("runs", "family", "k"),
    [(3, 3, 0), (4, 3, 1), (4, 4, 0), (5, 3, 3), (5, 4, 2), (5, 7, 1), (6, 3, 5), (10, 3, 22)],
)
def test_more_metrics_or_fewer_runs_make_the_interval_wider(runs: int, family: int, k: int) -> None:
    assert order_of(runs, runs, Fraction(1, 20) / family) == k


def test_how_many_runs_a_family_needs() -> None:
    needed = [values_needed(Fraction(1, 20) / family) for family in (1, 3, 4, 12, 13)]
    assert needed == [3, 4, 5, 5, 6]


def test_too_few_values_have_no_interval() -> None:
    apart = shift([1.0], [2.0], THIRD)
    assert (apart.estimate, apart.low, apart.high) == (1.0, -inf, inf)
    assert apart.confidence == 0.0
    assert not apart.is_clear


@given(values, values)
def test_the_estimate_is_the_median_of_the_differences(a: list[float], b: list[float]) -> None:
    assert shift(a, b, THIRD).estimate == median(y - x for x in a for y in b)


@given(values, values, st.integers(-100, 100))
def test_moving_one_group_moves_everything_alike(a: list[float], b: list[float], by: int) -> None:
    before, after = shift(a, b, THIRD), shift(a, [y + by for y in b], THIRD)
    assert after.estimate == before.estimate + by
    assert (after.low, after.high) == (before.low + by, before.high + by)


@given(values, values)
def test_changing_places_changes_signs(a: list[float], b: list[float]) -> None:
    one, other = shift(a, b, THIRD), shift(b, a, THIRD)
    assert (one.estimate, one.low, one.high) == (-other.estimate, -other.high, -other.low)


@given(values, values)
def test_the_interval_holds_the_estimate(a: list[float], b: list[float]) -> None:
    apart = shift(a, b, Fraction(1, 4))
    assert apart.low <= apart.estimate <= apart.high


def wrongly_above(pool: Sequence[float], n: int) -> Fraction:
    """How often the interval lies above 0, over all ways to split one pool in two."""
    splits = list(orders(n, len(pool) - n))
    wrong = sum(
        shift([pool[i] for i in base], [pool[i] for i in cand], THIRD).low > 0
        for base, cand in splits
    )
    return Fraction(wrong, len(splits))


@pytest.mark.parametrize(
    "pool",
    [
        [float(i) for i in range(10)],
        [exp(i) for i in range(10)],
        [1.0] * 5 + [2.0] * 5,
        [1.0] * 9 + [50.0],
        [0.0] * 10,
    ],
    ids=["even", "skewed", "two values", "an outlier", "all equal"],
)
def test_whatever_the_values_a_split_of_one_pool_is_wrong_no_more_often(pool: list[float]) -> None:
    assert wrongly_above(pool, 5) <= THIRD


def test_equal_values_count_against_the_effect() -> None:
    """Nothing of the candidate is below the base, but six of 25 differences are none."""
    apart = shift([1.0, 2.0, 3.0, 3.0, 3.0], [3.0, 3.0, 4.0, 5.0, 6.0], THIRD)
    assert apart.low == 0.0
    assert not apart.is_clear


def test_the_smallest_effect_that_would_have_been_found() -> None:
    """Moved by a little less than that, the same values show nothing; by a little more, they do."""
    base = [log(v) for v in (100, 104, 109, 98, 107)]
    candidate = [log(v) for v in (103, 99, 108, 106, 101)]
    apart = shift(base, candidate, THIRD)
    centred = [v - apart.estimate for v in candidate]
    smallest = apart.smallest_found
    assert smallest > 0
    for by, is_found in ((smallest * 0.999, False), (smallest * 1.001, True)):
        moved = shift(base, [v + by for v in centred], THIRD)
        assert (moved.low > 0) is is_found
        assert moved.estimate == pytest.approx(by)
