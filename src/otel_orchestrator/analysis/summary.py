"""The numbers of a run: its headline, what each category took, its slowest tasks, its queue."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .. import semconv
from ..model import Run, Span
from ..semconv import Attr, Metric
from .calls import is_call
from .intervals import Interval, without
from .outline import root_of
from .tree import Forest, forest_of


@dataclass(frozen=True, slots=True)
class Statistics:
    """Durations, in nanoseconds; percentiles by linear interpolation."""

    count: int
    total_ns: int
    mean_ns: float
    p50_ns: float
    p95_ns: float
    p99_ns: float
    max_ns: int


@dataclass(frozen=True, slots=True)
class CategoryRow:
    """What one category of work or waiting took.

    Attributes:
        category: `llm`, `git`, `tool`, `http`, `compute`; or the category of a wait.
        is_wait: nobody worked for the task meanwhile.
        durations: of its spans; of `compute`, what a node did itself, outside of its children.
        share: of the run's wall clock, the part in which at least one of these went on: never
            more than 1, and categories that overlap add up to more than 1.
    """

    category: str
    is_wait: bool
    durations: Statistics
    share: float


@dataclass(frozen=True, slots=True)
class SlowTask:
    """A task's span, and how long it took from scheduled to the end of its last node."""

    span: Span
    took_ns: int


@dataclass(frozen=True, slots=True)
class QueuePoint:
    """The task queue at one instant."""

    at_ns: int
    ready: int
    active: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of a run.

    Attributes:
        name: of the outermost graph or run.
        outcome: how it ended.
        start_ns, wall_ns: of the outermost graph; without one, from first start to last end.
        errors: spans that are errors, without those that only passed one on.
        loops, supersteps: how many, of the outermost graph.
        llm_calls: how many.
        tasks: how many of the application's tasks were worked on, or spans of tasks without ids.
    """

    run_id: str
    name: str
    label: str | None
    service: str | None
    outcome: str
    start_ns: int
    wall_ns: int
    spans: int
    errors: int
    loops: int
    supersteps: int
    tasks: int
    llm_calls: int
    input_tokens: int
    output_tokens: int
    categories: tuple[CategoryRow, ...]
    slowest_tasks: tuple[SlowTask, ...]
    queue: tuple[QueuePoint, ...]
    oldest_age_s: float


def summarize(run: Run, forest: Forest | None = None) -> Summary:
    """Work out the numbers of a run; its spans may have been linked already."""
    forest = forest or forest_of(run.spans)
    root = root_of(forest)
    start_ns, wall_ns = run.start_ns, max(0, run.end_ns - run.start_ns)
    if root is not None:
        start_ns, wall_ns = root.start_ns, run.duration_of(root)
    calls = [s for s in run.spans if is_call(s)]
    turns = _turns(forest, root)
    return Summary(
        run_id=run.id,
        name=root.name.partition(" ")[2] if root else "(no run)",
        label=_text(run.resource.get(Attr.RUN_LABEL)),
        service=_text(run.resource.get(Attr.SERVICE_NAME)),
        outcome=root.outcome if root else "ok",
        start_ns=start_ns,
        wall_ns=wall_ns,
        spans=len(run.spans),
        errors=sum(1 for s in run.spans if s.is_error and not _passed_on(s, forest)),
        loops=turns[semconv.LOOP],
        supersteps=turns[semconv.SUPERSTEP],
        tasks=_count_tasks(run),
        llm_calls=len(calls),
        input_tokens=_sum(calls, Attr.INPUT_TOKENS),
        output_tokens=_sum(calls, Attr.OUTPUT_TOKENS),
        categories=tuple(_categories(run, forest, (start_ns, start_ns + wall_ns))),
        slowest_tasks=_slowest_tasks(run, forest),
        queue=_queue(run),
        oldest_age_s=max(
            (p.value for p in run.points if p.name == Metric.QUEUE_OLDEST_AGE), default=0.0
        ),
    )


def statistics(durations: Sequence[int]) -> Statistics:
    """Return the statistics of at least one duration."""
    ordered = sorted(durations)
    return Statistics(
        count=len(ordered),
        total_ns=sum(ordered),
        mean_ns=sum(ordered) / len(ordered),
        p50_ns=percentile(ordered, 0.50),
        p95_ns=percentile(ordered, 0.95),
        p99_ns=percentile(ordered, 0.99),
        max_ns=ordered[-1],
    )


def percentile(ordered: Sequence[int], fraction: float) -> float:
    """Return a percentile of sorted values by linear interpolation between the two nearest."""
    position = fraction * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


class _Gathered:
    """The spans of one category, as they are met."""

    def __init__(self) -> None:
        self.took: list[int] = []
        self.parts: list[Interval] = []


def _categories(run: Run, forest: Forest, wall: Interval) -> list[CategoryRow]:
    wall_ns = wall[1] - wall[0]
    gathered: dict[tuple[str, bool], _Gathered] = {}
    below_llm = _below_llm(run, forest)
    for span in run.spans:
        category, state = span.category, span.state
        if category is None or state == "container":
            continue
        if category == "http" and span.span_id in below_llm:
            continue  # an attempt of an LLM call counts as the call
        if Attr.GIT_PART in span.attributes:
            continue  # what git did inside of a command counts as the command
        key = category, state == "waiting"
        of = gathered.get(key)
        if of is None:
            of = gathered[key] = _Gathered()
        whole = (span.start_ns, run.end_of(span))
        children = forest.children(span) if category == "compute" else ()
        if children:
            own = without(whole, [(c.start_ns, run.end_of(c)) for c in children])
            of.took.append(sum(end - start for start, end in own))
            of.parts += own
        else:
            of.took.append(whole[1] - whole[0])
            of.parts.append(whole)
    rows = [
        CategoryRow(
            category,
            is_wait,
            statistics(of.took),
            _covered(of.parts, wall) / wall_ns if wall_ns else 0.0,
        )
        for (category, is_wait), of in gathered.items()
    ]
    return sorted(rows, key=lambda r: (r.is_wait, -r.durations.total_ns, r.category))


def _covered(parts: list[Interval], wall: Interval) -> int:
    """Return how much of the wall is covered; a wait for a person is no part of it."""
    covered = 0
    at_ns, latest = wall
    for start, end in sorted(parts):
        end_ns = min(end, latest)
        if end_ns > at_ns:
            covered += end_ns - max(start, at_ns)
            at_ns = end_ns
    return covered


def _below_llm(run: Run, forest: Forest) -> set[str]:
    below: set[str] = set()
    # Not below a wait that somebody called so.
    stack = [s for s in run.spans if s.category == "llm" and s.state != "waiting"]
    while stack:
        for child in forest.children(stack.pop()):
            if child.span_id not in below:
                below.add(child.span_id)
                stack.append(child)
    return below


def _turns(forest: Forest, root: Span | None) -> Counter[str]:
    """Count the loops and supersteps of the outermost graph: not those of graphs inside of it."""
    found: Counter[str] = Counter()
    stack = list(forest.roots if root is None else forest.children(root))
    while stack:
        span = stack.pop()
        if span.operation in (semconv.LOOP, semconv.SUPERSTEP):
            found[span.operation] += 1
            stack.extend(forest.children(span))
    return found


def _passed_on(error: Span, forest: Forest) -> bool:
    return any(c.is_error for c in forest.children(error))


def _task_spans(run: Run) -> list[Span]:
    by_task = [s for s in run.spans if s.operation == "task"]
    return by_task or [s for s in run.spans if s.operation == "node" and s.text(Attr.TASK_ID)]


def _count_tasks(run: Run) -> int:
    spans = _task_spans(run)
    ids = {s.text(Attr.TASK_ID) for s in spans} - {None}
    return len(ids) or len(spans)


def _slowest_tasks(run: Run, forest: Forest) -> tuple[SlowTask, ...]:
    def took(span: Span) -> int:
        # A task's span lasts until the barrier; what it took itself ends with its last node.
        ends = [run.end_of(c) for c in forest.children(span) if c.operation == "node"]
        return max(ends, default=run.end_of(span)) - span.start_ns

    slow = [SlowTask(span, took(span)) for span in _task_spans(run)]
    return tuple(sorted(slow, key=lambda s: (-s.took_ns, s.span.start_ns, s.span.span_id))[:10])


def _queue(run: Run) -> tuple[QueuePoint, ...]:
    by_instant: dict[int, dict[str, int]] = {}
    for point in run.points:
        if point.name == Metric.QUEUE_DEPTH:
            state = str(point.attributes.get(Attr.TASK_STATE))
            by_instant.setdefault(point.at_ns, {})[state] = int(point.value)
    return tuple(
        QueuePoint(at, depth.get("ready", 0), depth.get("active", 0), depth.get("waiting", 0))
        for at, depth in sorted(by_instant.items())
    )


def _sum(spans: Sequence[Span], key: str) -> int:
    values = (s.attributes.get(key) for s in spans)
    return sum(v for v in values if isinstance(v, int))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
