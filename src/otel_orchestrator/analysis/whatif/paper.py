"""The run once more on paper, with the service times that were measured.

A job's service time is what it did from its start to its end, without queue and barrier. The jobs
are placed on the slots as a semaphore would place them; everything that is no job (framework,
checkpoints, a reader) takes as long as it took. The same arithmetic on the unchanged run gives the
measured wall exactly, because what the placing does not explain is carried over.

An estimate is a band. `expected` places jobs in the order in which they are ready. `low` and `high`
are the least and most of: that, longest chain first, several runs with every service time up to
`SERVICE_SPREAD` shorter or longer, and what no order can beat; and `MARGIN` more on either side.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import add, mul, sub
from typing import Final
from zlib import crc32

from ..jobs import Job, Superstep, by_start
from ..outline import Outline
from ..phases import Phases
from .simulation import Plan, bound, makespan

_VARIANTS: Final = 8
_VARIANTS_OF_MANY: Final = 2
_MANY_JOBS: Final = 5_000
"""In so many, what is shorter and what is longer makes up for each other: two runs tell as much,
and none where so many are placed at once. Of the turns, some of every length stand for all."""
SERVICE_SPREAD: Final = 0.10
MARGIN: Final = 0.07
"""Of 20 pairs of equal runs of the reference orchestrator, 18 were within 5 % of each other, and
both the run that is predicted from and the one that comes true stray like that."""

Times = Sequence[int]
"""How long each of a paper's jobs would take, in their order."""


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
        numbers: of the paper's jobs.
        factors: of each other run that is tried, by how much each job is shorter or longer; none
            where there are so many that it makes up for each other.
        weight: how many times its length all batches are that it stands for; 1 of itself alone.
    """

    numbers: Sequence[int]
    plan: Plan
    factors: Sequence[Sequence[float]]
    weight: float = 1


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
    """The run on paper: turns of workers on slots, and what runs alone in sequence.

    Attributes:
        jobs: all of them; first those of the turns that are placed, and what runs alone.
        measured: how long each of them took from its start to its end.
        served, called: what each of the first ones did meanwhile, and what it called.
    """

    def __init__(self, outline: Outline, phases: Phases) -> None:
        self.outline = outline
        self.phases = phases
        self.alone = (*phases.opening, *phases.middle, *phases.closing)
        placed = _some_of_every_length(phases, outline.slots)
        first = [*(job for turn, _ in placed for job in turn.slot_jobs), *self.alone]
        among_them = {job.span_id for job in first}
        every = (job for turn in phases.turns for job in turn.slot_jobs)
        self.jobs = (*first, *(job for job in every if job.span_id not in among_them))
        self.served = [phases.service(job) for job in first]
        self.called = [phases.called(job) for job in first]
        self.measured: Times = [phases.service(job).whole_ns for job in self.jobs]
        self._numbers = {job.span_id: n for n, job in enumerate(self.jobs)}
        self._variants = _VARIANTS if len(phases.did) <= _MANY_JOBS else _VARIANTS_OF_MANY
        self._at_most: dict[tuple[str, ...], list[int]] = {}
        self._draws: dict[int, list[float]] = {}
        # A turn's jobs need each other only where a node dispatches them itself.
        self._turns = [
            replace(self.batch(t.slot_jobs, needs_of(t.slot_jobs)), weight=weight)
            for t, weight in placed
        ]
        self._alone = [self.batch(self.alone, [()] * len(self.alone))]
        self.measured_turns_ns = self.place(self._turns, self.measured, outline.slots).expected_ns
        self.measured_alone_ns = self.took(self.alone)
        self._rest_ns = outline.wall_ns - self.measured_turns_ns - self.measured_alone_ns

    def took(self, jobs: Iterable[Job]) -> int:
        """Return how long jobs took together, from their start to their end."""
        measured, numbers = self.measured, self._numbers
        return sum([measured[numbers[job.span_id]] for job in jobs])

    def less(self, saved_ns: Sequence[int], *categories: str) -> Times:
        """Return what jobs take if they save something: of these categories, no more than there
        was."""
        at_most = self._at_most.get(categories)
        if at_most is None:
            at_most = self._at_most[categories] = self.served_ns(*categories)
        return list(map(sub, self.measured, map(min, saved_ns, at_most)))

    def served_ns(self, *categories: str, state: str | None = None) -> list[int]:
        """Return what some categories took in each job."""
        return [did.ns(*categories, state=state) for did in self.served]

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
        numbers = [self._numbers[job.span_id] for job in jobs]
        factors: Sequence[Sequence[float]] = ()
        if len(numbers) <= _MANY_JOBS:
            factors = list(zip(*map(self._draws_of, numbers), strict=True))
        return Batch(numbers, Plan(needs, release_ns), factors)

    def _draws_of(self, number: int) -> list[float]:
        draws = self._draws.get(number)
        if draws is None:
            span_id = self.jobs[number].span.span_id
            draws = self._draws[number] = _draws(span_id, self._variants)
        return draws

    def place(self, batches: Sequence[Batch], times: Times, slots: int) -> Placed:
        """Place batches one after the other: in each order, in other runs, and at the very best."""
        expected: float = 0
        longest_first: float = 0
        least: float = 0
        varied: list[float] = [0] * self._variants
        for batch in batches:
            plan, took, weight = batch.plan, _of(batch, times), batch.weight
            if plan.is_free and len(took) <= slots:
                # All start at once: whatever the order, it lasts as long as the longest.
                as_expected = max(took, default=0)
                longest_first += weight * as_expected
                least += weight * as_expected
                others = [round(max(map(mul, took, f), default=0)) for f in batch.factors]
            else:
                as_expected = makespan(plan, took, slots)
                longest_first += weight * makespan(plan, took, slots, "longest_path")
                least += weight * bound(plan, took, slots)
                others = [
                    makespan(plan, list(map(round, map(mul, took, f))), slots)
                    for f in batch.factors
                ]
            expected += weight * as_expected
            others = others or [as_expected] * self._variants
            varied = [ns + weight * other for ns, other in zip(varied, others, strict=True)]
        return Placed(round(expected), tuple(map(round, (longest_first, least, *varied))))

    @cached_property
    def _as_it_was(self) -> Placed:
        return self._place_all(self.measured, self.outline.slots)

    def _place_all(self, times: Times, slots: int) -> Placed:
        return self.place(self._turns, times, slots).and_then(self.place(self._alone, times, 1))

    def estimate(
        self, name: str, title: str, times: Times, slots: int, assumptions: Sequence[str]
    ) -> Estimate:
        """Run the supersteps again with other service times, or another number of slots."""
        if (reason := self.why_not()) is not None:
            return unknown(name, title, reason)
        # Several bands reach to that.
        is_as_it_was = times is self.measured and slots == self.outline.slots
        placed = self._as_it_was if is_as_it_was else self._place_all(times, slots)
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
        margin = round(MARGIN * expected)
        band = Band(max(0, min(walls) - margin), max(0, expected), max(0, max(walls) + margin))
        whole = self.outline.wall_ns
        saves = 1 - band.expected_ns / whole if whole else 0.0
        return Estimate(name, title, band, saves, tuple(assumptions))


def _some_of_every_length(phases: Phases, slots: int) -> list[tuple[Superstep, float]]:
    """Return turns to be placed, each with how many times its length it stands for.

    turns by length   1 1 2 │ 2 3 5 │ 5 8 9        ▔  stands for the three
                        ▔       ▔       ▔
    """
    turns = phases.turns
    each = -(-sum(len(turn.slot_jobs) for turn in turns) // _MANY_JOBS)
    if each <= 1:
        return [(turn, 1) for turn in turns]
    lasted = [
        makespan(
            Plan(needs_of(t.slot_jobs)), [phases.service(j).whole_ns for j in t.slot_jobs], slots
        )
        for t in turns
    ]
    by_length = sorted(range(len(turns)), key=lasted.__getitem__)
    found: list[tuple[Superstep, float]] = []
    for at in range(0, len(turns), each):
        alike = by_length[at : at + each]
        middle = alike[len(alike) // 2]
        all_ns = sum(lasted[n] for n in alike)
        found.append((turns[middle], all_ns / lasted[middle] if lasted[middle] else len(alike)))
    return found


def _of(batch: Batch, times: Times) -> list[int]:
    return [times[n] for n in batch.numbers]


def unknown(name: str, title: str, reason: str) -> Estimate:
    """Return the estimate of what cannot be told."""
    return Estimate(name, title, None, None, (), reason)


def _draws(span_id: str, runs: int) -> list[float]:
    """Return by how much a job is shorter or longer in other runs: the same every time."""
    draws = (2 * crc32(f"{n} {span_id}".encode()) / 0xFFFFFFFF - 1 for n in range(runs))
    return [1 + SERVICE_SPREAD * draw for draw in draws]


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
