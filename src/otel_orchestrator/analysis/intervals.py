"""Arithmetic on half-open intervals of nanoseconds."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[int, int]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union as disjoint intervals in order.

    ├──┤   ├────┤
      ├──┤   ├┤         →   ├────┤ ├────┤
    """
    merged: list[Interval] = []
    for start, end in sorted(i for i in intervals if i[0] < i[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
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
