"""What runs a node's attempts: the stand-in for its runnable, and what it does around each call.

Only `InContext` and `_Next` attach a context, and they do so in the very thread or asyncio task
that runs the node.
"""

from __future__ import annotations

import asyncio
import copy
import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from ..._guard import guarded
from ...lifecycle import spans
from ...lifecycle.attaching import enter
from ...lifecycle.collecting import is_collecting
from ...lifecycle.spans import Operation
from .nodes import TaskRecord

_RUN_IN_POOL: Final = "run_in_executor"


class InContext:
    """Runs one attempt of a node in a context: attach and restore."""

    __slots__ = ("_context", "_previous")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._previous: Context | None = None

    def in_loop(self, proc: Any) -> tuple[InContext, Any]:
        """Return what to put around an async call, and what to call, in place of these two."""
        return self, proc

    def __enter__(self) -> None:
        self._previous = enter(self._context)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        try:
            # Whatever the node left attached, its caller finds what it had; only what was dropped
            # may be closed elsewhere, in a context that is not ours to change.
            is_elsewhere = exc_type is not None and (
                is_collecting()
                or (exc_type is GeneratorExit and otel_context.get_current() is not self._context)
            )
            if self._previous is not None and not is_elsewhere:
                otel_context.attach(self._previous)
        except Exception:
            with guarded("detaching a context"):
                raise


class Attempt(InContext):
    """Runs one attempt of a node inside its span: start and attach, restore and end."""

    __slots__ = ("_node", "_record")

    def __init__(self, record: TaskRecord, context: Context) -> None:
        super().__init__(context)
        self._record = record
        self._node: Operation | None = None

    def in_loop(self, proc: Any) -> tuple[InContext, Any]:
        """Return what starts the span in the pool's thread, if it is a function for a thread."""
        try:  # and no `with`: most nodes are not for a thread
            steps = proc.__dict__.get("steps") or [proc]
            afunc = steps[0].__dict__.get("afunc")
            if (
                isinstance(afunc, functools.partial)
                and getattr(afunc.func, "__name__", None) == _RUN_IN_POOL
                and len(afunc.args) == 2
            ):
                self._record.handed_out()
                attempt = PooledAttempt(self._record, self._context)
                return attempt, attempt.taking_over(proc, steps, afunc)
        except Exception:
            with guarded("handing a node to a pool of threads"):
                raise
        return self, proc

    def __enter__(self) -> None:
        with guarded("starting a node span"):
            self._record.handed_out()
            self._node = self._record.begin_attempt()
            if self._node is not None:
                self._context = self._node.context
            super().__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with guarded("ending a node span"):
            super().__exit__(exc_type, exc, tb)
            self._record.end_attempt(self._node, exc)


class PooledAttempt(InContext):
    """Runs one attempt of a sync node in an async graph.

    LangGraph hands it to the event loop's pool of threads. The thread that comes to it starts the
    span: until then it has waited.
    """

    __slots__ = ("_handed_ns", "_is_over", "_record", "_started")

    def __init__(self, record: TaskRecord, context: Context) -> None:
        super().__init__(context)
        self._record = record
        self._handed_ns = spans.now_ns()
        self._is_over = False
        # Whoever takes it out ends it: the loop may give up just when the thread begins.
        self._started: deque[Operation | None] = deque()

    def taking_over(self, proc: Any, steps: list[Any], afunc: functools.partial[Any]) -> Any:
        """Return a runnable like `proc`, whose function tells of its start."""
        executor, function = afunc.args
        first = copy.copy(steps[0])
        in_pool = functools.partial(afunc.func, executor, self._telling(function), **afunc.keywords)

        async def in_pool_and_on(*args: Any, **kwargs: Any) -> Any:
            result = await in_pool(*args, **kwargs)
            self.goes_on()  # LangGraph runs a runnable that the function has returned
            return result

        first.afunc = in_pool_and_on
        if proc is steps[0]:
            return first
        taken = copy.copy(proc)
        taken.steps = [first, *(_Next(step, self) for step in steps[1:2]), *steps[2:]]
        return taken

    def begins(self) -> Context:
        """Start the span, in the thread; return the context to run the function in."""
        with guarded("starting a node span"):
            node = self._record.begin_attempt(self._handed_ns)
            if node is not None:
                self._context = node.context
            self._started.append(node)
            if self._is_over:
                self._end(asyncio.CancelledError())
        return self._context

    def leaves_thread(self) -> None:
        """Note that the thread is free for another; what the loop has yet to do takes none."""
        self._record.leave_slot()

    def goes_on(self) -> None:
        """Make the node's context current for what is not done by the thread."""
        with guarded("attaching a context"):
            otel_context.attach(self._context)

    def _telling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            thread = _InThread(self, self._context)
            with thread:
                result = function(*args, **kwargs)
                thread.is_done = not hasattr(type(result), "ainvoke")
                return result

        return wrapper

    def _end(self, error: BaseException | None) -> None:
        with suppress(IndexError):
            self._record.end_attempt(self._started.pop(), error)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with guarded("ending a node span"):
            super().__exit__(exc_type, exc, tb)
            if isinstance(exc, Exception) and not self._started:
                self.begins()  # no thread could be had: the attempt has failed all the same
            self._is_over = True
            self._end(exc)


class _InThread(InContext):
    """Around the function of a node, in the pool's thread."""

    __slots__ = ("_attempt", "is_done")

    def __init__(self, attempt: PooledAttempt, context: Context) -> None:
        super().__init__(context)
        self._attempt = attempt
        self.is_done = True  # unless it returns a runnable, which is the node's work as well

    def __enter__(self) -> None:
        with guarded("starting a node span"):
            self._context = self._attempt.begins()
            super().__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        with guarded("leaving a node's thread"):
            super().__exit__(exc_type, exc, tb)
            if self.is_done:
                self._attempt.leaves_thread()


class _Next:
    """Stands in for the step behind a node's function: a router belongs to the node, too.

    `ainvoke` of the sequence runs only its first step in a context that is a copy.
    """

    def __init__(self, step: Any, attempt: PooledAttempt) -> None:
        self._step = step
        self._attempt = attempt

    async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
        """Take the step in the node's context."""
        self._attempt.goes_on()
        return await self._step.ainvoke(*args, **kwargs)

    def atransform(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Take the step in the context that the first has left, which streaming shares."""
        items: AsyncIterator[Any] = self._step.atransform(*args, **kwargs)
        return items


class StandIn:
    """Stands in for `PregelExecutableTask.proc`: the same runnable, with something around a call.

    The task is a frozen dataclass. LangGraph calls nothing of `proc` but invoke, ainvoke, stream
    and astream, in the thread or asyncio task that runs the node.
    """

    def __init__(self, proc: Any, around: Callable[[], InContext]) -> None:
        self._proc = proc
        self._around = around

    def __getattr__(self, name: str) -> Any:
        if name in ("_proc", "_around"):  # `copy` asks one that is not made yet
            raise AttributeError(name)
        return getattr(self._proc, name)

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        """Run the node in the calling thread."""
        with self._around():
            return self._proc.invoke(*args, **kwargs)

    async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
        """Run the node in the calling asyncio task."""
        around, proc = self._around().in_loop(self._proc)
        with around:
            return await proc.ainvoke(*args, **kwargs)

    # LangGraph drains these two without running anything in between, so holding the context over
    # the `yield` shows it to nobody.
    def stream(self, *args: Any, **kwargs: Any) -> Iterable[Any]:
        """Run the node in the calling thread, item by item."""
        with self._around():
            yield from self._proc.stream(*args, **kwargs)

    async def astream(self, *args: Any, **kwargs: Any) -> Any:
        """Run the node in the calling asyncio task, item by item."""
        around, proc = self._around().in_loop(self._proc)
        with around:
            async for item in proc.astream(*args, **kwargs):
                yield item


def stand_in(task: Any, around: Callable[[], InContext]) -> None:
    """Put something around each call of a task's node."""
    object.__setattr__(task, "proc", StandIn(task.proc, around))
