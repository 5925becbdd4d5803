"""What a program has of LangGraph is what it has without us, and what it gave is its own."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph.pregel import Pregel
from langgraph.types import Send
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.semconv import Attr


class State(TypedDict, total=False):
    tasks: Any
    out: Any


def graph_of(*nodes: Callable[[State], Any]) -> Any:
    graph = StateGraph(State)
    graph.add_sequence(list[Any](nodes))
    graph.add_edge(START, nodes[0].__name__)
    return graph.compile()


@pytest.mark.parametrize("key", ["tasks", "depends_on"])
def test_an_iterator_is_the_programs_to_read(traced: InMemorySpanExporter, key: str) -> None:
    def take(state: State) -> State:
        tasks = state["tasks"]
        return {"out": list(tasks if key == "tasks" else tasks[0]["depends_on"])}

    items = iter(["a", "b"])
    given = items if key == "tasks" else [{"id": "t", "status": "planned", key: items}]
    assert graph_of(take).invoke({"tasks": given})["out"] == ["a", "b"]
    assert any(s.name == "node take" for s in traced.get_finished_spans())


def test_streams_stay_generator_functions(traced: InMemorySpanExporter) -> None:
    """LangChain asks which kind of function it has got, and treats each otherwise."""
    assert inspect.isgeneratorfunction(Pregel.stream)
    assert inspect.isasyncgenfunction(Pregel.astream)

    async def add(state: State) -> State:
        return {"out": state["out"] + 1}

    graph = graph_of(add)
    assert asyncio.run(RunnableLambda(graph.astream).ainvoke({"out": 1})) == {"add": {"out": 2}}
    assert any(s.name == "node add" for s in traced.get_finished_spans())


def test_streams_that_are_open_when_the_loop_ends(
    traced: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that ends closes all generators at once: ours is not in the way of LangGraph's."""

    async def first(state: State) -> State:
        await asyncio.sleep(0.001)
        return {"out": 1}

    async def second(state: State) -> State:
        await asyncio.sleep(0.001)
        return {"out": 2}

    graph, kept = graph_of(first, second), []

    async def leave_open() -> None:
        for _ in range(5):
            stream = graph.astream({}, stream_mode=["updates", "custom"])
            kept.append(stream)
            await anext(stream)

    with caplog.at_level(logging.WARNING):
        asyncio.run(leave_open())
    assert [record.getMessage() for record in caplog.records] == []
    runs = [s for s in traced.get_finished_spans() if s.parent is None]
    assert [(s.attributes or {})[Attr.OUTCOME] for s in runs] == ["abandoned"] * 5


def test_what_a_task_was_given_is_not_kept(traced: InMemorySpanExporter) -> None:
    class Large:
        pass

    given: list[weakref.ref[Large]] = []

    def work(state: State) -> State:
        return {}

    def fan_out(state: State) -> list[Send]:
        large = Large()
        given.append(weakref.ref(large))
        return [Send("work", {"out": large})]

    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_conditional_edges(START, fan_out, ["work"])
    compiled = graph.compile()
    gc.collect()
    gc.disable()
    try:
        compiled.invoke({"out": 1})
        assert given[0]() is None
    finally:
        gc.enable()


def test_generators_of_the_programs_own_that_are_open_when_the_loop_ends(
    traced: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    cleaned: list[int] = []

    @otel.node("numbers")
    async def numbers(which: int) -> AsyncIterator[int]:
        try:
            while True:
                yield which
        finally:
            await asyncio.sleep(0.001)
            cleaned.append(which)

    kept = [numbers(i) for i in range(5)]

    async def leave_open() -> None:
        for generator in kept:
            await anext(generator)

    with caplog.at_level(logging.WARNING):
        asyncio.run(leave_open())
    assert [record.getMessage() for record in caplog.records] == []
    assert sorted(cleaned) == [0, 1, 2, 3, 4]
    ended = [(s.attributes or {})[Attr.OUTCOME] for s in traced.get_finished_spans()]
    assert ended == ["abandoned"] * 5
