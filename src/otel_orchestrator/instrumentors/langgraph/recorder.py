"""The spans of one graph run: run, loops, supersteps, and the waits between them.

One `GraphRun` belongs to one LangGraph `PregelLoop`. The choke points call it in this order:

    GraphRun(...)                        the loop is about to be entered
    entered()                            it is: the checkpoint is read
      ticking(...)                       a superstep is about to be planned
      ticked(...)                        it is planned: its tasks are ready
        pushed(...), handled(...)        tasks born inside the superstep
        running.Attempt                  a node runs, in its own thread or asyncio task
      barrier()                          all nodes have ended
      applied(...)                       their writes are applied
    leaving()                            the loop is about to be left
    closed(...)                          it is left, on any way out
    finish(...)                          the reader of the stream has got its last item

Nothing here attaches a context: the loop's own code is suspended at every `yield` of a stream, in
the caller's context. Parents are passed explicitly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.trace import Link
from opentelemetry.util.types import AttributeValue

from ... import interruptions, runs, semconv
from ..._guard import guarded
from ...interruptions import Interruption
from ...lifecycle import spans, waits
from ...lifecycle.spans import GAP_NS, Operation
from ...queue import tasks
from ...queue.fields import TaskFields, task_id_of
from ...semconv import Attr, Metric
from .named_tasks import DEFAULT_KEY, NamedTasks
from .nodes import Activity, RunFacts
from .reader import Reader
from .shape import START, Shape
from .superstep import Superstep

_CHECKPOINTER: Final = "checkpointer"
_METADATA_KEY: Final = "otel_orchestrator_run"
_GRAPH_KEY: Final = otel_context.create_key("otel-orchestrator-graph")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user chose in `instrument(...)`."""

    loop_head: str | Mapping[str, str] | None = None
    agents: frozenset[str] = frozenset()
    agent_steps: bool = False
    tasks_key: str | None = DEFAULT_KEY
    task_fields: TaskFields = field(default_factory=TaskFields)
    named_tasks: NamedTasks | None = None
    runs_in_checkpoints: bool = False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How a graph is run this time.

    Attributes:
        conversation_id: LangGraph's thread id.
        concurrency_limit: `max_concurrency`.
        has_checkpointer: waits between supersteps are for it.
        is_resumed: it goes on where another run was interrupted.
        links: to the run that was interrupted, if that is known.
        reader: who reads the graph's stream.
    """

    conversation_id: str | None
    concurrency_limit: int | None
    has_checkpointer: bool
    is_resumed: bool
    links: list[Link]
    reader: Reader | None


class GraphRun:
    """The open spans of one run of one graph, of which somebody is told."""

    def __init__(
        self, operation: Operation, shape: Shape, settings: Settings, this_time: Circumstances
    ) -> None:
        self._shape = shape
        self._settings = settings
        self._has_checkpointer = this_time.has_checkpointer
        self._resumes_unknown_run = this_time.is_resumed and not this_time.links
        is_outermost = otel_context.get_value(_GRAPH_KEY) is None
        self._operation = operation
        operation.context = otel_context.set_value(_GRAPH_KEY, shape.name, operation.context)
        self.run_id = runs.run_id_of(operation.context)
        self._loop: Operation | None = None
        self._loop_index = -1
        self._head = shape.head
        self._names_seen: set[str] = set()
        self._step: Superstep | None = None
        self._last_end_ns = self._leaving_ns = operation.start_ns
        self._measured: Mapping[str, AttributeValue] = {Attr.WORKFLOW_NAME: shape.name}
        self._shows_nodes = settings.agent_steps or not shape.is_agent
        self._reader = this_time.reader
        self._activity = Activity()
        self._has_tasks = self.run_id is not None and is_outermost
        self._owner = object()  # of the tasks in its state
        # Looked up each time: a board is dropped when its run is over.
        self._board = partial(tasks.find_board, self.run_id) if self._has_tasks else lambda: None
        self._facts = RunFacts(
            self.run_id,
            self._board,
            self._shows_nodes,
            self._measured,
            self._reader,
            self._activity,
        )
        self._app_id = self._app_id_of if self._shows_nodes else lambda _: None
        self._ended_as: tuple[BaseException | None, str | None] = (None, None)
        self.on_finish: Callable[[GraphRun], None] | None = None
        if self._reader is not None:
            self._reader.follow_for(self)
        if self._has_tasks:
            tasks.open_board(self.run_id)

    @property
    def known_by(self) -> str:
        """What tells the graph from others."""
        return self._shape.known_by

    @property
    def operation(self) -> Operation:
        """The run's own span."""
        return self._operation

    # --- called by the choke points, on the loop's thread unless said otherwise ---

    def entered(self, loop: Any) -> None:
        """Note that LangGraph has read the checkpoint it starts from."""
        self._waited_for_checkpointer(spans.now_ns(), self._operation)
        if not self._settings.runs_in_checkpoints or loop.is_nested or not self._has_checkpointer:
            return
        if self._resumes_unknown_run:
            at_ns = datetime.fromisoformat(loop.checkpoint["ts"]).timestamp() * 1e9
            written = (loop.checkpoint_metadata or {}).get(_METADATA_KEY)
            interruption = Interruption.from_text(written, int(at_ns))
            if interruption is not None:
                self._operation.span.add_link(interruption.span_context)
                interruptions.waited(interruption, self._operation.start_ns)
        # Only for the checkpoints from here on: the user's own metadata stays as it is.
        if (me := self.as_interruption(0)) is not None:
            config = loop.checkpoint_config
            metadata = {**config.get("metadata", {}), _METADATA_KEY: me.to_text()}
            loop.checkpoint_config = {**config, "metadata": metadata}

    def as_interruption(self, at_ns: int) -> Interruption | None:
        """Return what is to be known of this run when another resumes it."""
        context = self._operation.span.get_span_context()
        if not context.is_valid or self.run_id is None:
            return None
        sampled = context.trace_flags.sampled
        return Interruption(context.trace_id, context.span_id, sampled, self.run_id, at_ns)

    def ticking(self, planning_ns: int) -> None:
        """Note that the loop has come to plan the next superstep, if there is one."""
        self._waited_for_checkpointer(planning_ns, self._loop or self._operation)

    def ticked(self, loop: Any, planning_ns: int) -> None:
        """Open a superstep for the tasks that LangGraph has just planned."""
        planned = list(loop.tasks.values())
        hidden = not self._shows_nodes or all(task.name == START for task in planned)
        with guarded("looking at the application's tasks"):
            board = tasks.board(self.run_id) if self._has_tasks else None
            if board is not None and not board.sees_nodes(self._owner):
                self._observe_queue(board, loop, planned, None)
        if hidden:
            self._step = Superstep(self._facts, None, self._operation, self._app_id)
        else:
            start_ns = max(planning_ns, self._last_end_ns + GAP_NS)
            self._turn_loop({task.name for task in planned}, start_ns)
            assert self._loop is not None
            span = spans.start(
                semconv.SUPERSTEP,
                state=semconv.CONTAINER,
                parent=self._loop.context,
                attributes={Attr.SUPERSTEP_INDEX: loop.step},
                start_ns=start_ns,
                metric=Metric.SUPERSTEP_DURATION,
                measured=self._measured,
            )
            self._step = Superstep(self._facts, span, span, self._app_id)
        self._step.open(planned)

    def pushed(self, caller: Any, task: Any) -> None:
        """Open the task of a `@task` call; runs in the calling node's thread or asyncio task."""
        if self._step is not None:
            self._step.push(caller, task)

    def handled(self, task: Any) -> None:
        """Open the task of an error handler, born in the superstep of the node that failed."""
        if self._step is not None:
            self._step.add(task)

    def barrier(self, error: BaseException | None = None) -> None:
        """End the tasks of the superstep."""
        if self._step is not None:
            self._last_end_ns = max(self._last_end_ns, self._step.barrier(error))

    def applied(self, loop: Any, error: BaseException | None = None) -> None:
        """End the superstep: its writes are applied, or applying them failed."""
        step, self._step = self._step, None
        if step is None:
            return
        with guarded("looking at the application's tasks"):
            self._note_held(loop, step)
        end_ns = max(spans.now_ns(), self._last_end_ns + GAP_NS)
        if step.span is not None:
            _finish(step.span, error, end_ns)
        self._last_end_ns = end_ns

    @property
    def interrupt(self) -> BaseException | None:
        """The interrupt that a node of the superstep under way ended with."""
        return None if self._step is None else self._step.interrupt

    def leaving(self) -> None:
        """Note that LangGraph begins to leave its loop: it waits for nodes and checkpoints."""
        self._leaving_ns = spans.now_ns()

    def closed(
        self,
        loop: Any,
        error: BaseException | None,
        *,
        error_type: str | None = None,
        is_over: bool = False,
    ) -> None:
        """End everything but the run itself, whose stream may still have items to give.

        Args:
            loop: LangGraph's.
            error: why it was left, if not because the graph is done.
            error_type: an error that LangGraph has yet to raise.
            is_over: end the run, too: nobody will tell of its stream's end.
        """
        self._ended_as = (error, error_type)
        # Whatever a span processor of the user's raises: the board is closed, and the run ends.
        try:
            self._close_loop(loop, error, error_type)
        finally:
            try:
                self._close_board()
            finally:
                if self._reader is None or self._reader.run is not self:
                    self.finish(None)
                elif is_over:
                    self._reader.finish(None)

    def _close_loop(self, loop: Any, error: BaseException | None, error_type: str | None) -> None:
        if self._step is not None:
            self.barrier(error)
            self.applied(loop, error)
        now_ns = spans.now_ns()
        if self._loop is not None:
            end_ns = max(min(self._leaving_ns, now_ns), self._last_end_ns + GAP_NS)
            _finish(self._loop, error, end_ns, error_type)
            self._loop = None
            self._last_end_ns = end_ns
        self._last_end_ns = max(self._leaving_ns, self._last_end_ns)
        self._waited_for_checkpointer(now_ns, self._operation)
        self._last_end_ns = max(now_ns, self._last_end_ns)

    def _close_board(self) -> None:
        if self._has_tasks:
            tasks.close_board(self.run_id)
            if (board := self._board()) is not None:
                board.forget(self._owner)  # other graphs of this run have tasks of their own

    def finish(self, error: BaseException | None) -> None:
        """End the run: its reader has got the last item, or wants no more."""
        for held_ns, released_ns in self._reader.take() if self._reader else ():
            since_ns = max(held_ns, self._last_end_ns + GAP_NS)
            waits.record(
                semconv.CONSUMER, since_ns, released_ns, parent=self._operation, on=semconv.READER
            )
            self._last_end_ns = max(self._last_end_ns, released_ns)
        first_error, error_type = self._ended_as
        if first_error is None and not isinstance(error, GeneratorExit):
            first_error = error  # the graph was done when a reader wanted no more
        self._operation.span.set_attribute(Attr.CONCURRENCY_PEAK, self._activity.peak)
        end_ns = max(spans.now_ns(), self._last_end_ns + 2 * GAP_NS)
        _finish(self._operation, first_error, end_ns, error_type)
        if self.on_finish is not None:
            self.on_finish(self)

    # --- inner workings ---

    def _waited_for_checkpointer(self, end_ns: int, parent: Operation) -> None:
        if self._has_checkpointer:
            start_ns = self._last_end_ns + GAP_NS
            waits.record(
                semconv.CHECKPOINT, start_ns, end_ns - GAP_NS, parent=parent, on=_CHECKPOINTER
            )
        self._last_end_ns = max(self._last_end_ns, end_ns - GAP_NS)

    def _turn_loop(self, names: set[str], start_ns: int) -> None:
        if self._head is None and (again := sorted(names & self._names_seen)):
            # The graph's edges told of no cycle: it turns at the first node that runs again.
            self._head = again[0]
        self._names_seen |= names
        if self._loop is not None:
            if self._head not in names:
                return
            self._loop.end(end_ns=start_ns - GAP_NS)
        self._loop_index += 1
        values: dict[str, AttributeValue] = {Attr.LOOP_INDEX: self._loop_index}
        if self._head is not None:
            values[Attr.LOOP_HEAD] = self._head
        self._loop = spans.start(
            semconv.LOOP,
            state=semconv.CONTAINER,
            parent=self._operation.context,
            attributes=values,
            start_ns=start_ns,
            metric=Metric.LOOP_DURATION,
            measured=self._measured,
        )

    # --- the application's tasks, which the outermost graph's state holds ---

    def _note_held(self, loop: Any, step: Superstep) -> None:
        # The state says now which tasks are done; those that could have started before the
        # barrier were held by it.
        if (board := self._board()) is None or not board.sees_nodes(self._owner):
            return
        self._observe_queue(board, loop, [], step.barrier_ns)
        step.note_held(board.passed_barrier(step.barrier_ns, self._owner))

    def _app_id_of(self, argument: Any) -> str | None:
        board = self._board()
        is_known = board.knows if board is not None else lambda _: False
        return task_id_of(argument, self._settings.task_fields, is_known)

    def _observe_queue(
        self, board: tasks.QueueBoard, loop: Any, planned: list[Any], at_ns: int | None
    ) -> None:
        if (key := self._settings.tasks_key) is None:
            return
        channel, has_tasks = loop.channels.get(key), False
        if channel is not None and channel.is_available():
            has_tasks = board.observe(
                channel.get(),
                self._settings.task_fields,
                owner=self._owner,
                sees_nodes=lambda: any(Superstep.app_id_of(t, self._app_id) for t in planned),
                at_ns=at_ns,
            )
        if (named := self._settings.named_tasks) is not None and not self._shape.is_agent:
            named.looked_at(self._shape.name, loop.channels, has_tasks=has_tasks)


def start_run(shape: Shape, this_time: Circumstances) -> Operation:
    """Start the span of a graph run."""
    operation = semconv.INVOKE_AGENT if shape.is_agent else semconv.INVOKE_WORKFLOW
    name_key = Attr.AGENT_NAME if shape.is_agent else Attr.WORKFLOW_NAME
    values: dict[str, AttributeValue] = {Attr.OPERATION: operation, name_key: shape.name}
    if this_time.conversation_id is not None:
        values[Attr.CONVERSATION_ID] = this_time.conversation_id
    if this_time.concurrency_limit is not None:
        values[Attr.CONCURRENCY_LIMIT] = this_time.concurrency_limit
    if this_time.is_resumed:
        values[Attr.RESUMED] = True
    return spans.start_run(
        f"{operation} {shape.name}",
        # An agent works: it shows no structure of its own, just its calls.
        state=semconv.WORKING if shape.is_agent else semconv.CONTAINER,
        category=semconv.COMPUTE if shape.is_agent else None,
        attributes=values,
        links=this_time.links,
        metric=Metric.AGENT_DURATION if shape.is_agent else Metric.WORKFLOW_DURATION,
        measured={Attr.OPERATION: operation, name_key: shape.name},
    )


def _finish(
    operation: Operation,
    error: BaseException | None,
    end_ns: int,
    error_type: str | None = None,
) -> None:
    if error is not None:
        operation.fail(error, end_ns=end_ns)
    elif error_type is not None:
        operation.end(semconv.ERROR, error_type=error_type, end_ns=end_ns)
    else:
        operation.end(end_ns=end_ns)
