"""The application's task queue over time, put together from the points of its gauge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .. import semconv
from ..model import GaugePoint
from ..semconv import NOT_STARTED, Attr, Metric


@dataclass(frozen=True, slots=True)
class QueuePoint:
    """The task queue at one instant."""

    at_ns: int
    ready: int
    active: int
    waiting: int


def queue_points(points: Iterable[GaugePoint]) -> tuple[QueuePoint, ...]:
    """Return the queue at each instant at which it was measured, in order."""
    by_instant: dict[int, dict[str, int]] = {}
    for point in points:
        if point.name == Metric.QUEUE_DEPTH:
            state = str(point.attributes.get(Attr.TASK_STATE))
            by_instant.setdefault(point.at_ns, {})[state] = int(point.value)
    return tuple(
        QueuePoint(
            at_ns,
            ready=depth.get(semconv.READY, 0),
            active=depth.get(semconv.ACTIVE, 0),
            waiting=depth.get(semconv.WAITING, 0),
        )
        for at_ns, depth in sorted(by_instant.items())
    )


def longest_not_started_s(points: Sequence[GaugePoint], end_ns: int) -> float:
    """Return for how long a task was ready, or waited, at most.

    Each point says since when the first has been so; it goes on being so until the next point.
    """
    ages = {
        (point.at_ns, point.attributes.get(Attr.TASK_STATE)): point.value
        for point in points
        if point.name == Metric.QUEUE_OLDEST_AGE
    }
    queue = queue_points(points)
    until_ns = [*(point.at_ns for point in queue[1:]), end_ns]
    return max(
        (
            ages.get((here.at_ns, state), 0.0) + max(0, there_ns - here.at_ns) / 1e9
            for here, there_ns in zip(queue, until_ns, strict=False)
            for state in NOT_STARTED
            if getattr(here, state)
        ),
        default=0.0,
    )
