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

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .. import semconv
from ..model import Run, Span
from ..semconv import Attr
from .clip import Key, clip
from .intervals import Interval
from .jobs import Job, Shape, Superstep, by_start, jobs_by_hand, supersteps_of
from .tally import Tally
from .tree import Forest, forest_of


@dataclass(frozen=True, slots=True)
class Outline:
    """A run, taken apart.

    Attributes:
        run: what was recorded.
        root: the run's span; where there is none, one made up around all of its spans.
        below: the children of each span, by id.
        inside: those of them that ran within it.
        clipped: when each span below the root ran, within its parents; without those outside.
        keys: what each of them counts as where no child of it runs.
        short: waits too short for a span, by the span whose time they are taken from.
        loops: when each turn of the cycle started.
        supersteps: of the outermost graph, in order; none in runs by hand.
        jobs: in order of their start.
        limit: how many may run at once, if that was limited.
        peak: how many slots were occupied at once, at most: a job that is tried again keeps its
            slot meanwhile, which the recorded peak of running nodes does not know.
        slots: the limit; without one, the larger of that peak and the recorded one; at least 1.
        known: what whole nodes did, by id, as far as that has been added up; see `exclusive`.
    """

    run: Run
    root: Span
    below: Mapping[str, tuple[Span, ...]]
    inside: Mapping[str, tuple[Span, ...]]
    clipped: Mapping[str, Interval]
    keys: Mapping[str, Key]
    short: Mapping[str, tuple[tuple[str, int], ...]]
    loops: tuple[int, ...]
    supersteps: tuple[Superstep, ...]
    jobs: tuple[Job, ...]
    limit: int | None
    peak: int
    slots: int
    known: dict[str, Tally] = field(default_factory=dict, repr=False, compare=False)

    @property
    def wall(self) -> Interval:
        """When the run ran."""
        return self.clipped[self.root.span_id]

    @property
    def wall_ns(self) -> int:
        """How long the run took."""
        start, end = self.wall
        return end - start

    def children(self, span: Span) -> tuple[Span, ...]:
        """Return the children of a span that ran within it."""
        return self.inside.get(span.span_id, ())

    def strangers(self, superstep: Span, job: Job) -> frozenset[str]:
        """Return the ids of a superstep's other jobs, directly below it."""
        return frozenset(
            c.span_id
            for c in self.children(superstep)
            if (c.operation == semconv.TASK and c.span_id != job.span.span_id)
            or (c.operation == semconv.NODE and c.name != job.span.name)
        )

    def not_of(self, job: Job) -> frozenset[str]:
        """Return the ids of the spans below a job's `top` that are not the job's."""
        return self.strangers(job.top, job) if job.top is not job.span else frozenset()

    def descendants(self, span: Span) -> Iterator[Span]:
        """Yield everything below a span, parents first."""
        stack = list(reversed(self.children(span)))
        while stack:
            found = stack.pop()
            yield found
            stack.extend(reversed(self.children(found)))


def root_of(forest: Forest) -> Span | None:
    """Return the run's span: the first `invoke_workflow`, else the first `invoke_agent`."""
    agent: Span | None = None
    for span, _ in forest.walk():
        if span.operation == semconv.INVOKE_WORKFLOW:
            return span
        if agent is None and span.operation == semconv.INVOKE_AGENT:
            agent = span
    return agent


def outline_of(run: Run, forest: Forest | None = None) -> Outline:
    """Take a run apart; of several workflows in it, the first.

    Args:
        run: what was recorded.
        forest: of its spans, if they have been linked already.
    """
    forest = forest or forest_of(run.spans)
    root = root_of(forest)
    below: Mapping[str, tuple[Span, ...]] = forest.below
    if root is None:
        root = Span("", "", None, "", 0, run.start_ns, run.end_ns)
        below = {**forest.below, "": forest.roots}
    found = clip(root, below, run.end_ns)
    shape = Shape(root, found.inside, found.intervals)
    supersteps = tuple(supersteps_of(shape))
    jobs = [j for s in supersteps for j in s.slot_jobs] or list(jobs_by_hand(shape))
    ordered = sorted(jobs, key=by_start)
    limit = _positive(root.attributes.get(Attr.CONCURRENCY_LIMIT))
    peak = _peak(j.busy for j in ordered)
    recorded = _positive(root.attributes.get(Attr.CONCURRENCY_PEAK))
    return Outline(
        run=run,
        root=root,
        below=below,
        inside=found.inside,
        clipped=found.intervals,
        keys=found.keys,
        short=found.short,
        loops=tuple(found.intervals[s.span_id][0] for s in shape.outermost(semconv.LOOP)),
        supersteps=supersteps,
        jobs=tuple(ordered),
        limit=limit,
        peak=peak,
        slots=limit or max(1, recorded or 0, peak),
    )


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _peak(intervals: Iterable[Interval]) -> int:
    changes: list[tuple[int, int]] = []
    for start, end in intervals:
        if start < end:
            changes += [(start, 1), (end, -1)]
    running = peak = 0
    for _, change in sorted(changes):  # at one instant, ends come before starts
        running += change
        peak = max(peak, running)
    return peak
