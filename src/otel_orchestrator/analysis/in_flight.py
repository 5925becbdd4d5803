"""How many spans of a kind ran at once, over time."""

from __future__ import annotations

from collections.abc import Iterable

from .intervals import Interval


def in_flight(intervals: Iterable[Interval]) -> list[tuple[int, int]]:
    """Return each instant at which the number changes, with the number from there on."""
    changes: dict[int, int] = {}
    for start, end in intervals:
        if start < end:
            changes[start] = changes.get(start, 0) + 1
            changes[end] = changes.get(end, 0) - 1
    count = 0
    steps: list[tuple[int, int]] = []
    for at, change in sorted(changes.items()):
        if change:
            count += change
            steps.append((at, count))
    return steps


def peak(intervals: Iterable[Interval]) -> int:
    """Return how many there were at once, at most: what ends makes room for what starts."""
    return max((number for _, number in in_flight(intervals)), default=0)
