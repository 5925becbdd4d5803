"""The places in LangGraph that every way of running a graph passes through.

They are private but old: unchanged in their leading parameters from LangGraph 0.6 to 1.2. Each is
wrapped with `*args, **kwargs` passed through, is looked up and checked when instrumenting, and
calls the original exactly once, outside our guard.

    Pregel.stream / astream                      which graph is running, and who reads it
    SyncPregelLoop.__enter__ / __exit__          the run, on every way out
    AsyncPregelLoop.__aenter__ / __aexit__
    PregelLoop.tick                              a superstep's tasks are ready
    PregelLoop.accept_push                       a `@task` was called
    SyncPregelLoop.schedule_error_handler        an error handler starts (LangGraph >= 1.2)
    AsyncPregelLoop.aschedule_error_handler
    PregelLoop.after_tick                        the barrier; then writes are applied

Whether anybody is told of a run is asked once, when it begins. If nobody is, because the sampler
has left its span out and nothing is measured, its nodes get its context and no more is done.
"""

from __future__ import annotations

import functools
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from importlib import import_module
from types import TracebackType
from typing import Any, Final
from weakref import WeakSet, WeakValueDictionary

from opentelemetry.trace import Link

from ... import interruptions
from ..._guard import guarded
from ...lifecycle import collecting, outcomes, spans
from ...semconv import INTERRUPTED
from .._patching import Seam
from .reader import followed, starting_reader
from .recorder import Circumstances, GraphRun, Settings, start_run
from .running import InContext, stand_in
from .shape import shape_of

_OURS: Final = "_otel_orchestrator_run"
_UNTOLD: Final = "_otel_orchestrator_context"

settings = Settings()

# Which graph a loop belongs to: they share the very dict of nodes.
_graphs: WeakValueDictionary[int, Any] = WeakValueDictionary()
# Loops under way, whose spans must end even when the instrumentor is switched off.
_under_way: WeakSet[Any] = WeakSet()


def _streams(original: Callable[..., Any]) -> Callable[..., Any]:
    return followed(original, _note_graph)


def _note_graph(graph: Any) -> None:
    with guarded("noting which graph runs"):
        _graphs[id(graph.nodes)] = graph


def _enters(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def enter(self: Any) -> Any:
        _open(self)
        try:
            entered = original(self)
        except BaseException as error:
            _close(self, error)
            raise
        _entered(self)
        return entered

    return enter


def _enters_async(original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def enter(self: Any) -> Any:
        _open(self)
        try:
            entered = await original(self)
        except BaseException as error:
            _close(self, error)
            raise
        _entered(self)
        return entered

    return enter


def _exits(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def leave(
        self: Any,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        # The original waits for running nodes and flushes checkpoints: the run lasts that long.
        _leaving(self)
        try:
            suppressed = original(self, exc_type, exc_value, traceback)
        except BaseException as error:
            _close(self, error)
            raise
        _close(self, exc_value)
        return suppressed

    return leave


def _exits_async(original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def leave(
        self: Any,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        _leaving(self)
        try:
            suppressed = await original(self, exc_type, exc_value, traceback)
        except BaseException as error:
            _close(self, error)
            raise
        _close(self, exc_value)
        return suppressed

    return leave


def _ticks(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def tick(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _UNTOLD in self.__dict__:
            more = original(self, *args, **kwargs)
            _carry(self)
            return more
        planning_ns = spans.now_ns()
        with guarded("looking at a wait for the checkpointer"):
            if (run := _run_of(self)) is not None:
                run.ticking(planning_ns)
        more = original(self, *args, **kwargs)
        with guarded("opening a superstep"):
            if more and (run := _run_of(self)) is not None:
                run.ticked(self, planning_ns)
        return more

    return tick


def _carry(loop: Any) -> None:
    try:
        around = _in_untold_run(loop)
        for task in loop.tasks.values():
            stand_in(task, around)
    except Exception:
        with guarded("giving nodes their run's context"):
            raise


def _in_untold_run(loop: Any) -> Callable[[], InContext]:
    return functools.partial(InContext, loop.__dict__[_UNTOLD])


def _applies(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def after_tick(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _UNTOLD in self.__dict__:
            return original(self, *args, **kwargs)
        run: GraphRun | None = None
        with guarded("closing the tasks of a superstep"):
            if (run := _run_of(self)) is not None:
                run.barrier()
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            with guarded("closing a superstep"):
                if run is not None:
                    run.applied(self, error)
            raise
        with guarded("closing a superstep"):
            if run is not None:
                run.applied(self)
        return result

    return after_tick


def _pushes(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def accept_push(self: Any, task: Any, *args: Any, **kwargs: Any) -> Any:
        pushed = original(self, task, *args, **kwargs)
        with guarded("opening the task of a @task call"):
            if pushed is not None and (run := _run_of(self)) is not None:
                run.pushed(task, pushed)
        return pushed

    return accept_push


def _handles(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def schedule_error_handler(self: Any, *args: Any, **kwargs: Any) -> Any:
        handler = original(self, *args, **kwargs)
        _open_handler(self, handler)
        return handler

    return schedule_error_handler


def _handles_async(original: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def aschedule_error_handler(self: Any, *args: Any, **kwargs: Any) -> Any:
        handler = await original(self, *args, **kwargs)
        _open_handler(self, handler)
        return handler

    return aschedule_error_handler


def _open_handler(loop: Any, handler: Any) -> None:
    with guarded("opening the task of an error handler"):
        if handler is None:
            return
        if _UNTOLD in loop.__dict__:
            stand_in(handler, _in_untold_run(loop))  # it was not there yet when `tick` planned
        elif (run := _run_of(loop)) is not None:
            run.handled(handler)


def _open(loop: Any) -> None:
    with guarded("opening a graph run"):
        thread_id = _thread_of(loop)
        limit = loop.config.get("max_concurrency")
        shape = shape_of(_graphs.get(id(loop.nodes)), settings.agents, settings.loop_head)
        is_resumed, interruption = _resumes(loop), None
        if thread_id is not None and loop.checkpointer and not loop.is_nested:
            key = interruptions.key_of(shape.known_by, thread_id)
            if is_resumed:
                interruption = interruptions.resume(key, spans.now_ns())
            else:
                interruptions.forget(key, spans.now_ns())
        this_time = Circumstances(
            conversation_id=thread_id,
            concurrency_limit=limit if isinstance(limit, int) else None,
            has_checkpointer=bool(loop.checkpointer),
            is_resumed=is_resumed,
            links=[] if interruption is None else [Link(interruption.span_context)],
            reader=starting_reader(),
        )
        operation = start_run(shape, this_time)
        if operation.is_told:
            loop.__dict__[_OURS] = GraphRun(operation, shape, settings, this_time)
            _under_way.add(loop)
        else:
            loop.__dict__[_UNTOLD] = operation.context


def _entered(loop: Any) -> None:
    with guarded("looking at a wait for the checkpointer"):
        if (run := _run_of(loop)) is not None:
            run.entered(loop)


def _leaving(loop: Any) -> None:
    with guarded("noting that a graph run ends"):
        if (run := _run_of(loop)) is not None:
            run.leaving()


def _thread_of(loop: Any) -> str | None:
    thread_id = loop.config.get("configurable", {}).get("thread_id")
    return None if thread_id is None else str(thread_id)


def _resumes(loop: Any) -> bool:
    # `Command(resume=...)` answers an interrupt; no input at all goes on after one.
    from langgraph.types import Command

    if loop.is_nested or not loop.checkpointer:
        return False
    given = loop.input
    return given is None or (isinstance(given, Command) and given.resume is not None)


def abandon_all() -> None:
    """End the spans of every run under way: from now on nobody tells how they end."""
    with guarded("ending runs under way"):
        collecting.end_late_ones()  # or they were ended amid the end of the same run
        loops = list(_under_way)
    for loop in loops:
        _close(loop, GeneratorExit(), is_over=True)


def _close(loop: Any, error: BaseException | None, *, is_over: bool = False) -> None:
    with guarded("closing a graph run"):
        # A stream that nobody reads any more: no span may start or end now.
        if collecting.is_collecting():
            collecting.end_late(functools.partial(_close, loop, error, is_over=is_over))
            return
        run: GraphRun | None = loop.__dict__.pop(_OURS, None)
        if run is None:
            return
        _under_way.discard(loop)
        if isinstance(error, GeneratorExit | CancelledError) and not is_over:
            # A reader that leaves at the news of an interrupt abandons nothing. In Python 3.13 an
            # event loop that ends cancels what is to close its stream.
            error = run.interrupt or error
        if error is not None and outcomes.outcome_of(error) == INTERRUPTED and not loop.is_nested:
            thread_id = _thread_of(loop)
            if thread_id is not None:
                key = interruptions.key_of(run.known_by, thread_id)
                _remember(key, run)
                run.on_finish = functools.partial(_remember, key)
        # LangGraph raises this error only after it has left the loop.
        out_of_steps = error is None and getattr(loop, "status", None) == "out_of_steps"
        run.closed(
            loop,
            error,
            error_type="langgraph.errors.GraphRecursionError" if out_of_steps else None,
            is_over=is_over,
        )


def _remember(key: str, run: GraphRun) -> None:
    end_ns = run.operation.end_ns
    interruption = run.as_interruption(end_ns or spans.now_ns())
    if interruption is not None:
        since_ns = run.operation.start_ns
        interruptions.remember(key, interruption, since_ns=since_ns, is_over=end_ns > 0)


def _run_of(loop: Any) -> GraphRun | None:
    run: GraphRun | None = loop.__dict__.get(_OURS)
    return run


_MAIN: Final = "langgraph.pregel.main"
_LOOP: Final = "langgraph.pregel._loop"
_EXIT: Final = ("self", "exc_type", "exc_value", "traceback")
_NO_TREE: Final = (
    "runs and nodes are told by its public callbacks, without loops, supersteps, tasks and waits"
)
_NO_HANDLERS: Final = "error handlers have no spans"


def seams() -> tuple[Seam, ...]:
    """Return the choke points of the LangGraph that is installed."""
    from langgraph import errors

    found = [
        _seam(f"{_MAIN}:Pregel", "stream", ("self", "input", "config"), _streams),
        _seam(f"{_MAIN}:Pregel", "astream", ("self", "input", "config"), _streams),
        _seam(f"{_LOOP}:SyncPregelLoop", "__enter__", ("self",), _enters),
        _seam(f"{_LOOP}:SyncPregelLoop", "__exit__", _EXIT, _exits),
        _seam(f"{_LOOP}:AsyncPregelLoop", "__aenter__", ("self",), _enters_async),
        _seam(f"{_LOOP}:AsyncPregelLoop", "__aexit__", _EXIT, _exits_async),
        _seam(f"{_LOOP}:PregelLoop", "tick", ("self",), _ticks),
        _seam(f"{_LOOP}:PregelLoop", "after_tick", ("self",), _applies),
        _seam(f"{_LOOP}:PregelLoop", "accept_push", ("self", "task"), _pushes),
    ]
    if hasattr(errors, "NodeError"):  # LangGraph < 1.2 has no error handlers
        sync, run_async = "schedule_error_handler", "aschedule_error_handler"
        found += [
            _seam(f"{_LOOP}:SyncPregelLoop", sync, ("self",), _handles, _NO_HANDLERS),
            _seam(f"{_LOOP}:AsyncPregelLoop", run_async, ("self",), _handles_async, _NO_HANDLERS),
        ]
    return tuple(found)


def _seam(
    where: str,
    name: str,
    leading: tuple[str, ...],
    replace: Callable[[Any], Any],
    missing: str = _NO_TREE,
) -> Seam:
    module, _, class_name = where.partition(":")
    try:
        owner = getattr(import_module(module), class_name, None)
    except ImportError:
        owner = None
    known_as = f"{class_name}.{name}" if owner is None else name
    return Seam(owner, known_as, replace, missing, leading, is_required=missing == _NO_TREE)
