"""The numbers of a run: its headline, what each category took, its slowest tasks, its queue."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from operator import attrgetter, itemgetter

from .. import semconv
from ..model import Run, Span
from ..semconv import Attr
from .calls import is_call
from .groups import grouped
from .intervals import Interval, without
from .queue import QueuePoint, longest_not_started_s, queue_points
from .roots import root_of
from .tree import Forest, forest_of

_Kind = tuple[str | None, str | None]
"""The category and the state of spans."""


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
    by_kind = grouped(run.spans, attrgetter("category", "state"))
    calls = [s for s in run.spans if is_call(s)]
    tasks = _task_spans(run)
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
        tasks=_count(tasks),
        llm_calls=len(calls),
        input_tokens=_sum(calls, Attr.INPUT_TOKENS),
        output_tokens=_sum(calls, Attr.OUTPUT_TOKENS),
        categories=tuple(_categories(run, forest, by_kind, (start_ns, start_ns + wall_ns))),
        slowest_tasks=_slowest(tasks, run, forest),
        queue=queue_points(run.points),
        oldest_age_s=longest_not_started_s(run.points, start_ns + wall_ns),
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


def _categories(
    run: Run, forest: Forest, by_kind: Mapping[_Kind, Sequence[Span]], wall: Interval
) -> list[CategoryRow]:
    below_llm = _below_llm(forest, by_kind)
    counted: defaultdict[tuple[str, bool], list[Span]] = defaultdict(list)
    for (category, state), spans in by_kind.items():
        if category is not None and state != semconv.CONTAINER:
            counted[category, state == semconv.WAITING] += _counted(category, spans, below_llm)
    wall_ns = wall[1] - wall[0]
    rows: list[CategoryRow] = []
    for (category, is_wait), spans in counted.items():
        if not spans:
            continue
        if category == semconv.COMPUTE:
            own = [_own(run, forest, s) for s in spans]
            took = [sum([end - start for start, end in parts]) for parts in own]
            parts = list(chain.from_iterable(own))
        else:
            parts = [(s.start_ns, run.end_of(s)) for s in spans]
            took = [end - start for start, end in parts]
        share = _covered(parts, wall) / wall_ns if wall_ns else 0.0
        rows.append(CategoryRow(category, is_wait, statistics(took), share))
    return sorted(rows, key=lambda r: (r.is_wait, -r.durations.total_ns, r.category))


def _counted(category: str, spans: Sequence[Span], below_llm: Set[str]) -> Iterable[Span]:
    """Leave out what counts as something else: git inside of a command, attempts of an LLM call."""
    if category == semconv.GIT:
        return [s for s in spans if not semconv.is_git_part(s.attributes)]
    if category == semconv.HTTP:
        return [s for s in spans if s.span_id not in below_llm]
    return spans


def _own(run: Run, forest: Forest, span: Span) -> list[Interval]:
    """Return when a span ran and no child of it did."""
    whole = (span.start_ns, run.end_of(span))
    children = forest.children(span)
    if not children:
        return [whole]
    return without(whole, [(c.start_ns, run.end_of(c)) for c in children])


def _covered(parts: list[Interval], wall: Interval) -> int:
    """Return how much of the wall is covered; a wait for a person is no part of it, nor is what a
    thread did after the run."""
    covered = 0
    at_ns, latest = wall
    for start, end in sorted(parts):
        start_ns = start if start > at_ns else at_ns
        end_ns = end if end < latest else latest
        if end_ns > start_ns:
            covered += end_ns - start_ns
            at_ns = end_ns
    return covered


def _below_llm(forest: Forest, by_kind: Mapping[_Kind, Sequence[Span]]) -> set[str]:
    below: set[str] = set()
    for (category, state), spans in by_kind.items():
        if category != semconv.LLM or state == semconv.WAITING:  # a wait that somebody called so
            continue
        stack = [s.span_id for s in spans]
        while stack:
            for child in forest.below.get(stack.pop(), ()):
                if child.span_id not in below:
                    below.add(child.span_id)
                    stack.append(child.span_id)
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
    by_task = [s for s in run.spans if s.operation == semconv.TASK]
    return by_task or [s for s in run.spans if s.operation == semconv.NODE and s.text(Attr.TASK_ID)]


def _count(tasks: Sequence[Span]) -> int:
    ids = {s.text(Attr.TASK_ID) for s in tasks} - {None}
    return len(ids) or len(tasks)


def _slowest(tasks: Sequence[Span], run: Run, forest: Forest) -> tuple[SlowTask, ...]:
    def took(span: Span) -> int:
        # A task's span lasts until the barrier; what it took itself ends with its last node.
        ends = [run.end_of(c) for c in forest.children(span) if c.operation == semconv.NODE]
        return max(ends, default=run.end_of(span)) - span.start_ns

    slow = [(-took(span), span.start_ns, span.span_id, span) for span in tasks]
    return tuple(SlowTask(span, -ns) for ns, _, _, span in nsmallest(10, slow, itemgetter(0, 1, 2)))


def _sum(spans: Sequence[Span], key: str) -> int:
    return sum([v for s in spans if isinstance(v := s.attributes.get(key), int)])


def _text(value: object) -> str | None:
    return None if value is None else str(value)
