"""One LangGraph task: what happened to it, and the spans that tell of its node's attempts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from ... import semconv
from ...lifecycle import spans, waits
from ...lifecycle.spans import GAP_NS, Operation
from ...queue import tasks
from ...redaction import Clean
from ...semconv import Attr, Metric
from .reader import Reader
from .shape import START

_ERROR: Final = "__error__"
_NO_RESULT: Final = (_ERROR, "__interrupt__")
_TIMED_OUT: Final = "langgraph.errors.NodeTimeoutError"


class Activity:
    """How many nodes of a graph run at once, and how many it were at most."""

    __slots__ = ("_lock", "_running", "peak")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self.peak = 0

    def begins(self) -> None:
        """Count a node that has started."""
        with self._lock:
            self._running += 1
            self.peak = max(self.peak, self._running)

    def ends(self) -> None:
        """Count a node that has ended."""
        with self._lock:
            self._running -= 1


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the tasks of a graph run need to know of it.

    Attributes:
        run_id: the run it belongs to; None when the run could not be opened.
        board: gives the run's queue of application tasks, which the outermost graph's nodes work
            for; None for other graphs, and when the run is over.
        shows_nodes: an agent's nodes have no spans, unless asked for.
        measured: attributes of every duration metric of the run.
        reader: who reads the graph's stream, where that is known.
        activity: how many of its nodes run.
    """

    run_id: str | None
    board: Callable[[], tasks.QueueBoard | None]
    shows_nodes: bool
    measured: Mapping[str, AttributeValue]
    reader: Reader | None
    activity: Activity


class TaskRecord:
    """One LangGraph task and what happened to it; written by the thread that runs its node."""

    __slots__ = (
        "app_id",
        "attempts",
        "container",
        "ended_ns",
        "error",
        "has_slot",
        "is_pushed",
        "name",
        "node",
        "owner",
        "parent",
        "plan",
        "run",
        "scheduled_ns",
        "started_ns",
        "task",
        "task_id",
        "was_restored",
    )

    def __init__(
        self,
        run: RunFacts,
        task: Any,
        *,
        scheduled_ns: int,
        parent: Context,
        owner: Operation,
        container: Operation | None = None,
        app_id: str | None = None,
        plan: tasks.Plan | None = None,
    ) -> None:
        self.run = run
        self.task: Any = task  # until the barrier: it holds the stand-in, which holds this
        self.task_id = Clean(task.id)
        self.name: str = task.name
        self.scheduled_ns = scheduled_ns
        self.parent = parent
        self.owner = owner
        self.container = container
        self.app_id = app_id
        self.plan = plan
        self.is_pushed = False
        self.has_slot = False
        self.was_restored = bool(task.writes)
        self.attempts = 0
        self.node: Operation | None = None
        self.started_ns = 0
        self.ended_ns = 0
        self.error: BaseException | None = None

    @property
    def context(self) -> Context:
        """The context to run the node in, before it has a span of its own."""
        return self.container.context if self.container else self.parent

    @property
    def label(self) -> str:
        """What others call it: the application's id of the task, else the node's name."""
        return self.app_id or self.name

    def begin_attempt(self, handed_ns: int | None = None) -> Operation | None:
        """Start the next node span; None if the node is to have none of its own.

        Args:
            handed_ns: when the attempt was handed to a pool of threads, which begins it now.
        """
        self.attempts += 1
        start_ns = spans.now_ns()
        self.started_ns = self.started_ns or start_ns
        if not self._is_shown:
            return None
        if self.attempts > 1:
            self._give_up(handed_ns or start_ns)
            if handed_ns is not None:
                self._waited(semconv.QUEUE, handed_ns, start_ns, semconv.SLOT)
        else:
            self._waited_to_start(start_ns)
        self.error, self.ended_ns = None, 0
        if self.app_id is not None and (board := self.run.board()) is not None:
            board.started(self.app_id, start_ns)
        self.has_slot = True
        self.run.activity.begins()
        self.node = self._start_node(start_ns=start_ns)
        return self.node

    def _give_up(self, start_ns: int) -> None:
        """End the attempt before the one that starts now: what is run again has failed."""
        node = self.node
        if self.ended_ns:
            self._waited(semconv.RETRY_BACKOFF, self.ended_ns + GAP_NS, start_ns, self.name)
        elif node is not None:  # it timed out, and LangGraph does not wait until it has cleaned up
            self._left(asyncio.CancelledError(), start_ns - GAP_NS)
        if node is not None:
            node.end(semconv.ERROR, error_type=_TIMED_OUT, end_ns=self.ended_ns)

    def handed_out(self) -> None:
        """Note that LangGraph has handed out the superstep's tasks, this one among them."""
        if self.run.reader is not None:
            self.run.reader.lets_tasks_go()

    def _waited_to_start(self, start_ns: int) -> None:
        # A reader who held the stream before LangGraph could hand out the superstep's tasks is
        # not a missing slot. (Later holds stop nobody: the tasks are with their executor.)
        since_ns = self.scheduled_ns
        reader = None if self.is_pushed else self.run.reader
        for held_ns, released_ns in reader.holds_before_tasks or () if reader else ():
            if since_ns < released_ns:
                self._waited(semconv.QUEUE, since_ns, held_ns, semconv.SLOT)
                self._waited(semconv.CONSUMER, max(since_ns, held_ns), released_ns, semconv.READER)
                since_ns = released_ns + GAP_NS
        self._waited(semconv.QUEUE, since_ns, start_ns, semconv.SLOT)

    def _waited(self, category: str, since_ns: int, start_ns: int, on: str) -> None:
        waits.record(category, since_ns, start_ns - GAP_NS, parent=self.owner, on=on)

    def end_attempt(self, node: Operation | None, error: BaseException | None) -> None:
        """Note how the attempt whose node span this is ended; LangGraph may retry it."""
        if node is None:
            self.error, self.ended_ns = error, spans.now_ns()
            return
        if node.end_ns:  # LangGraph has gone on without it
            return
        if error is None:
            node.end()
        elif not isinstance(error, asyncio.CancelledError):
            node.fail(error)
        # else it timed out, raised this itself, or is no longer wanted: LangGraph tells later
        self._left(error, node.end_ns or spans.now_ns())
        if self.task is None:
            self._end_left()

    def _end_left(self) -> None:
        if self.node is not None and self.error is not None:
            self.node.fail(self.error, end_ns=self.ended_ns)

    def forget(self) -> None:
        """Let go of what the task was given: it is not kept until Python looks for cycles."""
        self.task = None
        # A thread that left the node since `settle` may have seen the task still, and left it to
        # the barrier to end the span. Each writes first and then looks: one of the two ends it.
        self._end_left()

    def _left(self, error: BaseException | None, end_ns: int) -> None:
        self.ended_ns, self.error = end_ns, error
        self.leave_slot()
        if self.app_id is not None and (board := self.run.board()) is not None:
            board.ended(self.app_id, ok=error is None, at_ns=end_ns)

    def leave_slot(self) -> None:
        """Note that the node takes no slot any more."""
        if self.has_slot:
            self.has_slot = False
            self.run.activity.ends()

    def settle(self) -> None:
        """Tell, at the barrier, what LangGraph has written down of a node that did not return."""
        node = self.node
        if self.attempts == 0 and self._has_result and self._is_shown:
            self.ended_ns = self.scheduled_ns + GAP_NS
            source = {Attr.NODE_SOURCE: "restored" if self.was_restored else "cached"}
            self._start_node(source, self.ended_ns).end(end_ns=self.ended_ns)
        elif node is not None and not node.end_ns:
            for channel, noted in list(self.task.writes):
                if channel == _ERROR and isinstance(noted, BaseException):
                    if not self.ended_ns:  # it is cleaning up, LangGraph does not wait for that
                        self._left(noted, spans.now_ns())
                    self.error = noted
            if self.error is not None:
                node.fail(self.error, end_ns=self.ended_ns)

    def close(
        self, end_ns: int, error: BaseException | None = None, *, waited_for: str | None = None
    ) -> None:
        """End the task's span.

        Args:
            end_ns: the barrier.
            error: why the superstep broke off, if it did.
            waited_for: the sibling that ended last, if that was not this one.
        """
        if waited_for is not None and self.container is not None and self.ended_ns:
            waits.record(
                semconv.BARRIER,
                self.ended_ns + GAP_NS,
                end_ns,
                parent=self.container,
                on=waited_for,
            )
        container = self.container
        if container is None:
            return
        # LangGraph does not wait until a node that it cancels has cleaned up.
        still_runs = self.node is not None and not self.node.end_ns
        if self.attempts and self.error is None and not (still_runs and error is not None):
            container.end(end_ns=end_ns)
        elif self.error is not None:
            container.fail(self.error, end_ns=end_ns)
        elif error is None or self._has_result:
            container.end(end_ns=end_ns)
        else:  # planned, but the superstep broke off before it could start, or while it ran
            container.end(semconv.CANCELLED, end_ns=end_ns)

    @property
    def _has_result(self) -> bool:
        # Writes of a task that never ran come out of the cache or the checkpoint. LangGraph notes
        # the cancellation of a task as a write, too.
        writes: Any = None if self.task is None else self.task.writes
        return bool(writes) and not any(channel in _NO_RESULT for channel, _ in writes)

    @property
    def _is_shown(self) -> bool:
        # LangGraph's own first node only hands the input on.
        return self.run.shows_nodes and self.name != START

    def _start_node(
        self,
        attributes: Mapping[str, AttributeValue] | None = None,
        start_ns: int | None = None,
    ) -> Operation:
        values: dict[str, AttributeValue] = {Attr.NODE_NAME: self.name}
        if self.attempts > 1:
            values[Attr.NODE_ATTEMPT] = self.attempts
        if self.container is None:
            values[Attr.GRAPH_TASK_ID] = self.task_id
        if self.app_id is not None:
            values[Attr.TASK_ID] = self.app_id
        if self.container is None and self.plan is not None:
            values.update(self.plan.attributes())
        values.update(attributes or {})
        return spans.start(
            f"{semconv.NODE} {self.name}",
            state=semconv.WORKING,
            category=semconv.COMPUTE,
            parent=self.context,
            attributes=values,
            start_ns=start_ns,
            metric=Metric.NODE_DURATION,
            measured={Attr.NODE_NAME: self.name, **self.run.measured},
        )
