"""The one lifecycle: every kind of callable, every way out of it."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanContext, TraceFlags

from otel_orchestrator import _guard
from otel_orchestrator.instrumentors import _following
from otel_orchestrator.instrumentors._following import Following
from otel_orchestrator.lifecycle import attaching, outcomes, spans
from otel_orchestrator.lifecycle.wrapping import wrap
from otel_orchestrator.llm import chat
from otel_orchestrator.semconv import Attr, Metric

from .trees import attributes_of, tree


class Interrupt(Exception):
    """Control flow, as LangGraph's GraphInterrupt is."""


outcomes.register_control_flow(Interrupt, "interrupted")

ENDINGS = {
    "return": (None, "ok"),
    "raise": (ValueError("a secret"), "error"),
    "interrupt": (Interrupt(), "interrupted"),
    "cancel": (asyncio.CancelledError(), "cancelled"),
}


def begin(*_: Any, **__: Any) -> spans.Operation:
    return spans.start("outer", state="working", category="compute")


def inner_span() -> None:
    spans.start("inner", state="working").end()


def leave(error: BaseException | None) -> str:
    inner_span()
    if error is not None:
        raise error
    return "result"


def as_function(error: BaseException | None) -> Any:
    def work() -> str:
        return leave(error)

    return wrap(work, begin)()


def as_coroutine(error: BaseException | None) -> Any:
    async def work() -> str:
        await asyncio.sleep(0)
        return leave(error)

    return asyncio.run(wrap(work, begin)())


def as_generator(error: BaseException | None) -> Any:
    def work() -> Iterator[str]:
        inner_span()
        yield "first"
        yield leave(error)

    return list(wrap(work, begin)())[-1]


def as_async_generator(error: BaseException | None) -> Any:
    async def work() -> AsyncIterator[str]:
        inner_span()
        yield "first"
        await asyncio.sleep(0)
        yield leave(error)

    async def drain() -> Any:
        return [item async for item in wrap(work, begin)()][-1]

    return asyncio.run(drain())


KINDS: dict[str, Callable[[BaseException | None], Any]] = {
    "function": as_function,
    "coroutine": as_coroutine,
    "generator": as_generator,
    "async generator": as_async_generator,
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_exit_of_every_kind_ends_the_span(
    exported: InMemorySpanExporter, kind: str, ending: str
) -> None:
    error, outcome = ENDINGS[ending]
    before = otel_context.get_current()
    if error is None:
        assert KINDS[kind](None) == "result"
    else:
        with pytest.raises(type(error)) as raised:
            KINDS[kind](error)
        if not isinstance(error, asyncio.CancelledError):
            assert raised.value is error, "the user's own exception object"
    assert otel_context.get_current() is before
    finished = exported.get_finished_spans()
    label = "outer" if outcome == "ok" else f"outer [{outcome}]"
    assert tree(finished).splitlines()[0] == label
    inner = [s for s in finished if s.name == "inner"]
    outer = next(s for s in finished if s.name == "outer")
    assert all(s.parent is not None and s.parent.span_id == outer.context.span_id for s in inner)
    assert outer.status.is_unset == (outcome != "error")
    assert "secret" not in outer.to_json()


@pytest.mark.parametrize("way", ["close", "drop"])
def test_a_generator_that_is_not_exhausted_is_abandoned(
    exported: InMemorySpanExporter, way: str
) -> None:
    closed = []

    def work() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    generator: Any = wrap(work, begin)()
    assert next(generator) == 1
    if way == "close":
        generator.close()
    else:
        del generator
        gc.collect()
    assert closed == [True]
    assert tree(exported.get_finished_spans()) == "outer [abandoned]"


@pytest.mark.parametrize("way", ["aclose", "drop", "cancel"])
def test_an_async_generator_that_is_not_exhausted_is_abandoned(
    exported: InMemorySpanExporter, way: str
) -> None:
    async def work() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(60)
        yield 2

    async def consume() -> None:
        generator: Any = wrap(work, begin)()
        assert await anext(generator) == 1
        if way == "aclose":
            await generator.aclose()
        elif way == "drop":
            del generator
            gc.collect()
            while not exported.get_finished_spans():
                await asyncio.sleep(0.001)
        else:
            waiting = asyncio.create_task(anext(generator))
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(consume())
    outcome = "cancelled" if way == "cancel" else "abandoned"
    assert tree(exported.get_finished_spans()) == f"outer [{outcome}]"


def test_a_generator_that_never_starts_has_no_span(exported: InMemorySpanExporter) -> None:
    def work() -> Iterator[int]:
        yield 1

    wrap(work, begin)().close()  # type: ignore[attr-defined]
    assert exported.get_finished_spans() == ()


def test_send_and_throw_reach_the_generator_and_its_return_value_comes_back(
    exported: InMemorySpanExporter,
) -> None:
    def work() -> Any:
        try:
            got = yield "a"
            yield got
        except KeyError:
            yield "caught"
        return "end"

    generator: Any = wrap(work, begin)()
    assert next(generator) == "a"
    assert generator.send("sent") == "sent"
    assert generator.throw(KeyError()) == "caught"
    with pytest.raises(StopIteration) as stopped:
        next(generator)
    assert stopped.value.value == "end"
    assert tree(exported.get_finished_spans()) == "outer"


@pytest.mark.parametrize("begin", [begin, lambda: None], ids=["traced", "left alone"])
def test_asend_athrow_and_aclose_reach_the_async_generator_at_once(
    exported: InMemorySpanExporter, begin: Callable[[], spans.Operation | None]
) -> None:
    cleaned_up = []

    async def work() -> Any:
        try:
            got = yield "a"
            yield got
        except KeyError:
            yield "caught"
        finally:
            cleaned_up.append(True)

    async def drive() -> list[Any]:
        generator: Any = wrap(work, begin)()
        got = [
            await anext(generator),
            await generator.asend("sent"),
            await generator.athrow(KeyError()),
        ]
        await generator.aclose()
        assert cleaned_up == [True]
        return got

    assert asyncio.run(drive()) == ["a", "sent", "caught"]


def test_the_consumer_of_a_generator_runs_outside_of_its_span(
    exported: InMemorySpanExporter,
) -> None:
    def work() -> Iterator[int]:
        yield from range(3)

    for _ in wrap(work, begin)():
        assert not trace.get_current_span().get_span_context().is_valid


def test_observe_sees_results_and_items_and_may_fail(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_guard, "strict", False)
    seen = []

    def observe(operation: spans.Operation, value: Any) -> None:
        seen.append(value)
        raise RuntimeError

    def work() -> Iterator[int]:
        yield from (1, 2)

    assert list(wrap(work, begin, observe)()) == [1, 2]
    assert wrap(lambda: 3, begin, observe)() == 3  # type: ignore[misc]
    assert seen == [1, 2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_is_not_to_be_traced_runs_untraced(
    exported: InMemorySpanExporter, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.begin", lambda *_, **__: None)
    assert KINDS[kind](None) == "result"
    assert {s.name for s in exported.get_finished_spans()} == {"inner"}


def test_wrapping_keeps_what_a_function_is() -> None:
    import inspect

    async def coroutine() -> None: ...
    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    assert inspect.iscoroutinefunction(wrap(coroutine, begin))
    assert inspect.isgeneratorfunction(wrap(generator, begin))
    assert inspect.isasyncgenfunction(wrap(async_generator, begin))
    assert wrap(coroutine, begin).__name__ == "coroutine"


def test_an_operation_ends_once(exported: InMemorySpanExporter) -> None:
    operation = begin()
    operation.end("interrupted")
    first = operation.end_ns
    operation.fail(ValueError())
    assert operation.end_ns == first
    assert tree(exported.get_finished_spans()) == "outer [interrupted]"


def test_a_block_left_in_another_task_does_not_disturb_that_tasks_context(
    exported: InMemorySpanExporter,
) -> None:
    async def scenario() -> None:
        operation = begin()
        operation.__enter__()
        theirs = otel_context.set_value("theirs", 1)
        before = attaching.enter(theirs)
        operation.__exit__(None, None, None)
        assert otel_context.get_current() is theirs
        attaching.leave(theirs, before)

    asyncio.run(scenario())
    assert tree(exported.get_finished_spans()) == "outer"


def test_a_broken_provider_costs_spans_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def start_span(self, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError

    monkeypatch.setattr(_guard, "strict", False)
    monkeypatch.setattr(spans, "_tracer", Broken())
    for kind in KINDS.values():
        assert kind(None) == "result"


def test_a_small_step_back_of_the_clock_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    later = spans.now_ns() + 10_000_000_000
    told = [later, later - 500_000_000, later + 1, later - 3_600_000_000_000, later + 2]
    instants = iter(told)
    monkeypatch.setattr("time.time_ns", lambda: next(instants))
    monkeypatch.setattr(spans, "_latest_ns", 0)
    # A clock that is set right by an hour was wrong: to stand still for an hour would be worse.
    expected = [later, later, later + 1, later - 3_600_000_000_000, later + 2]
    assert [spans.now_ns() for _ in told] == expected


def test_a_duration_is_measured_with_its_error_type(
    exported: InMemorySpanExporter, measured: InMemoryMetricReader
) -> None:
    for error in (None, ValueError(), Interrupt()):
        operation = spans.start(
            "node a",
            state="working",
            metric=Metric.NODE_DURATION,
            measured={Attr.NODE_NAME: "a"},
        )
        if error is None:
            operation.end(end_ns=operation.start_ns + 1_500_000_000)
        else:
            operation.fail(error)
    data = measured.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    points = {p.attributes.get(Attr.ERROR_TYPE): p for p in metric.data.data_points}  # type: ignore[union-attr]
    assert metric.name == Metric.NODE_DURATION
    assert metric.unit == "s"
    assert points["ValueError"].count == 1  # type: ignore[union-attr]
    assert points[None].count == 2  # type: ignore[union-attr]
    assert points[None].explicit_bounds[-1] == 7200  # type: ignore[union-attr]


def test_spans_of_threads_nest_where_the_context_is_carried(
    exported: InMemorySpanExporter,
) -> None:
    operation = begin()
    thread = threading.Thread(target=lambda: _inside(operation))
    thread.start()
    thread.join()
    operation.end()
    assert tree(exported.get_finished_spans()) == "outer\n  inner"


def _inside(operation: spans.Operation) -> None:
    before = attaching.enter(operation.context)
    inner_span()
    attaching.leave(operation.context, before)


def test_the_state_and_the_category_are_on_every_span(exported: InMemorySpanExporter) -> None:
    begin().end()
    (span,) = exported.get_finished_spans()
    told = attributes_of(span)
    assert (told[Attr.STATE], told[Attr.CATEGORY], told[Attr.OUTCOME]) == (
        "working",
        "compute",
        "ok",
    )


class Asked(Sampler):
    """Leaves everything out, and counts how often it is asked."""

    def __init__(self, decision: Decision = Decision.DROP) -> None:
        self.names: list[str] = []
        self._decision = decision

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, *_: Any, **__: Any
    ) -> SamplingResult:
        self.names.append(name)
        return SamplingResult(self._decision)

    def get_description(self) -> str:
        return "Asked"


@pytest.mark.parametrize(
    ("decision", "asked"),
    [
        (Decision.DROP, ["node a"]),
        (Decision.RECORD_ONLY, ["node a", "node b"]),
        (Decision.RECORD_AND_SAMPLE, ["node a", "node b"]),
    ],
)
def test_nothing_is_made_below_a_span_that_is_left_out(
    decision: Decision, asked: list[str]
) -> None:
    sampler = Asked(decision)
    spans.use_provider(TracerProvider(sampler=sampler, shutdown_on_exit=False))
    try:
        with (
            spans.start("node a", state="working") as above,
            spans.start("node b", state="working") as below,
        ):
            pass
        assert sampler.names == asked
        assert below.span.is_recording() is False
        assert below.end_ns >= below.start_ns >= above.start_ns
    finally:
        spans.use_provider(None)


def test_what_another_process_left_out_is_for_the_sampler_to_say() -> None:
    sampler = Asked(Decision.RECORD_AND_SAMPLE)
    spans.use_provider(TracerProvider(sampler=sampler, shutdown_on_exit=False))
    elsewhere = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))
    parent = trace.set_span_in_context(trace.NonRecordingSpan(elsewhere), Context())
    try:
        spans.start("node a", state="working", parent=parent).end()
        assert sampler.names == ["node a"]
    finally:
        spans.use_provider(None)


def test_a_forked_child_that_unwinds_tells_nothing_of_what_its_parent_has_open(
    exported: InMemorySpanExporter, measured: InMemoryMetricReader
) -> None:
    def told() -> list[str]:
        data = measured.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else ()
        return [s.name for s in exported.get_finished_spans()] + [m.name for m in metrics]

    def foreign_call() -> chat.ChatCall:
        call = chat.ChatCall(trace.INVALID_SPAN, Context(), 1)
        call.is_foreign, call.usage = True, {Attr.INPUT_TOKENS: 1}
        return call

    ended: list[Any] = []
    late = spans.start("late", state="working")
    stream = Following(foreign_call(), SimpleNamespace(headers={}), print, print)
    _following._open.add(stream)
    out, into = os.pipe()
    try:
        with begin() as outer:
            outer.on_end = ended.append
            outer._metric = Metric.NODE_DURATION
            spans.end_late(late.end)
            if (child := os.fork()) == 0:
                sys.exit()
    except SystemExit:
        try:
            assert outer.end_ns
            begin().end()
            _following._lose_open_ones()
            os.write(into, f"{told()} {len(ended)}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(out, 1000).decode() == "['outer'] 0", "but for its own"
    stream.lost()
    assert set(told()) == {"late", "outer", Metric.NODE_DURATION, Metric.TOKEN_USAGE}
    assert ended == [outer]
    os.close(out)
    os.close(into)
