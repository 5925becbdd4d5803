"""Barriers: which straggler held which superstep, and whom.

worker b  ├──────────────────────────────┤ straggler
worker a  ├────┤░░░░░░░ barrier ░░░░░░░░░░   its result waits
task c         ├░░░░░░░░░ held ░░░░░░░░░░░   needs only a: it could have started here
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from ..jobs import Job, Superstep
from ..outline import Outline


@dataclass(frozen=True, slots=True)
class Held:
    """A job that a barrier kept from starting, and for how long."""

    job: Job
    ns: int


@dataclass(frozen=True, slots=True)
class Barrier:
    """The barrier of one superstep.

    Attributes:
        superstep: which.
        straggler: the job that ended last, and so was waited for; None in one without jobs.
        result_wait_ns: what the other jobs' results waited for it, together.
        held: jobs of later supersteps whose dependencies were done before it, longest first.
        held_ns: what they waited for it, together.
    """

    superstep: Superstep
    straggler: Job | None
    result_wait_ns: int
    held: tuple[Held, ...]
    held_ns: int


def barriers_of(outline: Outline) -> tuple[Barrier, ...]:
    """Return the barrier of every superstep, in order."""
    starts = [s.start_ns for s in outline.supersteps]
    held: list[list[Held]] = [[] for _ in starts]
    for job in outline.jobs:
        # Its last dependency was done in that superstep; the next may start at the very barrier.
        at = bisect_right(starts, job.deps_done_ns) - 1
        if job.held_ns and at >= 0:
            held[at].append(Held(job, job.held_ns))
    return tuple(
        _barrier(superstep, found)
        for superstep, found in zip(outline.supersteps, held, strict=True)
    )


def _barrier(superstep: Superstep, held: list[Held]) -> Barrier:
    straggler = superstep.straggler
    # What never started has no result that could wait.
    waits = [max(0, straggler.ended_ns - j.ended_ns) for j in superstep.jobs] if straggler else []
    longest = sorted(held, key=lambda h: (-h.ns, h.job.span_id))
    return Barrier(superstep, straggler, sum(waits), tuple(longest), sum(h.ns for h in held))
