"""Threads of the program's own belong to the run that starts them, where something tells them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor
from otel_orchestrator.semconv import Attr

from ..langgraph.driving import ainvoke, invoke
from ..langgraph.plans import State
from ..trees import attributes_of, tree


@otel.node("in a thread")
def work(_: Any = None) -> None: ...


def by_map() -> None:
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(work, [1]))


def by_submit() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def by_thread() -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def by_timer() -> None:
    timer = threading.Timer(0, work)
    timer.start()
    timer.join()


def by_hand() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(contextvars.copy_context().run, work).result()


@pytest.fixture
def threading_instrumented() -> Iterator[None]:
    ThreadingInstrumentor().instrument()
    yield
    ThreadingInstrumentor().uninstrument()


def is_below_the_run(exported: InMemorySpanExporter, expected: str) -> None:
    spans = exported.get_finished_spans()
    assert tree(spans) == expected
    assert len({attributes_of(s)[Attr.RUN_ID] for s in spans}) == 1


@pytest.mark.usefixtures("threading_instrumented")
@pytest.mark.parametrize("start", [by_map, by_submit, by_thread, by_timer])
def test_threads_of_a_run_by_hand(
    exported: InMemorySpanExporter, start: Callable[[], None]
) -> None:
    with otel.run("r"):
        start()
    is_below_the_run(exported, "invoke_workflow r\n  node in a thread")


def test_a_context_that_is_handed_over(exported: InMemorySpanExporter) -> None:
    with otel.run("r"):
        by_hand()
    is_below_the_run(exported, "invoke_workflow r\n  node in a thread")


@pytest.mark.usefixtures("threading_instrumented")
@pytest.mark.parametrize("is_async", [False, True])
def test_threads_of_a_node(exported: InMemorySpanExporter, is_async: bool) -> None:
    def node(state: State) -> State:
        by_map()
        return {}

    async def anode(state: State) -> State:
        await asyncio.get_running_loop().run_in_executor(None, work)
        return {}

    graph = StateGraph(State)
    graph.add_node("works", anode if is_async else node)
    graph.add_edge(START, "works")
    LangGraphInstrumentor().instrument()
    try:
        (ainvoke if is_async else invoke)(graph.compile(name="r"), {"out": []})
    finally:
        LangGraphInstrumentor().uninstrument()
    is_below_the_run(
        exported,
        "invoke_workflow r\n  loop\n    superstep\n      node works\n        node in a thread",
    )
