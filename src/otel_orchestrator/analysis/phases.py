"""A run as the cycle sees it: an opening, turns of workers, and what runs alone between and after.

director │ workers │ strategist  director │ workers │ strategist  director
opening    turn 1          middle           turn 2          closing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .accounting.exclusive import did
from .calls import CallsFound, JobCalls, calls_found
from .did import Did
from .jobs import Job, Superstep
from .outline import Outline
from .tally import Breakdown


@dataclass(frozen=True, slots=True)
class Phases:
    """The supersteps of a run by what they are for.

    Attributes:
        turns: the supersteps in which workers ran.
        opening: jobs before the first of them: the plan is made.
        middle: jobs between them, none of which is a worker.
        closing: jobs after the last of them.
        did: what each job did, by the id of its span.
    """

    turns: tuple[Superstep, ...]
    opening: tuple[Job, ...]
    middle: tuple[Job, ...]
    closing: tuple[Job, ...]
    did: Mapping[str, Did]

    @property
    def workers(self) -> tuple[Job, ...]:
        """All workers, by turn and start."""
        return tuple(j for t in self.turns for j in t.slot_jobs if j.is_worker)

    def calls_of(self, workers: Sequence[Job]) -> CallsFound:
        """Return what workers called, and what the jobs did that are none."""
        others = (*self.opening, *self.cycle)
        return calls_found(
            [(job, self.called(job)) for job in workers],
            [(job, self.called(job)) for job in others],
        )

    @property
    def cycle(self) -> tuple[Job, ...]:
        """The jobs that come around between workers: middle and closing."""
        return self.middle + self.closing

    def service(self, job: Job) -> Breakdown:
        """Return what a job did from its start to its end."""
        return self.did[job.span_id].served

    def called(self, job: Job) -> JobCalls:
        """Return what a job called."""
        return self.did[job.span_id].calls

    def any_did(self, category: str, state: str | None = None) -> bool:
        """Whether any job did something of a category while it had a slot."""
        return any(did.served.ns(category, state=state) for did in self.did.values())

    def total(self, jobs: Sequence[Job], *categories: str) -> int:
        """Return what some categories took in some jobs; without categories, all of it."""
        services = [self.service(j) for j in jobs]
        if not categories:
            return sum(s.whole_ns for s in services)
        return sum(s.ns(*categories) for s in services)


def phases_of(outline: Outline) -> Phases:
    """Sort the supersteps of a run."""
    at = [n for n, s in enumerate(outline.supersteps) if s.is_of_workers]
    first, last = (at[0], at[-1]) if at else (len(outline.supersteps), len(outline.supersteps))
    alone: list[list[Job]] = [[], [], []]
    for n, superstep in enumerate(outline.supersteps):
        if not superstep.is_of_workers:
            alone[(n > first) + (n > last)].extend(superstep.jobs)
    jobs = outline.jobs_by_id()
    return Phases(
        turns=tuple(outline.supersteps[n] for n in at),
        opening=tuple(alone[0]),
        middle=tuple(alone[1]),
        closing=tuple(alone[2]),
        did={span_id: did(outline, job) for span_id, job in jobs.items()},
    )
