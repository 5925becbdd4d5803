"""Arithmetic on half-open intervals of nanoseconds."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

Interval = tuple[int, int]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union as disjoint intervals in order.

    ├──┤   ├────┤
      ├──┤   ├┤         →   ├────┤ ├────┤
    """
    merged: list[Interval] = []
    until: float = -inf
    for interval in sorted(intervals):
        start, end = interval
        if start > until:
            if end > start:
                merged.append(interval)
                until = end
        elif end > until:
            merged[-1] = (merged[-1][0], end)
            until = end
    return merged


def length(intervals: Iterable[Interval]) -> int:
    """Return how long the union of intervals is."""
    return sum(end - start for start, end in union(intervals))


def without(whole: Interval, holes: Iterable[Interval]) -> list[Interval]:
    """Return what is left of `whole` outside of all holes."""
    at, end = whole
    left: list[Interval] = []
    for start, stop in sorted(holes):
        if at < stop and start < stop:
            if start > at:
                if start >= end:
                    break
                left.append((at, start))
            at = stop
    if at < end:
        left.append((at, end))
    return left
