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
from operator import itemgetter
from typing import Final, NamedTuple

from ... import semconv
from ..calls import calls_of
from ..clip import Key, Ran
from ..did import Did
from ..intervals import Interval
from ..jobs import Job
from ..outline import Outline
from ..tally import SCALE_BITS, Breakdown, Tally

_NONE: Final[frozenset[str]] = frozenset()

Running = tuple[int, int, Ran]
"""From, to, and what runs."""


def exclusive(
    outline: Outline, top: Ran, window: Interval, without: frozenset[str] = _NONE
) -> Breakdown:
    """Break an interval of a span down into exclusive categories: O(n log n) in what is below.

    Args:
        outline: the run; what is found out of whole nodes is kept there, because each view asks.
        top: the span; it runs for the whole of the window.
        window: the interval.
        without: ids of tasks and nodes to leave out, with all that is below them.
    """
    start, end = max(top.start_ns, window[0]), min(top.end_ns, window[1])
    return added_up(outline, [(start, end, top)], without).breakdown()


def added_up(
    outline: Outline, one_by_one: Iterable[Running], without: frozenset[str] = _NONE
) -> Tally:
    """Add up what spans, each cut to an interval, and everything below them did.

    Args:
        outline, without: as above.
        one_by_one: the spans, no two of which run at once.
    """
    tally = Tally()
    for running in one_by_one:
        if running[0] < running[1]:
            _add_up(outline, tally, running, without)
    for ran, scaled in tally.own.items():
        take_short_waits(tally, ran, scaled >> SCALE_BITS)
    tally.own.clear()
    return tally


def did(outline: Outline, job: Job) -> Did:
    """Add up what a job did; once, because all that follows asks for it."""
    known = outline.did.get(job.span_id)
    if known is None:
        strangers = outline.not_of(job)
        known = outline.did[job.span_id] = Did(
            served=exclusive(outline, job.top, job.busy, strangers),
            scheduled=exclusive(outline, job.top, (job.scheduled_ns, job.barrier_ns), strangers),
            calls=calls_of(outline.inside(job)),
        )
    return known


def take_short_waits(tally: Tally, ran: Ran, own_ns: int) -> None:
    """Take the waits without a span of their own out of what their span did itself."""
    left = own_ns
    for category, ns in ran.short:
        taken = min(ns, left)
        tally.move(ran.key, (semconv.WAITING, category), taken)
        left -= taken


def _add_up(outline: Outline, tally: Tally, top: Running, without: frozenset[str]) -> None:
    """Add up what a span, cut to an interval, and everything below it did."""
    stack = [top]
    while stack:
        running = start, end, ran = stack.pop()
        if ran.span.operation == semconv.NODE and ran.interval == (start, end):
            tally.merge(_whole(outline, ran))
            continue
        _add_one(tally, running, stack, without)


def _whole(outline: Outline, node: Ran) -> Tally:
    """Return what a node and everything below it did in all of its time."""
    known = outline.known.get(node)
    if known is None:
        known = outline.known[node] = Tally()
        stack = [(node.start_ns, node.end_ns, node)]
        while stack:
            _add_one(known, stack.pop(), stack, _NONE)
    return known


def _add_one(tally: Tally, running: Running, stack: list[Running], without: frozenset[str]) -> None:
    """Add up what a span did itself, and leave its children to be done, or sweep over them."""
    start, end, ran = running
    own = end - start
    if ran.inside:
        parts = _cut(ran.inside, start, end, without)
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
                    _sweep(tally, cluster, without)
    if own:
        tally.add(ran.key, own)
        if ran.short and ran.key[0] == semconv.WORKING:
            tally.did(ran, own << SCALE_BITS)


def _cut(
    children: Iterable[Ran], earliest: int, latest: int, without: frozenset[str]
) -> list[Running]:
    """Return the children that run in a window, by their start."""
    parts = []
    for child in children:
        start, end = child.start_ns, child.end_ns
        start = start if start > earliest else earliest
        end = end if end < latest else latest
        if start < end and not (without and child.span.span_id in without):
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


def _sweep(tally: Tally, cluster: list[Running], without: frozenset[str]) -> None:
    """Add up what spans that overlap, and everything below them, did."""
    sweep = _Sweep(tally)
    at_ns = cluster[0][0]
    for change in sorted(_changes(cluster, without), key=itemgetter(0)):
        if change.at_ns > at_ns:
            sweep.pass_by(change.at_ns - at_ns)
            at_ns = change.at_ns
        sweep.apply(change)
    for ran, scaled in sweep.own.items():
        tally.did(ran, scaled)


class _Change(NamedTuple):
    """A span starts or ends. Its parent is the one in the tree, which an orphan does not name."""

    at_ns: int
    is_start: bool
    ran: Ran
    parent: Ran | None


def _changes(cluster: Iterable[Running], without: frozenset[str]) -> Iterator[_Change]:
    stack: list[tuple[Running, Ran | None]] = [(part, None) for part in cluster]
    while stack:
        (start, end, ran), parent = stack.pop()
        yield _Change(start, True, ran, parent)
        yield _Change(end, False, ran, parent)
        if ran.inside:
            stack.extend([(part, ran) for part in _cut(ran.inside, start, end, without)])


class _Sweep:
    """What runs at the instant that the sweep has come to."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._running: set[Ran] = set()
        self._children: dict[Ran, int] = {}
        self._leaves: dict[Key, int] = {}
        self._workers = 0
        # Scaled nanoseconds that one working leaf would have got since the beginning.
        self._one_share = 0
        self.own: dict[Ran, int] = {}

    def apply(self, change: _Change) -> None:
        """Start or end a span; at one instant, in any order."""
        self._toggle(change.ran, change.is_start)
        parent = change.parent
        if parent is None:
            return
        before = self._children.get(parent, 0)
        after = before + (1 if change.is_start else -1)
        self._children[parent] = after
        if parent in self._running and (before == 0) != (after == 0):
            self._set_leaf(parent, after == 0)

    def _toggle(self, ran: Ran, is_start: bool) -> None:
        if self._children.get(ran, 0) == 0:
            self._set_leaf(ran, is_start)
        if is_start:
            self._running.add(ran)
        else:
            self._running.discard(ran)

    def _set_leaf(self, ran: Ran, is_leaf: bool) -> None:
        key = ran.key
        change = 1 if is_leaf else -1
        self._leaves[key] = self._leaves.get(key, 0) + change
        if key[0] == semconv.WORKING:
            self._workers += change
            if ran.short:
                self.own[ran] = self.own.get(ran, 0) - change * self._one_share

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
