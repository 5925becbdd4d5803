"""Sums in what one process tells another: of what anybody recorded, so they may be of any size."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

Sum = Decimal
"""A whole number: an `int` has no place in a message of MessagePack if it has more than 64 bits."""


def sum_of(numbers: Iterable[int]) -> Sum:
    """Add numbers up."""
    return Sum(sum(numbers))


def total(sums: Iterable[Sum]) -> int:
    """Add sums up, exactly."""
    return sum(map(int, sums))
