"""Which slot ran which job."""

from __future__ import annotations

from collections import deque
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
    """Give each job the lowest slot that is free when it starts.

    If more run than there are slots, those that started last get one when one is free: what they
    did until then is not counted, so that slots x wall stays the whole.
    """
    ends: list[tuple[int, int]] = []
    free: list[int] = []
    slots: list[list[Spell]] = []
    late: deque[Job] = deque()

    def place(job: Job, at_ns: int) -> None:
        if free:
            number = heappop(free)
        else:
            number = len(slots)
            slots.append([])
        slots[number].append(Spell(at_ns, job.ended_ns, job, semconv.WORKING, ""))
        heappush(ends, (job.ended_ns, number))

    def release(until_ns: int | None) -> None:
        while ends and (until_ns is None or ends[0][0] <= until_ns):
            at_ns, number = heappop(ends)
            heappush(free, number)
            while late:
                job = late.popleft()
                if job.ended_ns > at_ns:
                    place(job, at_ns)
                    break

    for job in outline.jobs:  # by their start
        start, end = job.busy
        if start >= end:
            continue
        release(start)
        if free or len(slots) < outline.slots:
            place(job, start)
        else:
            late.append(job)
    release(None)
    return slots
