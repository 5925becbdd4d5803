"""How far two small groups of runs are apart, and how sure that is: exact, without chance.

The effect is the Hodges-Lehmann estimate, the median of all differences of one value of each group.
Its interval inverts the Mann-Whitney test: the k-th smallest and the k-th largest difference, where
k is the largest for which fewer than k of the differences are at or below the true shift with no
more than the allowed probability. That probability is counted over all orders in which the values
could have come, so it holds for any distribution; values that are equal count against the effect.

    differences  ─┬──┬─┬───┬─┬──┬─┬┬──┬─┬──┬──┬─      5 against 5: 25 of them, k = 3
                     3rd        13th      23rd        96.8 % of such intervals hold the true shift

Hodges and Lehmann, "Estimates of location based on rank tests" (1963); Mann and Whitney, "On a test
of whether one of two random variables is stochastically larger than the other" (1947).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb, inf
from statistics import median


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much the values of one group are above those of another.

    Attributes:
        estimate: the median of the pairwise differences.
        low, high: the ends of its interval; infinite where there are too few values for any.
        error: the probability with which each end is on the wrong side of the true shift.
    """

    estimate: float
    low: float
    high: float
    error: float

    @property
    def confidence(self) -> float:
        """The share of such intervals that hold the true shift; 0 where there is none."""
        return 1 - 2 * self.error if self.low > -inf else 0.0

    @property
    def is_clear(self) -> bool:
        """Whether the interval is on one side of zero."""
        return self.low > 0 or self.high < 0

    @property
    def smallest_found(self) -> float:
        """The smallest shift that values which scatter like these would have shown to be above 0.

        Moving one group moves all differences alike, so it is how far the lower end lies below
        the estimate.
        """
        return self.estimate - self.low


def shift(base: Sequence[float], candidate: Sequence[float], error: float | Fraction) -> Shift:
    """Return by how much the candidate's values are above the base's.

    Args:
        base, candidate: at least one value each.
        error: the most that each end of the interval may be wrong with.
    """
    differences = sorted(c - b for b in base for c in candidate)
    estimate = median(differences)
    k = order_of(len(base), len(candidate), error)
    if k == 0:
        return Shift(estimate, -inf, inf, 0.5)
    chance = chance_below(len(base), len(candidate), k)
    return Shift(estimate, differences[k - 1], differences[-k], float(chance))


def order_of(n: int, m: int, error: float | Fraction) -> int:
    """Return the k of the interval of n against m values; 0 where they are too few for any."""
    counts = _orders(n, m)
    allowed = Fraction(error) * comb(n + m, n)
    k = total = 0
    for count in counts:
        total += count
        if total > allowed:
            break
        k += 1
    # Past the middle the two ends would change places.
    return min(k, (n * m + 1) // 2)


def chance_below(n: int, m: int, k: int) -> Fraction:
    """Return the probability that fewer than k of the n * m differences are at or below 0.

    Where nothing differs, all orders of the n + m values are equally likely.
    """
    return Fraction(sum(_orders(n, m)[:k]), comb(n + m, n))


def values_needed(error: float | Fraction) -> int:
    """Return how many values each group needs at least for an interval with such ends."""
    n = 1
    while Fraction(1, comb(2 * n, n)) > Fraction(error):
        n += 1
    return n


@lru_cache(maxsize=64)
def _orders(n: int, m: int) -> tuple[int, ...]:
    """Return in how many of all orders 0, 1, 2 … of the n * m differences are negative.

    They are the coefficients of the Gaussian binomial: the product over i from 1 to n of
    (1 - q^(m + i)) / (1 - q^i). Only the lower half is needed.
    """
    size = n * m // 2 + 1
    counts = [1] + [0] * (size - 1)
    for i in range(1, n + 1):
        for at in range(size - 1, m + i - 1, -1):
            counts[at] -= counts[at - m - i]
        for at in range(i, size):
            counts[at] += counts[at - i]
    return tuple(counts)
