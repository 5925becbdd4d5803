"""The spans of a run as a forest: who is whose child, in order of start. No recursion.

What was sent to another process may be worked on when its sender has long ended: that work is
below the nearest ancestor of the sender that was still open, so that its time counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from ..model import Span

_CONSUMER: Final = 5  # as OTLP numbers kinds


@dataclass(frozen=True, slots=True)
class Forest:
    """Spans with their children.

    Attributes:
        roots: spans without a parent among the spans, by start.
        below: the children of each span, by its id, by start.
        by_id: every span, by its id.
    """

    roots: tuple[Span, ...]
    below: Mapping[str, tuple[Span, ...]]
    by_id: Mapping[str, Span]

    def children(self, span: Span) -> tuple[Span, ...]:
        """Return a span's children."""
        return self.below.get(span.span_id, ())

    def walk(self) -> Iterator[tuple[Span, int]]:
        """Yield every span with its depth, parents first, siblings by start."""
        below = self.below
        stack = [(root, 0) for root in reversed(self.roots)]
        while stack:
            span, depth = told = stack.pop()
            yield told
            if children := below.get(span.span_id):
                depth += 1
                stack.extend([(child, depth) for child in reversed(children)])


def forest_of(spans: Iterable[Span]) -> Forest:
    """Link spans to their parents; the work on a message, to one that lasted as long.

    A span whose parent is missing is a root; of spans that are each other's ancestors the first
    is one, so that every span is in the forest exactly once. Those that start together stay in the
    order in which they are given.
    """
    ordered = sorted(spans, key=attrgetter("start_ns"))
    by_id: dict[str, Span] = {}
    before_parents: list[str] = []
    for span in ordered:
        if span.parent_id not in by_id:
            before_parents.append(span.span_id)
        by_id[span.span_id] = span
    if len(by_id) < len(ordered):
        return _link(ordered, by_id, _cycle_starts(by_id, by_id))
    # Of all that leads into a circle, or is in it, the first comes before its parent.
    return _link(ordered, by_id, _cycle_starts(by_id, before_parents) or None)


def _link(ordered: Iterable[Span], by_id: Mapping[str, Span], cut: Set[str] | None) -> Forest:
    roots: list[Span] = []
    below: defaultdict[str, list[Span]] = defaultdict(list)
    for span in ordered:
        parent_id = span.parent_id
        if span.kind == _CONSUMER and cut is None:  # nothing lasts in a circle
            parent_id = _lasting_parent(span, by_id)
        is_cut = cut is not None and span.span_id in cut
        if parent_id is None or parent_id not in by_id or is_cut:
            roots.append(span)
        else:
            below[parent_id].append(span)
    return Forest(tuple(roots), {k: tuple(v) for k, v in below.items()}, by_id)


def _lasting_parent(span: Span, by_id: Mapping[str, Span]) -> str | None:
    """Return the id of the nearest ancestor that did not end before a span; else the topmost."""
    found, seen = span.parent_id, {span.span_id}
    while (above := by_id.get(found or "")) is not None and above.end_ns is not None:
        seen.add(above.span_id)
        lasted = span.end_ns is not None and span.end_ns <= above.end_ns
        if lasted or above.parent_id not in by_id or above.parent_id in seen:
            break
        found = above.parent_id
    return found


def _cycle_starts(by_id: Mapping[str, Span], beginnings: Iterable[str]) -> set[str]:
    """Return where the ways up from some spans close a circle: one span of each circle."""
    done: set[str] = set()
    starts: set[str] = set()
    for span_id in beginnings:
        path: list[str] = []
        on_path: set[str] = set()
        current: str | None = span_id
        while current is not None and current in by_id and current not in done:
            if current in on_path:
                starts.add(current)
                break
            path.append(current)
            on_path.add(current)
            current = by_id[current].parent_id
        done.update(path)
    return starts
