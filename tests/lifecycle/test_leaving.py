"""What is current after a block or a call: what was before, whatever happened in it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.lifecycle.wrapping import wrap

from ..trees import tree
from .work import begin, inner_span


def leaks() -> None:
    """Leave a context attached, as instrumentations by callbacks do."""
    otel_context.attach(otel_context.set_value("leaked", 1))


async def aleaks() -> None:
    await asyncio.sleep(0)
    leaks()


def as_block() -> None:
    with begin():
        leaks()


def as_failing_block() -> None:
    with pytest.raises(KeyError), begin():
        leaks()
        raise KeyError


def as_function() -> None:
    wrap(leaks, begin)()


def as_coroutine() -> None:
    async def scenario() -> None:
        before = otel_context.get_current()
        await wrap(aleaks, begin)()
        assert otel_context.get_current() is before

    asyncio.run(scenario())


def as_generator() -> None:
    def work() -> Iterator[int]:
        leaks()
        yield 1
        leaks()

    for _ in wrap(work, begin)():
        assert otel_context.get_value("leaked") is None


WAYS = [as_block, as_failing_block, as_function, as_coroutine, as_generator]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("inside_of_another", [False, True])
def test_what_is_left_attached_inside_is_not_current_outside(
    exported: InMemorySpanExporter, way: Callable[[], None], inside_of_another: bool
) -> None:
    def call() -> None:
        token = otel_context.attach(otel_context.set_value("theirs", 1))
        if not inside_of_another:
            otel_context.detach(token)
        before = otel_context.get_current()
        way()
        assert otel_context.get_current() is before

    contextvars.Context().run(call)


def test_a_block_left_in_another_task_does_not_disturb_that_tasks_context(
    exported: InMemorySpanExporter,
) -> None:
    async def scenario() -> None:
        operation = begin()
        operation.__enter__()

        async def elsewhere() -> None:
            theirs = otel_context.set_value("theirs", 1)
            otel_context.attach(theirs)
            operation.__exit__(None, None, None)
            assert otel_context.get_current() is theirs

        await asyncio.create_task(elsewhere())

    asyncio.run(scenario())
    assert tree(exported.get_finished_spans()) == "outer"


@pytest.mark.parametrize("inside_of_another", [False, True])
def test_a_block_left_in_a_task_that_was_started_inside_of_it_is_not_current_there(
    exported: InMemorySpanExporter, inside_of_another: bool
) -> None:
    async def scenario() -> None:
        if inside_of_another:
            otel_context.attach(otel_context.set_value("theirs", 1))
        before = otel_context.get_current()
        operation = begin()
        operation.__enter__()

        async def elsewhere() -> None:
            assert otel_context.get_current() is operation.context
            operation.__exit__(None, None, None)
            assert otel_context.get_current() == before

        await asyncio.create_task(elsewhere())

    asyncio.run(scenario())
    assert tree(exported.get_finished_spans()) == "outer"


def test_a_generator_that_is_dropped_with_an_open_block_does_not_disturb_anothers_block(
    exported: InMemorySpanExporter,
) -> None:
    def work() -> Iterator[int]:
        with begin():
            yield 1

    def call() -> None:
        generator: Any = work()
        next(generator)
        with begin() as other:
            del generator
            gc.collect()
            assert otel_context.get_current() is other.context

    contextvars.Context().run(call)
    assert tree(exported.get_finished_spans()) == "outer [abandoned]\n  outer"


def test_a_generator_that_the_collector_closes_does_not_disturb_what_is_current_by_then(
    exported: InMemorySpanExporter,
) -> None:
    def work() -> Iterator[Any]:
        with begin():
            try:
                me = yield  # so that only the collector finds it
                yield me
            except GeneratorExit:
                return

    def call() -> None:
        generator: Any = work()
        next(generator)
        generator.send(generator)
        del generator
        with begin() as other:
            gc.collect()
            inner_span()
            assert otel_context.get_current() is other.context

    contextvars.Context().run(call)
    assert tree(exported.get_finished_spans()) == "outer\n  outer\n    inner"
