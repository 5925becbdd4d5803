"""The spans of a run as a forest: who is whose child, in order of start. No recursion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from operator import attrgetter

from ..model import Span


@dataclass(frozen=True, slots=True)
class Forest:
    """Spans with their children.

    Attributes:
        roots: spans without a parent among the spans, by start.
        below: the children of each span, by its id, by start.
    """

    roots: tuple[Span, ...]
    below: Mapping[str, tuple[Span, ...]]

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
    """Link spans to their parents.

    A span whose parent is missing is a root; of spans that are each other's ancestors the first
    is one, so that every span is in the forest exactly once.
    """
    ordered = sorted(spans, key=attrgetter("start_ns", "span_id"))
    by_id = {s.span_id: s for s in ordered}
    linked = _link(ordered, by_id, frozenset())
    if len(by_id) == len(ordered) == _count(linked):
        return linked
    # From the roots, those are not reached that are below each other.
    return _link(ordered, by_id, _cycle_starts(by_id))


def _count(forest: Forest) -> int:
    below, count, level = forest.below, 0, list(forest.roots)
    while level:
        count += len(level)
        level = [child for span in level for child in below.get(span.span_id, ())]
    return count


def _link(ordered: Iterable[Span], by_id: Mapping[str, Span], cut: Set[str]) -> Forest:
    roots: list[Span] = []
    below: dict[str, list[Span]] = {}
    for span in ordered:
        if span.parent_id in by_id and span.span_id not in cut:
            below.setdefault(str(span.parent_id), []).append(span)
        else:
            roots.append(span)
    return Forest(tuple(roots), {k: tuple(v) for k, v in below.items()})


def _cycle_starts(by_id: Mapping[str, Span]) -> set[str]:
    done: set[str] = set()
    starts: set[str] = set()
    for span_id in by_id:
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
