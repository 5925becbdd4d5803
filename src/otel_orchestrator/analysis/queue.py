"""The application's task queue over time, put together from the points of its gauge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .. import semconv
from ..model import GaugePoint
from ..semconv import Attr, Metric


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
