"""The run once more on paper, with the service times that were measured.

A job's service time is what it did from its start to its end, without queue and barrier. The jobs
are placed on the slots as a semaphore would place them; everything that is no job (framework,
checkpoints, a reader) takes as long as it took. The same arithmetic on the unchanged run gives the
measured wall exactly, because what the placing does not explain is carried over.

An estimate is a band. `expected` places jobs in the order in which they are ready. `low` and `high`
are the least and most of: that, longest chain first, several runs with every service time up to
10 % shorter or longer, and what no order can beat; and 7 % more on either side.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import add, mul
from typing import Final
from zlib import crc32

from ..jobs import Job, by_start
from ..outline import Outline
from ..phases import Phases
from .simulation import Plan, bound, makespan

_VARIANTS: Final = 8
_SERVICE_SPREAD: Final = 0.10
_MARGIN: Final = 0.07
"""Of 20 pairs of equal runs of the reference orchestrator, 18 were within 5 % of each other, and
both the run that is predicted from and the one that comes true stray like that."""

Service = Callable[[Job], int]
"""How long a job would take."""


@dataclass(frozen=True, slots=True)
class Band:
    """The wall clock that a change would lead to."""

    low_ns: int
    expected_ns: int
    high_ns: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one change would lead to.

    Attributes:
        name: `continuous`, `no_barrier`, `workers_minus_1`, `workers_plus_1`, `workers_times_2`,
            `llm_twice_as_fast`, `llm_parallel`, `git_free`, `git_batched`, `prompts_cached`,
            `director_overlapped`.
        title: in words.
        band: the wall clock; None where that cannot be told.
        saves: share of the measured wall that the expected wall saves; below 0 if it costs.
        assumptions: under which it holds.
        reason: why it cannot be told.
    """

    name: str
    title: str
    band: Band | None
    saves: float | None
    assumptions: tuple[str, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that are placed together, and what they need of each other.

    Attributes:
        factors: of each other run that is tried, by how much each job is shorter or longer.
    """

    jobs: Sequence[Job]
    plan: Plan
    factors: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Placed:
    """How long jobs take on the slots: as expected, and what else may come to pass."""

    expected_ns: int
    others_ns: tuple[int, ...]

    def and_then(self, other: Placed) -> Placed:
        """Return how long these take with others after them."""
        return Placed(
            self.expected_ns + other.expected_ns,
            tuple(map(add, self.others_ns, other.others_ns)),
        )


class Paper:
    """The run on paper: turns of workers on slots, and what runs alone in sequence."""

    def __init__(self, outline: Outline, phases: Phases) -> None:
        self.outline = outline
        self.phases = phases
        self.alone = (*phases.opening, *phases.middle, *phases.closing)
        self._draws: dict[str, list[float]] = {}
        # A turn's jobs need each other only where a node dispatches them itself.
        self._turns = [self.batch(t.slot_jobs, needs_of(t.slot_jobs)) for t in phases.turns]
        self._alone = [self.batch(self.alone, [()] * len(self.alone))]
        self._known: dict[tuple[Service, int], Placed] = {}
        self.measured_turns_ns = self._in_turns(self.measured, outline.slots)
        self._rest_ns = outline.wall_ns - self.measured_turns_ns - self.measured_alone_ns

    def measured(self, job: Job) -> int:
        """Return how long a job took from its start to its end."""
        return self.phases.service(job).whole_ns

    @property
    def measured_alone_ns(self) -> int:
        """How long all that runs alone took."""
        return sum(map(self.measured, self.alone))

    def why_not(self) -> str | None:
        """Return why nothing can be estimated, if so."""
        if not self.phases.turns:
            return "no superstep with workers was recorded"
        return None

    def batch(
        self,
        jobs: Sequence[Job],
        needs: Sequence[Sequence[int]],
        release_ns: Sequence[int] | None = None,
    ) -> Batch:
        """Return jobs to be placed, with the same other runs for them every time."""
        draws = [self._draws_of(job.span.span_id) for job in jobs]
        factors = [[draw[n] for draw in draws] for n in range(_VARIANTS)]
        return Batch(jobs, Plan(needs, release_ns), factors)

    def _draws_of(self, span_id: str) -> list[float]:
        draws = self._draws.get(span_id)
        if draws is None:
            draws = self._draws[span_id] = _draws(span_id)
        return draws

    def place(self, batches: Sequence[Batch], service: Service, slots: int) -> Placed:
        """Place batches one after the other: in each order, in other runs, and at the very best."""
        expected = longest_first = least = 0
        varied = [0] * _VARIANTS
        for batch in batches:
            plan, times = batch.plan, [service(job) for job in batch.jobs]
            if plan.is_free and len(times) <= slots:
                # All start at once: whatever the order, it lasts as long as the longest.
                longest = max(times, default=0)
                expected, longest_first, least = (
                    ns + longest for ns in (expected, longest_first, least)
                )
                for n, factors in enumerate(batch.factors):
                    varied[n] += round(max(map(mul, times, factors), default=0))
                continue
            expected += makespan(plan, times, slots)
            longest_first += makespan(plan, times, slots, "longest_path")
            least += bound(plan, times, slots)
            for n, factors in enumerate(batch.factors):
                varied[n] += makespan(plan, list(map(round, map(mul, times, factors))), slots)
        return Placed(expected, (longest_first, least, *varied))

    def _in_turns(self, service: Service, slots: int) -> int:
        return sum(makespan(b.plan, [service(j) for j in b.jobs], slots) for b in self._turns)

    def estimate(
        self, name: str, title: str, service: Service, slots: int, assumptions: Sequence[str]
    ) -> Estimate:
        """Run the supersteps again with other service times, or another number of slots."""
        if (reason := self.why_not()) is not None:
            return unknown(name, title, reason)
        placed = self._known.get((service, slots))
        if placed is None:
            turns = self.place(self._turns, service, slots)
            placed = turns.and_then(self.place(self._alone, service, 1))
            self._known[service, slots] = placed
        others = [self._rest_ns + ns for ns in placed.others_ns]
        return self.told(name, title, self._rest_ns + placed.expected_ns, others, assumptions)

    def told(
        self,
        name: str,
        title: str,
        expected: int,
        others: Iterable[int],
        assumptions: Sequence[str],
    ) -> Estimate:
        """Make an estimate out of walls that may come to pass."""
        walls = (expected, *others)
        margin = round(_MARGIN * expected)
        band = Band(max(0, min(walls) - margin), max(0, expected), max(0, max(walls) + margin))
        whole = self.outline.wall_ns
        saves = 1 - band.expected_ns / whole if whole else 0.0
        return Estimate(name, title, band, saves, tuple(assumptions))


def unknown(name: str, title: str, reason: str) -> Estimate:
    """Return the estimate of what cannot be told."""
    return Estimate(name, title, None, None, (), reason)


def _draws(span_id: str) -> list[float]:
    """Return by how much a job is shorter or longer in other runs: the same every time."""
    draws = (2 * crc32(f"{n} {span_id}".encode()) / 0xFFFFFFFF - 1 for n in range(_VARIANTS))
    return [1 + _SERVICE_SPREAD * draw for draw in draws]


def needs_of(jobs: Sequence[Job]) -> list[tuple[int, ...]]:
    """Return for each job which of the others did what it depends on: O(n log n) in dependencies.

    Of several jobs for one task it is the last that had ended when the job started. Of jobs without
    length at one instant only those that come before it, so that no two need each other.
    """
    by_task: dict[str, list[tuple[int, int]]] = {}
    for n, job in enumerate(jobs):
        if job.task_id is not None:
            by_task.setdefault(job.task_id, []).append((job.ended_ns, n))
    for ends in by_task.values():
        ends.sort()

    def last(task_id: str, before_ns: int) -> int:
        ends = by_task.get(task_id, ())
        at = bisect_left(ends, (before_ns + 1,))
        return ends[at - 1][1] if at else -1

    def needed(job: Job) -> set[int]:
        found = {last(d, job.started_ns) for d in job.depends_on or ()} - {-1}
        return {m for m in found if by_start(jobs[m]) < by_start(job)}

    return [tuple(sorted(needed(job))) for job in jobs]
