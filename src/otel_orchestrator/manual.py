"""Spans by hand, for orchestrators or parts of them that are not LangGraph.

Each of these is a context manager and a decorator, for functions, coroutine functions, generator
functions and async generator functions:

    with run("nightly"):
        with loop():
            with node("director"):
                plan()

    @task("worker")
    async def work(item): ...

As a context manager each gives the `Operation`, whose `span` takes attributes of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from itertools import count
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind

from . import messages, runs, semconv
from ._guard import guarded
from .lifecycle import spans, waits, wrapping
from .lifecycle.spans import Operation
from .llm import chat, responses
from .queue import tasks
from .queue.fields import TaskFields, as_id, task_id_of
from .semconv import Attr, Metric

P = ParamSpec("P")
R = TypeVar("R")

_LOOPS_KEY: Final = otel_context.create_key("otel-orchestrator-loops")
_WORK_KEY: Final = otel_context.create_key("otel-orchestrator-work")


class Traced:
    """A span to be: enter it with `with`, or put it on a function with `@`.

    One object may be entered many times, also at once: each entry is a span of its own.
    """

    __slots__ = ("_begin", "_entered")

    def __init__(self, begin: Callable[[], Operation]) -> None:
        self._begin = begin
        self._entered: list[Operation] = []

    def __enter__(self) -> Operation:
        operation = wrapping.begun(self._begin, (), {}) or spans.nothing()
        self._entered.append(operation)
        return operation.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with guarded("leaving a span"):
            # Entered from several tasks at once, the one to leave is the one that is current.
            current = otel_context.get_current()
            mine = next((o for o in reversed(self._entered) if o.context is current), None)
            operation = mine or self._entered[-1]
            self._entered.remove(operation)
            operation.__exit__(exc_type, exc, tb)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return `function` with a span around each of its calls."""
        return wrapping.wrap(function, lambda *_, **__: self._begin())


def run(
    name: str, *, conversation_id: str | None = None, concurrency_limit: int | None = None
) -> Traced:
    """Trace a whole run; inside another run, a workflow that belongs to it.

    Args:
        name: the workflow's name, low in cardinality.
        conversation_id: the thread or conversation that this run continues.
        concurrency_limit: how many tasks may be worked on at once, if there is a limit.
    """
    attributes: dict[str, Any] = {
        Attr.OPERATION: semconv.INVOKE_WORKFLOW,
        Attr.WORKFLOW_NAME: name,
    }
    measured = dict(attributes)
    if conversation_id is not None:
        attributes[Attr.CONVERSATION_ID] = conversation_id
    if concurrency_limit is not None:
        attributes[Attr.CONCURRENCY_LIMIT] = concurrency_limit

    def begin() -> Operation:
        operation = spans.start_run(
            f"{semconv.INVOKE_WORKFLOW} {name}",
            state=semconv.CONTAINER,
            attributes=attributes,
            metric=Metric.WORKFLOW_DURATION,
            measured=measured,
        )
        # First how it ends, here and below: whatever fails between, its end is told.
        operation.on_end = lambda ended: tasks.close_board(runs.run_id_of(ended.context))
        with guarded("opening a run"):
            operation.context = otel_context.set_value(_LOOPS_KEY, count(), operation.context)
            tasks.open_board(runs.run_id_of(operation.context))
        return operation

    return Traced(begin)


def loop(index: int | None = None) -> Traced:
    """Trace one turn of the cycle; numbered from 0 within its run, unless `index` is given."""

    def begin() -> Operation:
        counter = otel_context.get_value(_LOOPS_KEY)
        number = next(counter) if index is None and isinstance(counter, count) else index or 0
        return spans.start(
            semconv.LOOP,
            state=semconv.CONTAINER,
            attributes={Attr.LOOP_INDEX: number},
            metric=Metric.LOOP_DURATION,
        )

    return Traced(begin)


def node(name: str) -> Traced:
    """Trace a step of the graph: a director, a worker, a strategist."""
    return _traced(
        f"{semconv.NODE} {name}",
        state=semconv.WORKING,
        category=semconv.COMPUTE,
        attributes={Attr.NODE_NAME: name},
        metric=Metric.NODE_DURATION,
        measured={Attr.NODE_NAME: name},
    )


def task(
    name: str,
    item: MutableMapping[str, Any] | str | None = None,
    *,
    carrier: Mapping[str, str] | None = None,
    write_timing: bool = False,
    fields: TaskFields | None = None,
) -> Traced:
    """Trace the work on one of the application's tasks.

    Args:
        name: what kind of task, low in cardinality.
        item: the application's task dict, or its id.
        carrier: what `inject()` gave when the task was sent here. Then it belongs to the run of
            who sent it, in whatever process that is, and starts with the `wait queue` until now.
        write_timing: write `started_at` (ISO 8601, UTC) and `duration_seconds` into the dict.
        fields: how to read the dict.

    Example:
        >>> job = {"id": "fix-1"}
        >>> with task("worker", job, write_timing=True):
        ...     pass
        >>> sorted(job)
        ['duration_seconds', 'id', 'started_at']
    """
    if write_timing and not isinstance(item, MutableMapping):
        raise TypeError("task(write_timing=True) needs the task's dict as its second argument")
    attributes: dict[str, Any] = {Attr.TASK_NAME: name}
    task_id: str | None = None
    with guarded("reading a task id"):
        task_id = as_id(item)
    if task_id is None:
        task_id = task_id_of(item, fields or TaskFields())
    if task_id is not None:
        attributes[Attr.TASK_ID] = task_id

    def begin() -> Operation:
        message = None if carrier is None else messages.read(carrier)
        operation = spans.start(
            f"{semconv.TASK} {name}",
            state=semconv.CONTAINER,
            kind=SpanKind.INTERNAL if message is None else SpanKind.CONSUMER,
            parent=None if message is None else message.context,
            attributes=attributes,
            start_ns=None if message is None else message.since_ns,
            metric=Metric.TASK_DURATION,
            measured={Attr.TASK_NAME: name},
        )
        started_ns = operation.start_ns if message is None else message.at_ns
        worker = object()

        def finish(ended: Operation) -> None:
            with guarded("noting that a task is worked on no more"):
                board = tasks.find_board(runs.run_id_of(ended.context))
                if task_id is not None and board is not None:
                    board.ended(task_id, ok=ended.is_ok, at_ns=ended.end_ns, by=worker)
            if write_timing and isinstance(item, MutableMapping):
                item["duration_seconds"] = (ended.end_ns - started_ns) / 1e9

        operation.on_end = finish
        with guarded("noting for how long a task was on its way"):
            if message is not None:
                message.record_wait(operation)
        with guarded("noting that a task is worked on"):
            board = None if task_id is None else tasks.board_of(operation.context)
            if task_id is not None and board is not None:
                _work(operation, board, task_id, worker, started_ns)
        with guarded("writing a task's timing"):
            if write_timing and isinstance(item, MutableMapping):
                started_at = datetime.fromtimestamp(started_ns / 1e9, UTC)
                item["started_at"] = started_at.isoformat()
        return operation

    return Traced(begin)


def _work(
    operation: Operation, board: tasks.QueueBoard, task_id: str, worker: object, started_ns: int
) -> None:
    if (plan := board.scheduled(task_id, operation.start_ns)) is not None:
        operation.set(plan.attributes())
        for category, waited_ns in (
            (semconv.DEPENDENCY, plan.dependency_ns),
            (semconv.HELD, plan.held_ns),
            (semconv.CYCLE, plan.cycle_ns),
        ):
            waits.measure(category, waited_ns, operation.context)
    board.started(task_id, started_ns, by=worker)
    operation.context = otel_context.set_value(_WORK_KEY, (task_id, worker), operation.context)


def wait(category: str, *, on: str | None = None) -> Traced:
    """Trace waiting: for a lock, a rate limiter, a person.

    Args:
        category: what kind of wait, one of a few words.
        on: what it waits for, such as a lock's name.

    A `task` that waits in a `queue` is ready meanwhile, and not active; where parts of it wait at
    once, until the first of them goes on.
    """

    def begin() -> Operation:
        operation = spans.start(
            f"{semconv.WAIT} {category}",
            state=semconv.WAITING,
            category=category,
            attributes={} if on is None else {Attr.WAIT_ON: on},
            metric=Metric.WAIT_DURATION,
            measured={Attr.CATEGORY: category},
        )
        if category == semconv.QUEUE:
            with guarded("noting that a task waits for a slot"):
                _queue(operation)
        return operation

    return Traced(begin)


def _queue(operation: Operation) -> None:
    work = otel_context.get_value(_WORK_KEY, operation.context)
    board = tasks.find_board(runs.run_id_of(operation.context))
    if isinstance(work, tuple) and board is not None:
        task_id, worker = work
        operation.on_end = lambda ended: board.works(
            task_id, by=worker, now=True, at_ns=ended.end_ns
        )
        board.works(task_id, by=worker, now=False, at_ns=operation.start_ns)


def tool_call(name: str, *, call_id: str | None = None) -> Traced:
    """Trace one call of a tool."""
    attributes: dict[str, Any] = {Attr.OPERATION: semconv.EXECUTE_TOOL, Attr.TOOL_NAME: name}
    measured = dict(attributes)
    if call_id is not None:
        attributes[Attr.TOOL_CALL_ID] = call_id
    return _traced(
        f"{semconv.EXECUTE_TOOL} {name}",
        state=semconv.WORKING,
        category=semconv.TOOL,
        attributes=attributes,
        metric=Metric.TOOL_DURATION,
        measured=measured,
    )


def llm_call(model: str, *, provider: str | None = None) -> Traced:
    """Trace one logical LLM call with all its retries; say its tokens with `record_usage`.

    A call of an instrumented client to this model inside of it is a part of it, and no second
    span: its attempts, its tokens and the time to its first chunk are found here.

    Example:
        >>> with llm_call("gpt-4o", provider="openai") as call:
        ...     record_usage(call, input_tokens=812, output_tokens=64)
    """
    return Traced(lambda: chat.begin(model, provider))


def record_usage(
    call: Operation, *, input_tokens: int | None = None, output_tokens: int | None = None
) -> None:
    """Note the tokens of an LLM call, on its span and in `gen_ai.client.token.usage`.

    What is said here counts; what an instrumented client inside of the call tells does not then.
    """
    with guarded("recording token usage"):
        if isinstance(call, chat.ChatCall):
            for key, value in (
                (Attr.INPUT_TOKENS, input_tokens),
                (Attr.OUTPUT_TOKENS, output_tokens),
            ):
                if value is not None:
                    call.usage[key] = value


def log_llm_response(task_id: str | None, response: Any, duration_ms: float) -> None:
    """Record an LLM call that is over, for code that measures calls by itself.

    A response that an instrumented client has recorded already is not recorded again.

    Args:
        task_id: the application's task that the call was made for.
        response: what the model answered: of LangChain, the OpenAI or the Anthropic SDK, as an
            object or a dict; or an agent's result with its messages. Tokens, model and finish
            reason are read from it, texts are not.
        duration_ms: how long the call took, up to now.
    """
    with guarded("logging an LLM response"):
        told = responses.read(response)
        if told.ids and all(chat.was_recorded(i) for i in told.ids):
            return
        end_ns = spans.now_ns()
        attributes = {} if task_id is None else {Attr.TASK_ID: str(task_id)}
        call = chat.begin(
            told.model or "unknown",
            told.provider,
            attributes=attributes,
            start_ns=end_ns - max(0, int(duration_ms * 1e6)),
        )
        if isinstance(call, chat.ChatCall):
            call.usage = dict(told.usage)
            call.response = dict(told.response)
        call.end(end_ns=end_ns)


def _traced(name: str, **options: Any) -> Traced:
    return Traced(lambda: spans.start(name, **options))
