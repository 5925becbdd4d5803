"""Where the time of a run went: four views, each of which adds up to its whole, exactly.

Each answers another question. *task*: what did a task do between being scheduled and the barrier?
*slots*: what did the workers that were paid for do? *wall*: what did whoever started the run wait
for? *lifecycle*: what happened to a task of the application from plan to result?
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from ... import semconv
from ..clip import Ran
from ..critical_path import critical_path
from ..jobs import Job
from ..outline import Outline
from ..tally import Breakdown, Tally, breakdown_of, together
from .barriers import Barrier, barriers_of
from .exclusive import did, exclusive, take_short_waits
from .slots import SlotView, slot_view

EXPLANATIONS: Final[Mapping[str, str]] = {
    "task": (
        "Per task, from the moment LangGraph schedules it to the end of its superstep's last node"
        " (the barrier). In every instant the deepest running spans count, each of k with 1/k; a"
        " wait counts only while nothing of the task works. HTTP below an LLM call counts as llm; a"
        " node counts as compute where nothing runs below it. Waits too short for a span are taken"
        " out of the span that they were measured on."
    ),
    "slots": (
        "Slots (the concurrency limit, else the most nodes that ran at once) times the run's wall"
        " clock. A slot is busy from the start of a job's first attempt to the end of its last,"
        " back-off included, and shows what the job did. An idle slot has one reason, counted off"
        " in this order, one slot for each task: scheduled but not started (queue, consumer);"
        " dependencies done but the superstep's barrier not reached (held); released but not yet"
        " scheduled (cycle). Slots still idle: dependency, if any task has open dependencies;"
        " barrier, an upper bound, if dependencies are not known and a finished job waits for a"
        " slower sibling; cycle, while a Director or Strategist runs, or an agent between those"
        " that it hands work to; checkpoint, consumer or framework between jobs; dependency, if"
        " what still runs had to wait for others; else no_work."
    ),
    "wall": (
        "The run from start to end along the straggler of each superstep, the job that ended last:"
        " what shortening something would buy. Time of a superstep or between supersteps in which"
        " no job and no wait ran is framework. A run without supersteps is followed along its"
        " critical path."
    ),
    "lifecycle": (
        "Per task of the application, from planned to the start of the next turn of the cycle after"
        " its barrier, or the run's end: dependency, held and cycle before it was scheduled, then"
        " as in the view task, then cycle again until the Director looks at it."
    ),
}
"""How each view is made, by its name."""

_DEPENDENCY: Final = (semconv.WAITING, semconv.DEPENDENCY)
_HELD: Final = (semconv.WAITING, semconv.HELD)
_CYCLE: Final = (semconv.WAITING, semconv.CYCLE)


class JobTime(Struct, frozen=True, gc=False):
    """One job's part of a view.

    Attributes:
        job: which.
        start_ns, end_ns: the interval that is broken down.
        breakdown: adds up to that interval.
    """

    job: Job
    start_ns: int
    end_ns: int
    breakdown: Breakdown


@dataclass(frozen=True, slots=True)
class JobsView:
    """A view that is made of jobs: each of them, and all together."""

    total: Breakdown
    jobs: tuple[JobTime, ...]


@dataclass(frozen=True, slots=True)
class Accounting:
    """The time of a run in four views; each adds up to its whole, in nanoseconds.

    Attributes:
        barriers: of its supersteps: whom each of them held.
    """

    outline: Outline
    barriers: tuple[Barrier, ...]
    task: JobsView
    slots: SlotView
    wall: Breakdown
    lifecycle: JobsView


def account(outline: Outline) -> Accounting:
    """Account for the time of a run."""
    task = task_view(outline)
    return Accounting(
        outline=outline,
        barriers=barriers_of(outline),
        task=task,
        slots=slot_view(outline),
        wall=wall_view(outline),
        lifecycle=lifecycle_view(outline, task),
    )


def task_view(outline: Outline) -> JobsView:
    """Break every job down from scheduled to its barrier."""
    return _jobs_view(_task_time(outline, job) for job in outline.jobs)


def lifecycle_view(outline: Outline, task: JobsView) -> JobsView:
    """Break every task of the application down from planned to observed."""
    of_tasks = (time for time in task.jobs if time.job.task_id is not None)
    return _jobs_view(_lifecycle(outline, time) for time in of_tasks)


def wall_view(outline: Outline) -> Breakdown:
    """Break the run down along the straggler of each superstep."""
    if outline.on_wall is not None:
        return outline.on_wall
    if not outline.supersteps:
        return _along_critical_path(outline)
    return exclusive(outline, outline.top, outline.wall, beside_stragglers(outline))


def beside_stragglers(outline: Outline) -> frozenset[str]:
    """Return the ids of the jobs that are not on the wall: each superstep's straggler is."""
    beside: set[str] = set()
    for superstep in outline.supersteps:
        if superstep.straggler is not None:
            beside |= outline.strangers(superstep.ran, superstep.straggler)
    return frozenset(beside)


def of_jobs_on_path(outline: Outline, jobs: Iterable[Job]) -> Breakdown:
    """Break down what some jobs did on the critical path, of a run without supersteps."""
    theirs: set[Ran] = set()
    stack = [job.top for job in jobs]
    while stack:
        if (ran := stack.pop()) not in theirs:  # a task of a task comes twice
            theirs.add(ran)
            stack.extend(ran.inside)
    return _along_critical_path(outline, theirs)


def _along_critical_path(outline: Outline, counted: Container[Ran] | None = None) -> Breakdown:
    tally = Tally()
    ran = {r.span.span_id: r for r in outline.everything}
    own: dict[str, int] = {}
    # Of what counts only: a `wait held` lies beside it.
    below = {span_id: tuple([c.span for c in r.inside]) for span_id, r in ran.items()}
    path = critical_path(outline.root, below, outline.wall[1], unit_ns=1, touching=True)
    for section in path:
        length = section.end_ns - section.start_ns
        span_id = section.span.span_id
        if counted is not None and ran[span_id] not in counted:
            continue
        tally.add(ran[span_id].key, length)
        own[span_id] = own.get(span_id, 0) + length
    for span_id, ns in own.items():
        take_short_waits(tally, ran[span_id], ns)
    return tally.breakdown()


def _task_time(outline: Outline, job: Job) -> JobTime:
    return JobTime(job, job.scheduled_ns, job.barrier_ns, did(outline, job).scheduled)


def _lifecycle(outline: Outline, time: JobTime) -> JobTime:
    job = time.job
    next_loop = bisect_left(outline.loops, job.barrier_ns)
    observed = outline.loops[next_loop] if next_loop < len(outline.loops) else outline.wall[1]
    amounts = {(part.state, part.category): part.ns for part in time.breakdown.parts}
    for key, ns in (
        (_DEPENDENCY, job.dependency_ns),
        (_HELD, job.held_ns),
        (_CYCLE, job.cycle_ns + observed - job.barrier_ns),
    ):
        amounts[key] = amounts.get(key, 0) + ns
    return JobTime(job, job.planned_ns, observed, breakdown_of(amounts))


def _jobs_view(times: Iterable[JobTime]) -> JobsView:
    jobs = tuple(times)
    return JobsView(together(j.breakdown for j in jobs), jobs)
