"""What goes on in a run right now, kept up to date from spans as they come in.

A run file notes open spans within half a second, and waits only once they are over. So a wait that
goes on is told from what is missing: a task none of whose nodes has started waits for a slot, one
whose node has ended is held by those that still run, or tried again if it failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from .. import semconv
from ..model import GaugePoint, Span
from ..semconv import Attr
from .calls import is_call
from .queue import QueuePoint, queue_points
from .roots import is_root

MINUTE_NS: Final = 60_000_000_000
_LATENCIES: Final = 50
_POINTS: Final = 600


@dataclass(frozen=True, slots=True)
class Doing:
    """What one task does now, or a node that is no task's.

    Attributes:
        who: the task's id, else the node's name.
        what: the span that is open, or the wait that goes on.
        state: `working` or `waiting`.
        on: for whom it waits.
        since_ns: since when it does this.
        started_ns: since when the task is there.
    """

    who: str
    what: str
    state: str
    on: tuple[str, ...]
    since_ns: int
    started_ns: int


@dataclass(frozen=True, slots=True)
class Now:
    """What goes on at an instant.

    Attributes:
        name: of the graph.
        started_ns: when the run started; 0 if that is not known yet.
        ended_ns, outcome: of the run, once it has ended.
        loop, superstep: the indices of those that go on, as their spans have them.
        doing: what each task does, those that work first, then the longest.
        queue: how the task queue changed, oldest first.
        llm_in_flight: LLM calls that are open.
        llm_last_minute, tokens_last_minute, git_last_minute: ended in the last minute.
        llm_median_ns: of the last LLM calls; None before the first.
        errors: how many spans failed, without those that only passed an error on.
    """

    at_ns: int
    name: str
    started_ns: int
    ended_ns: int | None
    outcome: str | None
    loop: int | None
    superstep: int | None
    doing: tuple[Doing, ...]
    queue: tuple[QueuePoint, ...]
    llm_in_flight: int
    llm_last_minute: int
    tokens_last_minute: int
    git_last_minute: int
    llm_median_ns: int | None
    errors: int


@dataclass
class Live:
    """A run in progress. It grows with what is open, not with how long it has gone on."""

    _open: dict[str, Span] = field(default_factory=dict)
    _nodes_of: dict[str, Span] = field(default_factory=dict)
    """By open parent: the last of its nodes that ended."""
    _passed_on: set[str | None] = field(default_factory=set)
    """Ids of spans in which one failed already: if they fail, they only pass that on."""
    _root: Span | None = None
    _queue: deque[QueuePoint] = field(default_factory=lambda: deque(maxlen=_POINTS))
    _llm: deque[tuple[int, int]] = field(default_factory=deque)
    _git: deque[int] = field(default_factory=deque)
    _latencies: deque[int] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    _errors: int = 0

    def add(self, spans: Iterable[Span], points: Iterable[GaugePoint]) -> None:
        """Take in what was written since the last time."""
        spans = tuple(spans)
        # What a span is in is open and noted, or ends in the same batch.
        ids = self._open.keys() | {span.span_id for span in spans}
        self._passed_on |= {s.parent_id for s in spans if s.is_error}
        for span in spans:
            if span.end_ns is None:
                self._open[span.span_id] = span
            else:
                self._end(span, span.end_ns)
            root = self._root
            if is_root(span, ids) if root is None else span.span_id == root.span_id:
                self._root = span
        self._queue.extend(queue_points(points))

    def _end(self, span: Span, end_ns: int) -> None:
        self._open.pop(span.span_id, None)
        self._nodes_of.pop(span.span_id, None)
        self._errors += span.is_error and span.span_id not in self._passed_on
        self._passed_on.discard(span.span_id)
        if span.operation == semconv.NODE and span.parent_id in self._open:
            self._nodes_of[span.parent_id] = span
        elif is_call(span):
            tokens = span.attributes.get(Attr.OUTPUT_TOKENS)
            self._llm.append((end_ns, tokens if isinstance(tokens, int) else 0))
            self._latencies.append(end_ns - span.start_ns)
        elif span.operation == semconv.GIT and not semconv.is_git_part(span.attributes):
            self._git.append(end_ns)

    def now(self, at_ns: int) -> Now:
        """Return what goes on at an instant that is not before what was taken in."""
        while self._llm and self._llm[0][0] < at_ns - MINUTE_NS:
            self._llm.popleft()
        while self._git and self._git[0] < at_ns - MINUTE_NS:
            self._git.popleft()
        root = self._root
        ended = None if root is None else root.end_ns
        latencies = sorted(self._latencies)
        return Now(
            at_ns=at_ns,
            name="" if root is None else root.name.partition(" ")[2],
            started_ns=0 if root is None else root.start_ns,
            ended_ns=ended,
            outcome=None if root is None or ended is None else root.outcome,
            loop=self._index(semconv.LOOP, Attr.LOOP_INDEX),
            superstep=self._index(semconv.SUPERSTEP, Attr.SUPERSTEP_INDEX),
            doing=tuple(sorted(self._doing(), key=_working_first)),
            queue=tuple(self._queue),
            llm_in_flight=sum(map(is_call, self._open.values())),
            llm_last_minute=len(self._llm),
            tokens_last_minute=sum(tokens for _, tokens in self._llm),
            git_last_minute=len(self._git),
            llm_median_ns=latencies[len(latencies) // 2] if latencies else None,
            errors=self._errors,
        )

    def _index(self, operation: str, key: str) -> int | None:
        # Of the outermost graph: a subgraph has turns of its own.
        found = [
            s.attributes.get(key)
            for s in self._open.values()
            if s.operation == operation and not self._is_within(s, semconv.NODE)
        ]
        return max((int(i) for i in found if isinstance(i, int)), default=None)

    def _doing(self) -> Iterator[Doing]:
        children: dict[str, list[Span]] = {}
        for span in self._open.values():
            if span.parent_id is not None:
                children.setdefault(span.parent_id, []).append(span)
        units = [s for s in self._open.values() if s.operation == semconv.TASK]
        of_tasks = {child.span_id for unit in units for child in children.get(unit.span_id, ())}
        units += [
            s
            for s in self._open.values()
            if s.operation == semconv.NODE
            and s.span_id not in of_tasks
            and not self._is_within(s, semconv.NODE)
        ]
        busy = {u.span_id for u in units if u.operation == semconv.NODE or u.span_id in children}
        for unit in units:
            if unit.span_id in busy:
                yield from _leaves(unit, children)
            else:
                yield self._waiting(unit, [u for u in units if u.span_id in busy])

    def _is_within(self, span: Span, operation: str) -> bool:
        above, seen = self._open.get(span.parent_id or ""), set[str]()
        while above is not None and above.span_id not in seen:  # a damaged file may have circles
            seen.add(above.span_id)
            if above.operation == operation:
                return True
            above = self._open.get(above.parent_id or "")
        return False

    def _waiting(self, task: Span, busy: list[Span]) -> Doing:
        node = self._nodes_of.get(task.span_id)
        on = tuple(_who(u) for u in busy if u.parent_id == task.parent_id)
        what, since_ns = semconv.QUEUE, task.start_ns
        if node is not None:
            what, since_ns = semconv.BARRIER, node.end_ns or node.start_ns
            if node.is_error:
                what, on = semconv.RETRY_BACKOFF, ()
        return Doing(_who(task), f"wait {what}", semconv.WAITING, on, since_ns, task.start_ns)


def _leaves(unit: Span, children: dict[str, list[Span]]) -> Iterator[Doing]:
    stack, seen = [unit], set[str]()
    while stack:
        span = stack.pop()
        if span.span_id in seen:  # a damaged file may have circles
            continue
        seen.add(span.span_id)
        # An LLM call says more than the request that it makes.
        below = () if is_call(span) else children.get(span.span_id, ())
        stack.extend(below)
        if not below:
            waits = span.state == semconv.WAITING
            on = span.text(Attr.WAIT_ON)
            yield Doing(
                who=_who(unit),
                what=span.name,
                state=semconv.WAITING if waits else semconv.WORKING,
                on=() if on is None else (on,),
                since_ns=span.start_ns,
                started_ns=unit.start_ns,
            )


def _who(unit: Span) -> str:
    return unit.text(Attr.TASK_ID) or unit.name.partition(" ")[2] or unit.name


def _working_first(doing: Doing) -> tuple[bool, int, str]:
    return doing.state != semconv.WORKING, doing.since_ns, doing.who
