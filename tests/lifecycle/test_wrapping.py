"""Every kind of callable, every way out of it."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator import _guard
from otel_orchestrator.lifecycle import spans
from otel_orchestrator.lifecycle.wrapping import wrap

from ..trees import tree
from . import work
from .work import (
    ENDINGS,
    KINDS,
    begin,
)


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
    monkeypatch.setattr(work, "begin", lambda *_, **__: None)
    assert KINDS[kind](None) == "result"
    assert {s.name for s in exported.get_finished_spans()} == {"inner"}


async def _coroutine(self: Any) -> None: ...


def _generator(self: Any) -> Iterator[int]:
    yield 1


async def _async_generator(self: Any) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("made", ["function", "partial", "object", "partial of an object"])
@pytest.mark.parametrize(
    ("call", "is_kind"),
    [
        (_coroutine, inspect.iscoroutinefunction),
        (_generator, inspect.isgeneratorfunction),
        (_async_generator, inspect.isasyncgenfunction),
    ],
)
def test_wrapping_keeps_what_is_called(
    call: Callable[..., Any], is_kind: Callable[[Any], bool], made: str
) -> None:
    function: Any = type("Called", (), {"__call__": call})() if "object" in made else call
    if "partial" in made:
        function = functools.partial(function)
    wrapped = wrap(function, begin)
    assert is_kind(wrapped)
    assert made != "function" or wrapped.__name__ == call.__name__


def test_a_class_with_an_async_call_is_no_coroutine_function() -> None:
    class Called:
        async def __call__(self) -> None: ...

    assert isinstance(wrap(Called, begin)(), Called)
