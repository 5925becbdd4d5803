"""One superstep: the tasks that LangGraph planned together, and the barrier that they wait at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from ... import runs, semconv
from ...lifecycle import outcomes, spans, waits
from ...lifecycle.spans import GAP_NS, Operation
from ...queue import tasks
from ...redaction import Clean
from ...semconv import Attr, Metric
from .nodes import RunFacts, TaskRecord
from .reader import Hold, outside
from .running import Attempt, stand_in

# Why 4 and 2 microseconds: Jaeger's critical path follows the child that ends last, and stores
# whole microseconds. See docs/architecture.md, "Jaeger's critical path".
_AFTER_LAST_NODE_NS: Final = 4_000
_BEFORE_STRAGGLER_NS: Final = 2_000

_PUSH: Final = "__pregel_push"


class Superstep:
    """The tasks of a superstep.

    Attributes:
        span: its own span; None for steps that are not shown, such as an agent's.
        barrier_ns: the end of its last node, once that is over.
    """

    def __init__(
        self,
        run: RunFacts,
        span: Operation | None,
        owner: Operation,
        app_id: Callable[[Any], str | None],
    ) -> None:
        self.span = span
        self.barrier_ns = 0
        self._run = run
        self._owner = owner
        self._app_id = app_id
        self._records: dict[str, TaskRecord] = {}
        self._straggler: TaskRecord | None = None

    def open(self, planned: list[Any]) -> None:
        """Open the tasks; a single plain node has no task span, just its node's."""
        alone = len(planned) == 1 and planned[0].path[0] != _PUSH
        for task in planned:
            self.add(task, alone=alone)

    def add(self, task: Any, *, alone: bool = False) -> None:
        """Open a task."""
        app_id = self.app_id_of(task, self._app_id)
        scheduled_ns = spans.now_ns()
        plan = self._plan_of(app_id, scheduled_ns)
        parent = self._owner.context
        container = None
        if self.span is not None and not alone:
            container = self._start_task(task, parent, app_id, plan, scheduled_ns)
        record = TaskRecord(
            self._run,
            task,
            scheduled_ns=scheduled_ns,
            parent=parent,
            owner=container or self._owner,
            container=container,
            app_id=app_id,
            plan=plan,
        )
        self._take(task, record)

    def push(self, caller: Any, task: Any) -> None:
        """Open the task of a `@task` call; runs in the calling node's thread or asyncio task."""
        if task.id in self._records:  # the caller was retried, its call is already under way
            return
        parent = otel_context.get_current()
        if runs.run_id_of(parent) != self._run.run_id:
            above = self._records.get(caller.id)
            parent = above.node.context if above and above.node else self._owner.context
        app_id = self.app_id_of(task, self._app_id)
        now_ns = spans.now_ns()
        container = None
        if self.span is not None:
            container = self._start_task(task, parent, app_id, None, now_ns)
        record = TaskRecord(
            self._run,
            task,
            scheduled_ns=now_ns,
            parent=parent,
            owner=container or self._owner,
            container=container,
            app_id=app_id,
        )
        record.is_pushed = True
        self._take(task, record)

    def barrier(self, error: BaseException | None = None) -> int:
        """End the tasks; the straggler last, so that critical paths find it. Returns when."""
        records = list(self._records.values())
        for record in records:
            record.settle()
        here = [record for record in records if not record.is_pushed]
        straggler = max(here, key=lambda record: record.ended_ns, default=None)
        last_ns = straggler.ended_ns if straggler else 0
        # Where it broke off before any node had run, a result that was there before is no end.
        is_over = straggler is not None and (straggler.attempts > 0 or error is None)
        end_ns = last_ns + _AFTER_LAST_NODE_NS if last_ns and is_over else spans.now_ns()
        # An error handler's task may have been opened after the last node's end.
        opened_ns = max((record.scheduled_ns for record in here), default=0)
        end_ns = max(end_ns, opened_ns + _AFTER_LAST_NODE_NS)
        self.barrier_ns, self._straggler = end_ns, straggler
        waited_for = straggler.label if straggler and last_ns else None
        for record in records:
            if record.is_pushed and record.ended_ns:
                record.close(record.ended_ns, error)
            elif record is not straggler:
                record.close(
                    end_ns - _BEFORE_STRAGGLER_NS,
                    error,
                    waited_for=None if record.is_pushed else waited_for,
                )
        if straggler is not None:
            straggler.close(end_ns, error)
        for record in records:
            record.forget()
        self._note_holds(here)
        return end_ns

    def note_held(self, held: Mapping[str, int]) -> None:
        """Record the application's tasks that could have started before the barrier."""
        straggler = self._straggler
        for task_id, since_ns in sorted(held.items()):
            waits.record(
                semconv.HELD,
                max(since_ns, self._owner.start_ns),
                self.barrier_ns - _BEFORE_STRAGGLER_NS,
                parent=self._owner,
                on=straggler.label if straggler else None,
                attributes={Attr.TASK_ID: task_id},
            )

    @staticmethod
    def app_id_of(task: Any, read: Callable[[Any], str | None]) -> str | None:
        """Return the id of the application's task that a LangGraph task works for."""
        return read(task.input) if task.path[0] == _PUSH else None

    @property
    def interrupt(self) -> BaseException | None:
        """The interrupt that one of its nodes ended with."""
        for record in list(self._records.values()):
            if (
                record.error is not None
                and outcomes.outcome_of(record.error) == semconv.INTERRUPTED
            ):
                return record.error
        return None

    def _note_holds(self, here: list[TaskRecord]) -> None:
        if self._run.reader is None or not (holds := self._run.reader.take()):
            return
        started = [record.started_ns for record in here if record.started_ns]
        first_ns = min(started, default=self.barrier_ns)
        overlap_ns = 0
        for hold in holds:
            parts = outside(hold, first_ns, self.barrier_ns + GAP_NS)
            for since_ns, until_ns in parts:
                # Before the first node it is in the way of each task, and told there.
                if since_ns >= self.barrier_ns or self.span is None:
                    waits.record(
                        semconv.CONSUMER, since_ns, until_ns, parent=self._owner, on=semconv.READER
                    )
            overlap_ns += _length(hold) - sum(map(_length, parts))
        if overlap_ns > 0 and self.span is not None:
            self.span.span.set_attribute(Attr.CONSUMER_OVERLAP, overlap_ns / 1e9)

    def _plan_of(self, app_id: str | None, scheduled_ns: int) -> tasks.Plan | None:
        if app_id is None or (board := self._run.board()) is None:
            return None
        plan = board.scheduled(app_id, scheduled_ns)
        if plan is not None:
            context = self._owner.context
            waits.measure(semconv.DEPENDENCY, plan.dependency_ns, context)
            waits.measure(semconv.CYCLE, plan.cycle_ns, context)
        return plan

    def _start_task(
        self, task: Any, parent: Context, app_id: str | None, plan: tasks.Plan | None, at_ns: int
    ) -> Operation:
        values: dict[str, AttributeValue] = {
            Attr.TASK_NAME: task.name,
            Attr.GRAPH_TASK_ID: Clean(task.id),
        }
        if plan is not None:
            values.update(plan.attributes())
        if app_id is not None:
            values[Attr.TASK_ID] = app_id
        return spans.start(
            f"{semconv.TASK} {task.name}",
            state=semconv.CONTAINER,
            parent=parent,
            attributes=values,
            start_ns=at_ns,
            metric=Metric.TASK_DURATION,
            measured={Attr.TASK_NAME: task.name, **self._run.measured},
        )

    def _take(self, task: Any, record: TaskRecord) -> None:
        self._records[task.id] = record
        stand_in(task, partial(Attempt, record, record.context))


def _length(hold: Hold) -> int:
    return hold[1] - hold[0]
