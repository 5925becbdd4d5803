"""Jobs: what a slot is given to do, and the instants that waits count from.

task worker   scheduled ░░ queue ░░ started ▓▓▓▓▓▓▓▓▓▓▓▓ ended ░░ barrier ░░ barrier
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .. import semconv
from ..model import Span
from ..semconv import Attr
from .clip import seconds_to_ns
from .intervals import Interval

_TRANSPARENT: Final = (semconv.LOOP, semconv.SUPERSTEP)
_BEFORE_START: Final = (semconv.QUEUE, semconv.CONSUMER)


@dataclass(frozen=True, slots=True)
class Job:
    """What one slot is given to do: one LangGraph task, or a task by hand.

    Attributes:
        span: the `task` span; of a plain node, its first attempt.
        top: the span that everything of this job is below: the task's, or a plain node's superstep.
        name: of the node.
        task_id: of the application's task that it works for.
        depends_on: the ids of the tasks that had to be done first; None where that is not known.
        attempts: when its node ran, once for each attempt.
        scheduled_ns: LangGraph's tick returned it.
        started_ns: its first attempt started; for one that never did, the barrier.
        ended_ns: its last attempt ended.
        barrier_ns: the end of its span.
        dependency_ns, held_ns, cycle_ns: what it waited before it was scheduled, in this order.
        is_worker: it works for a task of the application, or beside others; not a node that runs
            alone, such as a Director.
    """

    span: Span
    top: Span
    name: str
    task_id: str | None
    depends_on: tuple[str, ...] | None
    attempts: tuple[Interval, ...]
    scheduled_ns: int
    started_ns: int
    ended_ns: int
    barrier_ns: int
    dependency_ns: int
    held_ns: int
    cycle_ns: int
    is_worker: bool

    @property
    def planned_ns(self) -> int:
        """When the application planned it; without such knowledge, when it was scheduled."""
        return self.scheduled_ns - self.dependency_ns - self.held_ns - self.cycle_ns

    @property
    def deps_done_ns(self) -> int:
        """When the last task that it depends on was done."""
        return self.planned_ns + self.dependency_ns

    @property
    def released_ns(self) -> int:
        """The barrier of the superstep in which its last dependency was done."""
        return self.deps_done_ns + self.held_ns

    @property
    def busy(self) -> Interval:
        """When it occupied a slot: back-off between attempts does not give the slot back."""
        return self.started_ns, self.ended_ns


@dataclass(frozen=True, slots=True)
class Superstep:
    """One superstep of the outermost graph.

    Attributes:
        span, start_ns, end_ns: its span and when it ran.
        jobs: LangGraph's own tasks, by their start.
        slot_jobs: what takes slots: its jobs, but instead of a node that itself hands the
            application's tasks to workers those tasks.
    """

    span: Span
    start_ns: int
    end_ns: int
    jobs: tuple[Job, ...]
    slot_jobs: tuple[Job, ...]

    @property
    def straggler(self) -> Job | None:
        """The job that ended last; of equals, the one that started first."""
        return max(self.jobs, key=lambda j: j.ended_ns, default=None)

    @property
    def is_of_workers(self) -> bool:
        """Whether any of its jobs is a worker."""
        return any(j.is_worker for j in self.slot_jobs)

    @property
    def is_dispatched(self) -> bool:
        """Whether a node of it hands the application's tasks to workers itself."""
        own = {j.span.span_id for j in self.jobs}
        return any(j.span.span_id not in own for j in self.slot_jobs)

    @property
    def knows_dependencies(self) -> bool:
        """Whether any of its jobs says what it depended on."""
        return any(j.depends_on is not None for j in self.slot_jobs)

    def slot_chain(self) -> tuple[Job, ...]:
        """Return the straggler, and before it what ran in the slot that it waited for, and so on.

        worker b        ├──────────┤
        worker a  queue ░░░░░░░░░░░├────────┤ straggler      →  (b, a)
        """
        chain: list[Job] = []
        # Of jobs that end together the first counts: it comes last here.
        ends = sorted(
            (j.ended_ns, -n) for n, j in enumerate(self.jobs) if j.started_ns < j.ended_ns
        )
        job = self.straggler
        while job is not None:
            chain.append(job)
            at = bisect_left(ends, (job.started_ns + 1,)) - 1
            ended_ns, n = ends[at] if at >= 0 else (job.scheduled_ns, 0)
            job = self.jobs[-n] if ended_ns > job.scheduled_ns else None
        return tuple(reversed(chain))


@dataclass(frozen=True, slots=True)
class Shape:
    """What the making of jobs needs to know of the spans."""

    root: Span
    inside: Mapping[str, tuple[Span, ...]]
    clipped: Mapping[str, Interval]

    def children(self, span: Span) -> Sequence[Span]:
        """Return the children of a span that ran within it."""
        return self.inside.get(span.span_id, ())

    def outermost(self, operation: str) -> list[Span]:
        """Return the loops, or supersteps, of the outermost graph, by start."""
        found: list[Span] = []
        stack = list(self.children(self.root))
        while stack:
            span = stack.pop()
            if span.operation == operation:
                found.append(span)
            if span.operation in _TRANSPARENT:
                stack.extend(self.children(span))
        return sorted(found, key=lambda s: (self.clipped[s.span_id], s.span_id))

    def shallowest(self, top: Span, *, with_task_id: bool) -> list[Span]:
        """Return the tasks and nodes below a span that are below no other such."""
        found: list[Span] = []
        stack = list(self.children(top))
        while stack:
            span = stack.pop()
            is_job = span.operation in (semconv.TASK, semconv.NODE)
            if is_job and (not with_task_id or span.text(Attr.TASK_ID) is not None):
                found.append(span)
            else:
                stack.extend(self.children(span))
        return sorted(found, key=lambda s: (self.clipped[s.span_id], s.span_id))


def supersteps_of(shape: Shape) -> Iterator[Superstep]:
    """Yield the supersteps of the outermost graph, in order."""
    for span in shape.outermost(semconv.SUPERSTEP):
        start, end = shape.clipped[span.span_id]
        jobs = sorted(_jobs_of(shape, span), key=by_start)
        slot_jobs = sorted(_without_dispatchers(shape, jobs), key=by_start)
        yield Superstep(span, start, end, tuple(jobs), tuple(slot_jobs))


def _jobs_of(shape: Shape, superstep: Span) -> Iterator[Job]:
    children = shape.children(superstep)
    by_name: dict[str, list[Span]] = {}
    for child in children:
        if child.operation == semconv.TASK:
            yield _job(shape, child, child, shape.children(child), _attempts(shape, child))
        elif child.operation == semconv.NODE:
            by_name.setdefault(child.name, []).append(child)
    for attempts in by_name.values():
        # The waits of a plain node are the superstep's, which has no other job.
        waits = [c for c in children if c.operation == semconv.WAIT] if len(by_name) == 1 else []
        yield _job(shape, attempts[0], superstep, waits, attempts)


def jobs_by_hand(shape: Shape) -> Iterator[Job]:
    """Yield the jobs of a run without supersteps: the outermost tasks and nodes."""
    outermost = shape.shallowest(shape.root, with_task_id=False)
    yield from _without_dispatchers(shape, (_own_job(shape, span) for span in outermost))


def _without_dispatchers(shape: Shape, jobs: Iterable[Job]) -> Iterator[Job]:
    """Put what a node hands to workers of its own in place of the node."""
    for job in jobs:
        nested: list[Span] = []
        if job.task_id is None and job.span.operation == semconv.NODE:
            nested = shape.shallowest(job.span, with_task_id=True)
        if not nested:
            yield job
        for span in nested:
            yield _own_job(shape, span)


def _own_job(shape: Shape, span: Span) -> Job:
    attempts = [span] if span.operation == semconv.NODE else _attempts(shape, span)
    return _job(shape, span, span, shape.children(span), attempts)


def _attempts(shape: Shape, task: Span) -> list[Span]:
    return [c for c in shape.children(task) if c.operation == semconv.NODE]


def _job(
    shape: Shape, span: Span, top: Span, waits: Sequence[Span], attempts: Sequence[Span]
) -> Job:
    start, end = shape.clipped[span.span_id]
    is_task = span.operation == semconv.TASK
    ran = tuple(shape.clipped[a.span_id] for a in attempts)
    if ran:
        started, ended = min(a for a, _ in ran), max(b for _, b in ran)
    else:
        started, ended = _between_waits(shape, (start, end), waits)
    scheduled = start
    if not is_task:
        scheduled = min((start, *_starts(shape, waits, _BEFORE_START, started)))
        end = ended
    depends_on = span.attributes.get(Attr.TASK_DEPENDS_ON)
    return Job(
        span=span,
        top=top,
        name=_name(span, attempts),
        task_id=span.text(Attr.TASK_ID),
        depends_on=tuple(map(str, depends_on)) if isinstance(depends_on, tuple) else None,
        attempts=ran,
        scheduled_ns=scheduled,
        started_ns=started,
        ended_ns=ended,
        barrier_ns=end,
        dependency_ns=seconds_to_ns(span.attributes.get(Attr.TASK_WAITED_DEPENDENCY)),
        held_ns=seconds_to_ns(span.attributes.get(Attr.TASK_WAITED_HELD)),
        cycle_ns=seconds_to_ns(span.attributes.get(Attr.TASK_WAITED_CYCLE)),
        is_worker=is_task or span.text(Attr.TASK_ID) is not None,
    )


def _between_waits(shape: Shape, whole: Interval, waits: Sequence[Span]) -> Interval:
    """Return when a task without a node ran: after it queued, before it waited for others.

    ├░queue░┤ ……… ├░barrier░┤     →     │  ………  │
    """
    start, end = whole
    queued = [w for w in waits if w.state == semconv.WAITING and w.category in _BEFORE_START]
    barred = [w for w in waits if w.state == semconv.WAITING and w.category == semconv.BARRIER]
    started = max((shape.clipped[w.span_id][1] for w in queued), default=start)
    ended = min((shape.clipped[w.span_id][0] for w in barred), default=end)
    return (started, ended) if started <= ended else (start, end)


def _starts(
    shape: Shape, waits: Sequence[Span], categories: Sequence[str], before: int
) -> list[int]:
    starts = (
        shape.clipped[w.span_id][0]
        for w in waits
        if w.state == semconv.WAITING and w.category in categories
    )
    return [start for start in starts if start <= before]


def _name(span: Span, attempts: Sequence[Span]) -> str:
    spans = [*attempts, span]
    return spans[0].text(Attr.NODE_NAME) or span.name.partition(" ")[2] or span.name


def by_start(job: Job) -> tuple[int, int, str]:
    """Return what jobs are sorted by."""
    return job.started_ns, job.scheduled_ns, job.span.span_id
