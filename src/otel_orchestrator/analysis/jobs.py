"""Jobs: what a slot is given to do, and the instants that waits count from.

task worker   scheduled ░░ queue ░░ started ▓▓▓▓▓▓▓▓▓▓▓▓ ended ░░ barrier ░░ barrier
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence, Set
from itertools import pairwise
from typing import Final

from msgspec import Struct

from .. import semconv
from ..model import Span
from ..semconv import Attr
from .clip import Ran, never_started, seconds_to_ns
from .intervals import Interval, union, without

_JOBS: Final = (semconv.TASK, semconv.NODE)
_TRANSPARENT: Final = (semconv.LOOP, semconv.SUPERSTEP)
_BEFORE_START: Final = (semconv.QUEUE, semconv.CONSUMER)
_READER: Final = (semconv.WAITING, semconv.CONSUMER)


# No dataclasses: a part of a run is handed from process to process, which takes ten times as long
# with those.
class Job(Struct, frozen=True, gc=False, array_like=True):
    """What one slot is given to do: one LangGraph task, or a task by hand.

    Attributes:
        span_id: of the `task` span; of a plain node, its first attempt's.
        ran: that span as it counts.
        superstep: that of a plain node, whose attempts are below it.
        name: of the node.
        task_id: of the application's task that it works for.
        depends_on: the ids of the tasks that had to be done first; None where that is not known.
        attempts: when its node ran, once for each attempt.
        scheduled_ns: LangGraph's tick returned it.
        started_ns: its first attempt started; for one that never did, the barrier.
        ended_ns: its last attempt ended.
        barrier_ns: the end of its span.
        dependency_ns, held_ns, cycle_ns: what it waited before it was scheduled, in this order.
        kept_by_reader: when a slow reader of the stream kept it from starting.
        is_given: its node did not run: what it came to was in the cache, or in the checkpoint.
        is_worker: it works for a task of the application, or beside others, or for the agent that
            hands work to it; not a node that runs alone, such as a Director.
    """

    span_id: str
    ran: Ran
    superstep: Ran | None
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
    kept_by_reader: tuple[Interval, ...]
    is_given: bool
    is_worker: bool

    @property
    def span(self) -> Span:
        """What was recorded of its task, or of its first attempt."""
        return self.ran.span

    @property
    def top(self) -> Ran:
        """What everything of it is below."""
        return self.superstep or self.ran

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

    @property
    def worked(self) -> tuple[Interval, ...]:
        """When it worked: in its attempts, or all the while if no node was recorded."""
        return self.attempts or (self.busy,)

    @property
    def queued(self) -> list[Interval]:
        """When it waited for a slot."""
        # The node of what is given lies at the barrier, which is when LangGraph hands it on.
        if self.is_given or self.scheduled_ns >= self.started_ns:
            return []
        waited = self.scheduled_ns, self.started_ns
        return without(waited, self.kept_by_reader) if self.kept_by_reader else [waited]


class Superstep(Struct, frozen=True, gc=False, array_like=True):
    """One superstep of the outermost graph.

    Attributes:
        ran: its span, as it counts.
        jobs: LangGraph's own tasks, by their start.
        slot_jobs: what takes slots: its jobs, but instead of a node that itself hands the
            application's tasks to workers those tasks.
    """

    ran: Ran
    jobs: tuple[Job, ...]
    slot_jobs: tuple[Job, ...]

    @property
    def span(self) -> Span:
        """What was recorded."""
        return self.ran.span

    @property
    def start_ns(self) -> int:
        """When it started."""
        return self.ran.start_ns

    @property
    def end_ns(self) -> int:
        """When it ended."""
        return self.ran.end_ns

    @property
    def window(self) -> Interval:
        """From when the first of its slot jobs was scheduled until the last ended; it has some."""
        jobs = self.slot_jobs
        return min(j.scheduled_ns for j in jobs), max(j.ended_ns for j in jobs)

    @property
    def straggler(self) -> Job | None:
        """The job that ended last; of equals, the one that started first.

        Nobody waited for what never started, or came out of a cache at the barrier.
        """
        ran = [j for j in self.jobs if j.started_ns < j.ended_ns]
        return max(ran or self.jobs, key=lambda j: j.ended_ns, default=None)

    @property
    def is_of_workers(self) -> bool:
        """Whether any of its jobs is a worker."""
        return any(j.is_worker for j in self.slot_jobs)

    @property
    def is_dispatched(self) -> bool:
        """Whether a node of it hands the application's tasks to workers itself."""
        own = {j.span_id for j in self.jobs}
        return any(j.span_id not in own for j in self.slot_jobs)

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


def outermost(top: Ran, operation: str) -> list[Ran]:
    """Return the loops, or supersteps, of the outermost graph, by start."""
    found: list[Ran] = []
    stack = list(top.inside)
    while stack:
        ran = stack.pop()
        if ran.span.operation == operation:
            found.append(ran)
        if ran.span.operation in _TRANSPARENT:
            stack.extend(ran.inside)
    return sorted(found, key=in_order)


def _shallowest(top: Ran, operations: Container[str], *, with_task_id: bool = False) -> list[Ran]:
    """Return the spans of some operations below a span that are below no other such."""
    found: list[Ran] = []
    stack = list(top.inside)
    while stack:
        ran = stack.pop()
        span = ran.span
        is_job = span.operation in operations
        if is_job and (not with_task_id or span.text(Attr.TASK_ID) is not None):
            found.append(ran)
        else:
            stack.extend(ran.inside)
    return sorted(found, key=in_order)


def in_order(ran: Ran) -> tuple[int, int, str]:
    """Return what spans are sorted by."""
    return ran.start_ns, ran.end_ns, ran.span.span_id


def supersteps_of(top: Ran, *, is_part: bool = False) -> tuple[Superstep, ...]:
    """Return the supersteps of the outermost graph, in order.

    Who works for a supervisor takes the whole run to tell: in a part of one nobody does.
    """
    found = tuple(_supersteps(top, frozenset()))
    if is_part or any(s.is_of_workers for s in found):
        return found
    workers = _agents_in_turn(top, found)
    return tuple(_supersteps(top, workers)) if workers else found


def _supersteps(top: Ran, workers: Set[str]) -> Iterator[Superstep]:
    for ran in outermost(top, semconv.SUPERSTEP):
        jobs = sorted(_jobs_of(ran, workers), key=by_start)
        slot_jobs = sorted(_without_dispatchers(jobs), key=by_start)
        yield Superstep(ran, tuple(jobs), tuple(slot_jobs))


def _jobs_of(superstep: Ran, workers: Set[str]) -> Iterator[Job]:
    by_name: dict[str, list[Ran]] = {}
    for child in superstep.inside:
        if child.span.operation == semconv.TASK:
            yield _job(child, child, child.inside, _attempts(child))
        elif child.span.operation == semconv.NODE:
            by_name.setdefault(child.span.name, []).append(child)
    for name, attempts in by_name.items():
        # The waits of a plain node are the superstep's, which has no other job.
        is_alone = len(by_name) == 1
        waits = [c for c in superstep.inside if is_alone and c.span.operation == semconv.WAIT]
        yield _job(attempts[0], superstep, waits, attempts, is_worker=name in workers)


def _agents_in_turn(top: Ran, supersteps: Iterable[Superstep]) -> Set[str]:
    """Return the names of the nodes that work for a supervisor, one at a time; none without one.

    supervisor │ math │ supervisor │ web │ supervisor

    It opens every loop, and each node between holds an agent. With a single such node, or where one
    hands over to another, they may as well be peers.
    """
    nodes = [job.span.name for superstep in supersteps for job in superstep.jobs]
    heads = {loop.span.text(Attr.LOOP_HEAD) for loop in outermost(top, semconv.LOOP)}
    supervisors = {name for name in nodes if name.partition(" ")[2] in heads}
    agents = {
        node.span.name
        for superstep in supersteps
        for node in superstep.ran.inside
        if any(ran.span.operation == semconv.INVOKE_AGENT for ran in node.inside)
    } - supervisors
    in_turn = [name in agents for name in nodes if name in agents or name in supervisors]
    return agents if len(agents) > 1 and not any(map(all, pairwise(in_turn))) else frozenset()


def jobs_by_hand(top: Ran) -> Iterator[Job]:
    """Yield the jobs of a run without supersteps: the outermost tasks and nodes; without any, its
    agents, but for one that hands work to others."""
    found = _shallowest(top, _JOBS)
    if not found:
        is_agent = top.span.operation == semconv.INVOKE_AGENT
        found = _shallowest(top, (semconv.INVOKE_AGENT,)) or ([top] if is_agent else [])
    yield from _without_dispatchers(map(_own_job, found))


def _without_dispatchers(jobs: Iterable[Job]) -> Iterator[Job]:
    """Put what a node hands to workers of its own in place of the node."""
    for job in jobs:
        nested: list[Ran] = []
        if job.task_id is None and job.span.operation == semconv.NODE:
            nested = _shallowest(job.ran, _JOBS, with_task_id=True)
        if not nested:
            yield job
        yield from map(_own_job, nested)


def _own_job(ran: Ran) -> Job:
    is_agent = ran.span.operation == semconv.INVOKE_AGENT
    return _job(ran, ran, ran.inside, _attempts(ran), is_worker=is_agent)


def _attempts(ran: Ran) -> list[Ran]:
    """Return the attempts of a task; a node outside of one has one, itself."""
    if ran.span.operation == semconv.NODE:
        return [ran]
    return [c for c in ran.inside if c.span.operation == semconv.NODE]


def _job(
    ran: Ran,
    top: Ran,
    waits: Sequence[Ran],
    attempts: Sequence[Ran],
    *,
    is_worker: bool = False,
) -> Job:
    span, end = ran.span, ran.end_ns
    is_task = span.operation == semconv.TASK
    if attempts:
        started, ended = min(a.start_ns for a in attempts), max(a.end_ns for a in attempts)
    elif never_started(ran):
        started = ended = end
    else:
        started, ended = _between_waits(ran, waits)
    scheduled = ran.start_ns
    if not is_task:
        scheduled = min((scheduled, *_starts(waits, _BEFORE_START, started)))
        end = ended
    depends_on = span.attributes.get(Attr.TASK_DEPENDS_ON)
    return Job(
        span_id=span.span_id,
        ran=ran,
        superstep=None if top is ran else top,
        name=_name(span, attempts),
        task_id=span.text(Attr.TASK_ID),
        depends_on=tuple(map(str, depends_on)) if isinstance(depends_on, tuple) else None,
        attempts=tuple([a.interval for a in attempts]),
        scheduled_ns=scheduled,
        started_ns=started,
        ended_ns=ended,
        barrier_ns=end,
        dependency_ns=seconds_to_ns(span.attributes.get(Attr.TASK_WAITED_DEPENDENCY)),
        held_ns=seconds_to_ns(span.attributes.get(Attr.TASK_WAITED_HELD)),
        cycle_ns=seconds_to_ns(span.attributes.get(Attr.TASK_WAITED_CYCLE)),
        kept_by_reader=_kept_by_reader(top, scheduled, started),
        is_given=any(Attr.NODE_SOURCE in a.span.attributes for a in attempts),
        is_worker=is_worker or is_task or span.text(Attr.TASK_ID) is not None,
    )


def _kept_by_reader(top: Ran, scheduled_ns: int, started_ns: int) -> tuple[Interval, ...]:
    waits = [w for w in top.inside if w.key == _READER]
    return tuple(union((max(w.start_ns, scheduled_ns), min(w.end_ns, started_ns)) for w in waits))


def _between_waits(ran: Ran, waits: Sequence[Ran]) -> Interval:
    """Return when a task without a node ran: after it queued, before it waited for others.

    ├░queue░┤ ……… ├░barrier░┤     →     │  ………  │
    """
    # What it waits for amid its work, such as a thread for a tool, is not before it started.
    began = min((r.start_ns for r in waits if r.span.state == semconv.WORKING), default=ran.end_ns)
    queued = [w.end_ns for w in waits if _is_wait(w, _BEFORE_START) and w.start_ns < began]
    barred = [w.start_ns for w in waits if _is_wait(w, (semconv.BARRIER,))]
    started, ended = max(queued, default=ran.start_ns), min(barred, default=ran.end_ns)
    return (started, ended) if started <= ended else ran.interval


def _starts(waits: Sequence[Ran], categories: Sequence[str], before: int) -> list[int]:
    starts = [w.start_ns for w in waits if _is_wait(w, categories)]
    return [start for start in starts if start <= before]


def _is_wait(ran: Ran, categories: Sequence[str]) -> bool:
    return ran.span.state == semconv.WAITING and ran.span.category in categories


def _name(span: Span, attempts: Sequence[Ran]) -> str:
    first = attempts[0].span if attempts else span
    return first.text(Attr.NODE_NAME) or span.name.partition(" ")[2] or span.name


def by_start(job: Job) -> tuple[int, int, str]:
    """Return what jobs are sorted by."""
    return job.started_ns, job.scheduled_ns, job.span_id
