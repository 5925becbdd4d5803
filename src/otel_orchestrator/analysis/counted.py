"""What one part of a run counts for: small, and what several parts count for can be joined.

A run is cut at the spans directly below its own, whatever is below them goes with them. Its own
span may be in a part by itself, so what depends on all that is directly below it is left to who
joins the parts: whether its error came from there, and what it did itself meanwhile.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from heapq import nsmallest
from itertools import chain
from operator import attrgetter
from typing import Final

from msgspec import Struct

from .. import semconv
from ..model import Run, Span, changed
from ..semconv import Attr
from .groups import grouped
from .intervals import Interval, union
from .sums import Sum, sum_of
from .tree import Forest

_SLOWEST: Final = 10
_TELLING: Final = (Attr.TASK_ID, Attr.OUTCOME)
_Kind = tuple[str | None, str | None, str, bool]
_KIND: Final = attrgetter("category", "state", "operation", "is_error")
_Kinds = Mapping[_Kind, Sequence[Span]]
"""Spans by their category, state and operation, and by whether they are errors."""


class Took(Struct, frozen=True, gc=False):
    """What one category of work or waiting took in a part of a run.

    Attributes:
        category, is_wait, durations: as in `CategoryRow`; in nanoseconds, in order.
        covered: when at least one of these went on, even outside of the wall.
    """

    category: str
    is_wait: bool
    durations: list[int]
    covered: list[Interval]


class SlowTask(Struct, frozen=True, gc=False):
    """A task's span, and how long it took from scheduled to the end of its last node.

    Attributes:
        span: with no more attributes than say which task it was of and how it ended.
        took_ns: how long.
    """

    span: Span
    took_ns: int


class Tasks(Struct, frozen=True, gc=False):
    """The application's tasks in a part of a run.

    Attributes:
        have_spans: they have spans of their own; else these are nodes that say a task's id.
        spans: how many.
        ids: of the tasks, as far as spans say so.
        slowest: the longest of the spans, the longest first.
    """

    have_spans: bool
    spans: int
    ids: frozenset[str]
    slowest: tuple[SlowTask, ...]


class Counted(Struct, frozen=True, gc=False):
    """What one part of a run counts for.

    Attributes:
        spans, llm_calls, input_tokens, output_tokens, loops, supersteps: as in `Summary`.
        errors: as in `Summary`, but for the run's own span.
        took: by category; without what the run's own span did itself outside of its children.
        tasks: those of the part.
        tops: when at least one of the spans directly below the run's own went on.
        has_failed_top: one of these is an error.
    """

    spans: int
    errors: int
    loops: int
    supersteps: int
    llm_calls: int
    input_tokens: Sum
    output_tokens: Sum
    took: tuple[Took, ...]
    tasks: Tasks
    tops: list[Interval]
    has_failed_top: bool


def counted(run: Run, forest: Forest, tops: Iterable[Span], root: Span | None) -> Counted:
    """Count what the spans of a part come to.

    Nothing of category `llm` may be above the tops of several parts: what it counts for depends on
    all that is below it.

    Args:
        run: with the spans of the part, and the end of the whole run.
        forest: these spans, linked.
        tops: those of them directly below the run's own span; without one, the forest's roots.
        root: the run's own span, whether or not it is in this part; None where there is none.
    """
    tops = tuple(tops)
    kinds = grouped(run.spans, _KIND)
    calls = _chained(s for k, s in kinds.items() if k[:2] == (semconv.LLM, semconv.WORKING))
    turns = _turns(forest, tops)
    root_id = root.span_id if root else None
    return Counted(
        spans=len(run.spans),
        errors=_errors(kinds, forest, root_id),
        loops=turns[semconv.LOOP],
        supersteps=turns[semconv.SUPERSTEP],
        llm_calls=len(calls),
        input_tokens=_tokens(calls, Attr.INPUT_TOKENS),
        output_tokens=_tokens(calls, Attr.OUTPUT_TOKENS),
        took=tuple(_took(run, forest, kinds, root_id)),
        tasks=_tasks(run, forest, kinds),
        tops=union(_ran(run, tops)),
        has_failed_top=any(s.is_error for s in tops),
    )


def is_compute(span: Span) -> bool:
    """Whether what a span did itself counts, outside of its children."""
    return span.category == semconv.COMPUTE and span.state != semconv.CONTAINER


def slowest(tasks: Iterable[SlowTask]) -> tuple[SlowTask, ...]:
    """Return those that took longest, the longest first."""
    order = nsmallest(_SLOWEST, tasks, lambda t: (-t.took_ns, t.span.start_ns, t.span.span_id))
    return tuple(order)


def _errors(kinds: _Kinds, forest: Forest, root_id: str | None) -> int:
    """Count errors without those that only passed one on, and without the run's own."""
    failed = _chained(spans for (*_, is_error), spans in kinds.items() if is_error)
    starts = [s for s in failed if not any(c.is_error for c in forest.children(s))]
    return sum(s.span_id != root_id for s in starts)


def _took(run: Run, forest: Forest, kinds: _Kinds, root_id: str | None) -> Iterator[Took]:
    that_count: defaultdict[tuple[str, bool], list[Span]] = defaultdict(list)
    for (category, state, _, _), spans in kinds.items():
        if category is not None and state != semconv.CONTAINER:
            that_count[category, state == semconv.WAITING] += spans
    for (category, is_wait), spans in that_count.items():
        if category == semconv.COMPUTE:
            durations, ran = _own(run, forest, [s for s in spans if s.span_id != root_id])
        else:
            ran = _ran(run, _without_parts(category, spans, forest, kinds))
            durations = [end - start for start, end in ran]
        if durations:
            yield Took(category, is_wait, sorted(durations), union(ran))


def _without_parts(
    category: str, spans: Sequence[Span], forest: Forest, kinds: _Kinds
) -> Sequence[Span]:
    """Leave out what counts as something else: git inside of a command, attempts of an LLM call."""
    if category == semconv.GIT:
        return [s for s in spans if not semconv.is_git_part(s.attributes)]
    if category == semconv.HTTP:
        below_llm = _below_llm(forest, kinds)
        return [s for s in spans if s.span_id not in below_llm]
    return spans


def _below_llm(forest: Forest, kinds: _Kinds) -> Set[str]:
    below = forest.below
    found: set[str] = set()
    for (category, state, _, _), spans in kinds.items():
        if category != semconv.LLM or state == semconv.WAITING:  # a wait that somebody called so
            continue
        stack = [s.span_id for s in spans]
        while stack:
            for child in below.get(stack.pop(), ()):
                if child.span_id not in found:
                    found.add(child.span_id)
                    stack.append(child.span_id)
    return found


def _own(run: Run, forest: Forest, spans: Iterable[Span]) -> tuple[list[int], list[Interval]]:
    """Return for how long each span ran while no child of it did, and when that was."""
    last_ns = run.end_ns
    durations: list[int] = []
    parts: list[Interval] = []
    for span in spans:
        at, end = span.start_ns, run.end_of(span)
        took = 0
        # As in `without`, but they are in order, and there are very many.
        for child in forest.children(span):
            start, stop = child.start_ns, last_ns if child.end_ns is None else child.end_ns
            if at < stop and start < stop:
                if start > at:
                    if start >= end:
                        break
                    took += start - at
                    parts.append((at, start))
                at = stop
        if at < end:
            took += end - at
            parts.append((at, end))
        durations.append(took)
    return durations, parts


def _ran(run: Run, spans: Iterable[Span]) -> list[Interval]:
    """Return when each span ran."""
    last_ns = run.end_ns
    return [(s.start_ns, last_ns if s.end_ns is None else s.end_ns) for s in spans]


def _turns(forest: Forest, tops: Iterable[Span]) -> Counter[str]:
    """Count the loops and supersteps of the outermost graph: not those of graphs inside of it."""
    found: Counter[str] = Counter()
    stack = list(tops)
    while stack:
        span = stack.pop()
        if span.operation in (semconv.LOOP, semconv.SUPERSTEP):
            found[span.operation] += 1
            stack.extend(forest.children(span))
    return found


def _tasks(run: Run, forest: Forest, kinds: _Kinds) -> Tasks:
    by_task = _of_operation(kinds, semconv.TASK)
    spans = by_task or [s for s in _of_operation(kinds, semconv.NODE) if s.text(Attr.TASK_ID)]

    def took(span: Span) -> int:
        # A task's span lasts until the barrier; what it took itself ends with its last node.
        ends = [run.end_of(c) for c in forest.children(span) if c.operation == semconv.NODE]
        return max(ends, default=run.end_of(span)) - span.start_ns

    return Tasks(
        have_spans=bool(by_task),
        spans=len(spans),
        ids=frozenset([i for s in spans if (i := s.text(Attr.TASK_ID)) is not None]),
        slowest=tuple(
            [
                SlowTask(_brief(t.span), t.took_ns)
                for t in slowest([SlowTask(s, took(s)) for s in spans])
            ]
        ),
    )


def _of_operation(kinds: _Kinds, operation: str) -> list[Span]:
    return _chained(spans for (_, _, found, _), spans in kinds.items() if found == operation)


def _chained(found: Iterable[Sequence[Span]]) -> list[Span]:
    return list(chain.from_iterable(found))


def _brief(span: Span) -> Span:
    """Leave out the attributes that do not say which task a span is of and how that ended."""
    said = {key: text for key in _TELLING if (text := span.text(key)) is not None}
    return changed(span, attributes=said)


def _tokens(calls: Iterable[Span], key: str) -> Sum:
    return sum_of([v for s in calls if isinstance(v := s.attributes.get(key), int)])
