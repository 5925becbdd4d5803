"""The numbers of a run: its headline, what each category took, its slowest tasks, its queue."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from .. import semconv
from ..model import Run, Span
from ..semconv import Attr
from .counted import Counted, SlowTask, Tasks, Took, counted, is_compute, slowest
from .intervals import Interval, without
from .queue import QueuePoint, longest_not_started_s, queue_points
from .roots import root_of
from .sums import total
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
    tops = forest.roots if root is None else forest.children(root)
    return summary_of(run, root, [counted(run, forest, tops, root)])


def summary_of(run: Run, root: Span | None, parts: Sequence[Counted]) -> Summary:
    """Join what all parts of a run count for; nothing is asked of the run's spans."""
    start_ns, wall_ns = run.start_ns, max(0, run.end_ns - run.start_ns)
    if root is not None:
        start_ns, wall_ns = root.start_ns, run.duration_of(root)
    tasks = _tasks(parts)
    is_error = root is not None and root.is_error and not any(p.has_failed_top for p in parts)
    return Summary(
        run_id=run.id,
        name=root.name.partition(" ")[2] if root else "(no run)",
        label=_text(run.resource.get(Attr.RUN_LABEL)),
        service=_text(run.resource.get(Attr.SERVICE_NAME)),
        outcome=root.outcome if root else "ok",
        start_ns=start_ns,
        wall_ns=wall_ns,
        spans=sum(p.spans for p in parts),
        errors=sum(p.errors for p in parts) + is_error,
        loops=sum(p.loops for p in parts),
        supersteps=sum(p.supersteps for p in parts),
        tasks=len(frozenset().union(*(t.ids for t in tasks))) or sum(t.spans for t in tasks),
        llm_calls=sum(p.llm_calls for p in parts),
        input_tokens=total(p.input_tokens for p in parts),
        output_tokens=total(p.output_tokens for p in parts),
        categories=_categories(run, root, parts, (start_ns, start_ns + wall_ns)),
        slowest_tasks=slowest(chain.from_iterable(t.slowest for t in tasks)),
        queue=queue_points(run.points),
        oldest_age_s=longest_not_started_s(run.points, start_ns + wall_ns),
    )


def statistics(durations: Iterable[int]) -> Statistics:
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
    run: Run, root: Span | None, parts: Sequence[Counted], wall: Interval
) -> tuple[CategoryRow, ...]:
    found: defaultdict[tuple[str, bool], list[Took]] = defaultdict(list)
    for took in (*chain.from_iterable(p.took for p in parts), *_of_root(run, root, parts)):
        found[took.category, took.is_wait].append(took)
    wall_ns = wall[1] - wall[0]
    rows: list[CategoryRow] = []
    for (category, is_wait), those in found.items():
        durations = statistics(chain.from_iterable(t.durations for t in those))
        covered_ns = _within(chain.from_iterable(t.covered for t in those), wall)
        share = covered_ns / wall_ns if wall_ns else 0.0
        rows.append(CategoryRow(category, is_wait, durations, share))
    return tuple(sorted(rows, key=lambda r: (r.is_wait, -r.durations.total_ns, r.category)))


def _of_root(run: Run, root: Span | None, parts: Sequence[Counted]) -> list[Took]:
    """Return what the run's own span did itself: when nothing directly below it went on."""
    if root is None or not is_compute(root):
        return []
    tops = chain.from_iterable(p.tops for p in parts)
    own = without((root.start_ns, run.end_of(root)), tops)
    took_ns = sum([end - start for start, end in own])
    return [Took(semconv.COMPUTE, root.state == semconv.WAITING, [took_ns], own)]


def _within(intervals: Iterable[Interval], wall: Interval) -> int:
    """Return how much of the wall is covered; a wait for a person is no part of it, nor is what a
    thread did after the run."""
    covered = 0
    at_ns, latest = wall
    for start, end in sorted(intervals):
        start_ns = start if start > at_ns else at_ns
        end_ns = end if end < latest else latest
        if end_ns > start_ns:
            covered += end_ns - start_ns
            at_ns = end_ns
    return covered


def _tasks(parts: Sequence[Counted]) -> list[Tasks]:
    """Return what counts: nodes are tasks where no task of the whole run has a span of its own."""
    tasks = [p.tasks for p in parts]
    return [t for t in tasks if t.have_spans] or tasks


def _text(value: object) -> str | None:
    return None if value is None else str(value)
