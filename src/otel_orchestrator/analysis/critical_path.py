"""The critical path of a run, as Jaeger draws it but for what `touching` is about.

From the end backwards: of a span's children the one that ends last is on the path, then the one
that ends last before that one started, and so on; between them the span itself is.

    parent  ├──▓▓▓──────▓▓▓▓─────▓▓▓▓▓┤        ▓ is on the path
    a          ├─▓▓▓▓▓▓▓┤  ·
    b            ├─────────·──┤                hidden: c ends later
    c                      ├▓▓▓▓▓┤

https://github.com/jaegertracing/jaeger-ui, `TracePage/CriticalPath`: children are cut to their
parent or dropped; a consumer below a producer does not block it; instants are whole microseconds,
and a child that ends in the very microsecond in which the next one starts is passed over. Jaeger
recurses and gives up after a few thousand sections; this does not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..model import Span
from .intervals import Interval

_PRODUCER: Final = 4
_CONSUMER: Final = 5
JAEGER_UNIT_NS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch in which a span itself is on the critical path."""

    span: Span
    start_ns: int
    end_ns: int


def critical_path(
    root: Span,
    below: Mapping[str, tuple[Span, ...]],
    end_ns: int,
    *,
    unit_ns: int = JAEGER_UNIT_NS,
    touching: bool = False,
) -> tuple[Section, ...]:
    """Return the critical path below a span, in order of time: O(n log n).

    Args:
        root: where the path starts and ends.
        below: the children of each span, by its id.
        end_ns: when spans without an end are taken to end.
        unit_ns: instants are cut to whole multiples of it.
        touching: follow a child that ends exactly when the next one starts, which Jaeger does not.
    """
    tree = _sanitized(root, below, end_ns, unit_ns)
    sections: list[Section] = []
    path = [_Step(root, tree)]
    bound = path[0].end
    while path:
        step = path[-1]
        child = step.last_child_before(bound, touching)
        edge = step.start if child is None else tree[child.span_id].interval[1]
        if edge < bound:
            sections.append(Section(step.span, edge * unit_ns, bound * unit_ns))
        if child is None:
            bound = step.start
            path.pop()
        else:
            path.append(_Step(child, tree))
            bound = path[-1].end
    return tuple(reversed(sections))


@dataclass(frozen=True, slots=True)
class _Cut:
    """A span as it counts: cut to its parent, with those of its children that are left."""

    interval: Interval
    children: tuple[Span, ...]


def _sanitized(
    root: Span, below: Mapping[str, tuple[Span, ...]], end_ns: int, unit_ns: int
) -> dict[str, _Cut]:
    def whole(span: Span) -> Interval:
        start = span.start_ns // unit_ns
        return start, max(start, (end_ns if span.end_ns is None else span.end_ns) // unit_ns)

    tree: dict[str, _Cut] = {}
    stack = [(root, whole(root))]
    while stack:
        span, (start, end) = stack.pop()
        kept: list[Span] = []
        for child in below.get(span.span_id, ()):
            if span.kind == _PRODUCER and child.kind == _CONSUMER:
                continue
            child_start, child_end = whole(child)
            if child_start >= end or (child_start < start and child_end <= start):
                continue
            kept.append(child)
            stack.append((child, (max(start, child_start), min(end, child_end))))
        tree[span.span_id] = _Cut((start, end), tuple(kept))
    return tree


class _Step:
    """A span on the way, and which of its children have been passed."""

    __slots__ = ("_by_end", "_ends", "_left", "end", "span", "start")

    def __init__(self, span: Span, tree: Mapping[str, _Cut]) -> None:
        cut = tree[span.span_id]
        self.span = span
        self.start, self.end = cut.interval
        # Of children that end together the first counts: it comes last here.
        ends = [(tree[c.span_id].interval[1], -n) for n, c in enumerate(cut.children)]
        self._by_end = [cut.children[-n] for _, n in sorted(ends)]
        self._ends = [tree[c.span_id].interval[1] for c in self._by_end]
        self._left = len(self._ends)

    def last_child_before(self, bound: int, touching: bool) -> Span | None:
        """Return the child that ends last, but before the bound; the first time, at the end."""
        find = bisect_right if touching or self._left == len(self._ends) else bisect_left
        at = min(self._left, find(self._ends, bound))
        if at == 0:
            self._left = 0
            return None
        self._left = at - 1
        return self._by_end[at - 1]
