"""The queue of application tasks at one instant, and the observable gauges that tell of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from opentelemetry.metrics import CallbackOptions, Observation

from .. import metrics
from ..semconv import NOT_STARTED, TASK_STATES, Attr, Metric


@dataclass(frozen=True, slots=True)
class QueueChange:
    """The queue of one run at one instant.

    Attributes:
        run_id: the run, or None for tasks observed outside of every run.
        at_ns: wall clock.
        ready, active, waiting: how many tasks.
        oldest_ready_s, oldest_waiting_s: for how long the one that came first has been so.
    """

    run_id: str | None
    at_ns: int
    ready: int
    active: int
    waiting: int
    oldest_ready_s: float
    oldest_waiting_s: float


Read = Callable[[bool], list[QueueChange]]
"""Gives the queues, and if it gets True also those that were closed a moment ago."""

# The SDK keeps the attributes of every point of an observable gauge for good, and takes 2 000 sets
# of them: three for each run.
_TOLD_APART_AT_MOST: Final = 600

_told_apart: Final[set[str]] = set()
_made_for: Final[dict[int, object]] = {}


def make(read: Read) -> None:
    """Register the gauges once for each meter provider."""
    # Under no lock: the collector may bring this thread here again, and the callbacks come while
    # the SDK holds locks of its own. Of all who come, one finds what it has put there itself.
    mine = object()
    if _made_for.setdefault(metrics.generation(), mine) is not mine:
        return
    _told_apart.clear()
    meter = metrics.meter()
    meter.create_observable_gauge(
        Metric.QUEUE_DEPTH,
        [partial(_depths, read)],
        unit="{task}",
        description="Tasks of the application by state: waiting, ready or active.",
    )
    meter.create_observable_gauge(
        Metric.QUEUE_OLDEST_AGE,
        [partial(_ages, read)],
        unit="s",
        description="For how long the first of the tasks that are ready, or waiting, has been so.",
    )


def _depths(read: Read, _: CallbackOptions) -> Iterable[Observation]:
    for run, queues in _by_run(read(True)).items():
        for state in TASK_STATES:
            depth = sum(getattr(queue, state) for queue in queues)
            yield Observation(depth, {Attr.TASK_STATE: state, **_run_attribute(run)})


def _ages(read: Read, _: CallbackOptions) -> Iterable[Observation]:
    for run, queues in _by_run(read(False)).items():
        for state in NOT_STARTED:
            age_s = max(getattr(queue, f"oldest_{state}_s") for queue in queues)
            yield Observation(age_s, {Attr.TASK_STATE: state, **_run_attribute(run)})


def _by_run(queues: Iterable[QueueChange]) -> dict[str | None, list[QueueChange]]:
    """Return the queues by the run that is told of; of a process's later runs, all in one."""
    groups: dict[str | None, list[QueueChange]] = {}
    for queue in queues:
        run = queue.run_id
        if run is not None and run not in _told_apart:
            if len(_told_apart) >= _TOLD_APART_AT_MOST:
                run = None
            else:
                _told_apart.add(run)
        groups.setdefault(run, []).append(queue)
    return groups


def _run_attribute(run_id: str | None) -> dict[str, str]:
    return {} if run_id is None else {Attr.RUN_ID: run_id}
