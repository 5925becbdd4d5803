"""Exclusive time: every nanosecond of an interval goes to one category, or in equal parts to a few.

In each elementary segment the spans count that run and have no child running. Where any of them
works, those that wait get nothing: a wait never hides work that goes on beside it. Of k spans that
count, each gets 1/k.

    node worker    ├────────────────────────────┤
    chat              ├────────────┤
    git commit              ├───────────┤
    wait lock                          ├─────┤
    counts as      cmp│ llm │llm½git½│ git  │lock│ compute

Most spans have no sibling that runs beside them. What such a span did itself is what its children
leave of it, and that is all there is to know; only the others are swept over, instant by instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from .. import semconv
from ..model import Span
from .clip import Key
from .intervals import Interval
from .outline import Outline
from .tally import SCALE_BITS, Breakdown, Tally

_NONE: Final[frozenset[str]] = frozenset()

Running = tuple[int, int, Span]
"""From, to, and the span that runs."""


def exclusive(
    outline: Outline, top: Span, window: Interval, without: frozenset[str] = _NONE
) -> Breakdown:
    """Break an interval of a span down into exclusive categories: O(n log n) in what is below.

    Args:
        outline: the run; what is found out of whole nodes is kept there, because each view asks.
        top: the span; it runs for the whole of the window.
        window: the interval.
        without: ids of tasks and nodes to leave out, with all that is below them.
    """
    tally = Tally()
    start, end = outline.clipped[top.span_id]
    start, end = max(start, window[0]), min(end, window[1])
    if start < end:
        _add_up(outline, tally, (start, end, top), without)
    for span_id, scaled in tally.own.items():
        take_short_waits(outline, tally, span_id, scaled >> SCALE_BITS)
    return tally.breakdown()


def take_short_waits(outline: Outline, tally: Tally, span_id: str, own_ns: int) -> None:
    """Take the waits without a span of their own out of what their span did itself."""
    left = own_ns
    for category, ns in outline.short.get(span_id, ()):
        taken = min(ns, left)
        tally.move(outline.keys[span_id], (semconv.WAITING, category), taken)
        left -= taken


def _add_up(outline: Outline, tally: Tally, top: Running, without: frozenset[str]) -> None:
    """Add up what a span, cut to an interval, and everything below it did."""
    stack = [top]
    while stack:
        running = start, end, span = stack.pop()
        if span.operation == semconv.NODE and outline.clipped[span.span_id] == (start, end):
            tally.merge(_whole(outline, span))
            continue
        _add_one(outline, tally, running, stack, without)


def _whole(outline: Outline, node: Span) -> Tally:
    """Return what a node and everything below it did in all of its time."""
    known = outline.known.get(node.span_id)
    if known is None:
        known = outline.known[node.span_id] = Tally()
        stack = [(*outline.clipped[node.span_id], node)]
        while stack:
            _add_one(outline, known, stack.pop(), stack, _NONE)
    return known


def _add_one(
    outline: Outline, tally: Tally, running: Running, stack: list[Running], without: frozenset[str]
) -> None:
    """Add up what a span did itself, and leave its children to be done, or sweep over them."""
    start, end, span = running
    own = end - start
    span_id = span.span_id
    if children := outline.inside.get(span_id):
        parts = _cut(outline, children, (start, end), without)
        if _is_one_by_one(parts):
            for since, until, _ in parts:
                own -= until - since
            stack.extend(parts)
        else:
            for cluster in _clusters(parts):
                own -= max(until for _, until, _ in cluster) - cluster[0][0]
                if len(cluster) == 1:
                    stack.extend(cluster)
                else:
                    _sweep(outline, tally, cluster, without)
    if own:
        key = outline.keys[span_id]
        tally.add(key, own)
        if span_id in outline.short and key[0] == semconv.WORKING:
            tally.did(span_id, own << SCALE_BITS)


def _cut(
    outline: Outline, children: Iterable[Span], window: Interval, without: frozenset[str]
) -> list[Running]:
    """Return the children that run in a window, by their start."""
    earliest, latest = window
    clipped = outline.clipped
    parts = []
    for child in children:
        start, end = clipped[child.span_id]
        start = max(start, earliest)
        end = min(end, latest)
        if start < end and child.span_id not in without:
            parts.append((start, end, child))
    return parts


def _is_one_by_one(parts: list[Running]) -> bool:
    at_ns = 0
    for start, end, _ in parts:
        if start < at_ns:
            return False
        at_ns = end
    return True


def _clusters(parts: Iterable[Running]) -> Iterator[list[Running]]:
    """Yield what hangs together.

    ├────────┤  ├────┤
      ├─────────────┤        ├───┤        →        two clusters
    """
    cluster: list[Running] = []
    at_ns = 0
    for part in parts:
        if cluster and part[0] >= at_ns:
            yield cluster
            cluster = []
        cluster.append(part)
        at_ns = max(at_ns, part[1]) if len(cluster) > 1 else part[1]
    if cluster:
        yield cluster


def _sweep(outline: Outline, tally: Tally, cluster: list[Running], without: frozenset[str]) -> None:
    """Add up what spans that overlap, and everything below them, did."""
    sweep = _Sweep(outline, tally)
    at_ns = cluster[0][0]
    for change in sorted(_changes(outline, cluster, without), key=lambda c: c.at_ns):
        if change.at_ns > at_ns:
            sweep.pass_by(change.at_ns - at_ns)
            at_ns = change.at_ns
        sweep.apply(change)
    for span_id, scaled in sweep.own.items():
        tally.did(span_id, scaled)


@dataclass(frozen=True, slots=True)
class _Change:
    """A span starts or ends. Its parent is the one in the tree, which an orphan does not name."""

    at_ns: int
    is_start: bool
    span_id: str
    parent_id: str | None


def _changes(
    outline: Outline, cluster: Iterable[Running], without: frozenset[str]
) -> Iterator[_Change]:
    stack: list[tuple[Running, str | None]] = [(part, None) for part in cluster]
    while stack:
        (start, end, span), parent_id = stack.pop()
        yield _Change(start, True, span.span_id, parent_id)
        yield _Change(end, False, span.span_id, parent_id)
        if children := outline.inside.get(span.span_id):
            parts = _cut(outline, children, (start, end), without)
            stack.extend([(part, span.span_id) for part in parts])


class _Sweep:
    """What runs at the instant that the sweep has come to."""

    def __init__(self, outline: Outline, tally: Tally) -> None:
        self._outline = outline
        self._tally = tally
        self._running: set[str] = set()
        self._children: dict[str, int] = {}
        self._leaves: dict[Key, int] = {}
        self._workers = 0
        # Scaled nanoseconds that one working leaf would have got since the beginning.
        self._one_share = 0
        self.own: dict[str, int] = {}

    def apply(self, change: _Change) -> None:
        """Start or end a span; at one instant, in any order."""
        self._toggle(change.span_id, change.is_start)
        if change.parent_id is None:
            return
        before = self._children.get(change.parent_id, 0)
        after = before + (1 if change.is_start else -1)
        self._children[change.parent_id] = after
        if change.parent_id in self._running and (before == 0) != (after == 0):
            self._set_leaf(change.parent_id, after == 0)

    def _toggle(self, span_id: str, is_start: bool) -> None:
        if self._children.get(span_id, 0) == 0:
            self._set_leaf(span_id, is_start)
        if is_start:
            self._running.add(span_id)
        else:
            self._running.discard(span_id)

    def _set_leaf(self, span_id: str, is_leaf: bool) -> None:
        key = self._outline.keys[span_id]
        change = 1 if is_leaf else -1
        self._leaves[key] = self._leaves.get(key, 0) + change
        if key[0] == semconv.WORKING:
            self._workers += change
            if span_id in self._outline.short:
                own = self.own.get(span_id, 0)
                self.own[span_id] = own - change * self._one_share

    def pass_by(self, ns: int) -> None:
        """Let time pass in which nothing changes."""
        counted = semconv.WORKING if self._workers else semconv.WAITING
        of = self._workers or sum(self._leaves.values())
        for key, spans in self._leaves.items():
            if spans and key[0] == counted:
                self._tally.share(key, ns * spans, of)
        if self._workers:
            # Rounded up, so that three thirds are one.
            self._one_share += -(-(ns << SCALE_BITS) // self._workers)
