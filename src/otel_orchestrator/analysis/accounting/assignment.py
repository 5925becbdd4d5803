"""Which slot ran which job."""

from __future__ import annotations

from heapq import heappop, heappush

from msgspec import Struct

from ... import semconv
from ..jobs import Job
from ..outline import Outline


class Spell(Struct, frozen=True, gc=False):
    """A stretch of a slot: a job, or idle.

    Attributes:
        start_ns, end_ns: the stretch.
        job: what it was busy with; None while idle.
        state, category: why it was idle (`waiting` held, …, `working` framework, `idle` no_work);
            while busy, `working` and an empty category: the slot's breakdown says more.
    """

    start_ns: int
    end_ns: int
    job: Job | None
    state: str
    category: str


def assign(outline: Outline) -> list[list[Spell]]:
    """Give each job the lowest slot that is free when it starts."""
    ends: list[tuple[int, int]] = []
    free: list[int] = []
    slots: list[list[Spell]] = []
    for job in outline.jobs:  # by their start
        start, end = job.busy
        if start >= end:
            continue
        while ends and ends[0][0] <= start:
            heappush(free, heappop(ends)[1])
        if not free:
            free.append(len(slots))
            slots.append([])
        number = heappop(free)
        slots[number].append(Spell(start, end, job, semconv.WORKING, ""))
        heappush(ends, (end, number))
    return slots
