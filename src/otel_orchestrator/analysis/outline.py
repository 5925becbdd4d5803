"""What ran in a run: its root, loops, supersteps and jobs, and the instants that waits count from.

invoke_workflow            the root: its interval is the wall
└─ loop
   ├─ superstep
   │  └─ node director     a job: the attempts of a plain node
   └─ superstep
      ├─ task worker       a job: scheduled ──queue── started ──────── ended ──barrier── barrier
      └─ task worker
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from .. import semconv
from ..model import Run, Span
from ..semconv import Attr
from .calls import CallsFound
from .clip import Ran, clip
from .did import Did
from .in_flight import peak
from .intervals import Interval, without
from .jobs import Job, Superstep, by_start, jobs_by_hand, outermost, supersteps_of
from .roots import root_of
from .tally import Breakdown, Tally
from .tree import Forest, forest_of


@dataclass(frozen=True, slots=True)
class Outline:
    """A run, taken apart.

    Attributes:
        run: what was recorded.
        root: the run's span; where there is none, one made up around all of its spans.
        forest: its spans, linked; below a root that is made up, all that have none.
        everything: the root and all that ran below it, as it counts; parents come before what
            is in them, and there is no other order.
        loops: when each turn of the cycle started.
        supersteps: of the outermost graph, in order; none in runs by hand.
        jobs: in order of their start.
        limit: how many may run at once, if that was limited; LangGraph's `max_concurrency` limits
            its own tasks, not what a node of it hands to workers itself.
        peak: how many slots were occupied at once, at most: a job that is tried again keeps its
            slot meanwhile, which the recorded peak of running nodes does not know.
        slots: the limit, or without one the recorded peak; but as many as were occupied, and one.
        known: what whole nodes did, as far as that has been added up; see `exclusive`.
        did: what jobs did, by the ids of their spans, as far as that has been added up; see
            `exclusive`.
        on_wall: the wall, if that has been added up already.
        calls: what its jobs called, if that has been counted already.
    """

    run: Run
    root: Span
    forest: Forest = field(repr=False)
    everything: tuple[Ran, ...] = field(repr=False)
    loops: tuple[int, ...]
    supersteps: tuple[Superstep, ...]
    jobs: tuple[Job, ...]
    limit: int | None
    peak: int
    slots: int
    known: dict[Ran, Tally] = field(default_factory=dict, repr=False, compare=False)
    did: dict[str, Did] = field(default_factory=dict, repr=False, compare=False)
    on_wall: Breakdown | None = field(default=None, repr=False, compare=False)
    calls: CallsFound | None = field(default=None, repr=False, compare=False)

    @property
    def top(self) -> Ran:
        """The root as it counts, with what ran inside of it, and so on."""
        return self.everything[0]

    @property
    def wall(self) -> Interval:
        """When the run ran."""
        return self.top.interval

    @property
    def wall_ns(self) -> int:
        """How long the run took."""
        return self.top.took_ns

    @property
    def between_agents(self) -> list[Interval]:
        """When none of those worked to whom the agent that is the run hands work: its own turn."""
        if self.supersteps or self.root.operation != semconv.INVOKE_AGENT:
            return []
        return without(self.wall, [job.busy for job in self.jobs])

    def strangers(self, superstep: Ran, job: Job) -> frozenset[str]:
        """Return the ids of a superstep's other jobs, directly below it."""
        return frozenset(
            c.span.span_id
            for c in superstep.inside
            if (c.span.operation == semconv.TASK and c.span.span_id != job.span_id)
            or (c.span.operation == semconv.NODE and c.span.name != job.span.name)
        )

    def not_of(self, job: Job) -> frozenset[str]:
        """Return the ids of the spans below a job's `top` that are not the job's."""
        return frozenset() if job.superstep is None else self.strangers(job.superstep, job)

    def inside(self, job: Job) -> list[Ran]:
        """Return what of a job's `top` is the job's, without what is below that."""
        strangers = self.not_of(job)
        return [child for child in job.top.inside if child.span.span_id not in strangers]

    def jobs_by_id(self) -> dict[str, Job]:
        """Return what takes slots and what LangGraph itself ran, by the ids of their spans."""
        of_supersteps = (job for superstep in self.supersteps for job in superstep.jobs)
        return {job.span_id: job for job in (*self.jobs, *of_supersteps)}


def outline_of(run: Run, forest: Forest | None = None, *, is_part: bool = False) -> Outline:
    """Take a run apart; of several workflows in it, the first.

    Args:
        run: what was recorded.
        forest: of its spans, if they have been linked already.
        is_part: these are not all of its spans; see `parts`.
    """
    forest = forest or forest_of(run.spans)
    root = root_of(forest)
    if root is None:
        root = Span("", "", None, "", 0, run.start_ns, run.end_ns)
        forest = Forest((root,), {**forest.below, "": forest.roots}, forest.by_id)
    everything = clip(root, forest.below, run.end_ns)
    top = everything[0]
    supersteps = supersteps_of(top, is_part=is_part)
    jobs = [j for s in supersteps for j in s.slot_jobs]
    if not jobs and not is_part:
        jobs = list(jobs_by_hand(top))
    loops = tuple(loop.start_ns for loop in outermost(top, semconv.LOOP))
    return outline_with(run, forest, everything, loops=loops, supersteps=supersteps, jobs=jobs)


def outline_with(
    run: Run,
    forest: Forest,
    everything: tuple[Ran, ...],
    *,
    loops: tuple[int, ...],
    supersteps: tuple[Superstep, ...],
    jobs: Iterable[Job],
    did: dict[str, Did] | None = None,
    on_wall: Breakdown | None = None,
    calls: CallsFound | None = None,
) -> Outline:
    """Put an outline together; the arguments are its attributes."""
    root = everything[0].span
    ordered = sorted(jobs, key=by_start)
    is_dispatched = any(s.is_dispatched for s in supersteps)
    limit = None if is_dispatched else _positive(root.attributes.get(Attr.CONCURRENCY_LIMIT))
    at_once = peak(j.busy for j in ordered)
    recorded = _positive(root.attributes.get(Attr.CONCURRENCY_PEAK))
    return Outline(
        run=run,
        root=root,
        forest=forest,
        everything=everything,
        loops=loops,
        supersteps=supersteps,
        jobs=tuple(ordered),
        limit=limit,
        peak=at_once,
        slots=max(limit or recorded or 1, at_once),
        did={} if did is None else did,
        on_wall=on_wall,
        calls=calls,
    )


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
