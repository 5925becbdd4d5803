"""A stream that nobody can reach any more is closed by the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import operator
import time
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from opentelemetry.context import get_current
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor

from ..trees import attributes_of


class State(TypedDict):
    done: Annotated[int, operator.add]


def beside() -> Any:
    """Three nodes, one of which ends at once."""
    graph: Any = StateGraph(State)
    for name, seconds in (("a", 0.0), ("b", 0.05), ("c", 0.2)):

        def work(_: State, seconds: float = seconds) -> dict[str, int]:
            time.sleep(seconds)
            return {"done": 1}

        graph.add_node(name, work)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph.compile()


def begin_another() -> None:
    with otel.run("next"):
        pass


@pytest.mark.parametrize("then", [begin_another, LangGraphInstrumentor().uninstrument])
def test_a_stream_amid_a_superstep_is_abandoned_with_all_that_was_open(
    traced: InMemorySpanExporter, caplog: pytest.LogCaptureFixture, then: Callable[[], None]
) -> None:
    gc.disable()  # until it is wanted
    try:
        stream = beside().stream({"done": 0}, stream_mode="updates")
        cycle: list[Any] = [stream]
        cycle.append(cycle)
        assert next(stream) == {"a": {"done": 1}}
        del stream, cycle
        gc.collect()
    finally:
        gc.enable()
    then()
    by_name = {s.name: s for s in traced.get_finished_spans()}
    outcomes = {name: attributes_of(s)["orchestrator.outcome"] for name, s in by_name.items()}
    assert outcomes["node a"] == "ok"
    assert outcomes["superstep"] == outcomes["invoke_workflow LangGraph"] == "abandoned"
    ends = [by_name[n].end_time or 0 for n in ("superstep", "loop", "invoke_workflow LangGraph")]
    assert ends == sorted(ends), "what is inside ends first"
    said = [r.getMessage() for r in caplog.records if "trace" in r.name or "orchestrator" in r.name]
    assert said == [], "an ended span takes nothing"


def test_instrumenting_again_with_the_same_options_disturbs_no_run(
    traced: InMemorySpanExporter,
) -> None:
    otel.instrument(only=["langgraph"], wait_threshold_s=0.5)
    graph: Any = StateGraph(State)
    graph.add_node("one", lambda _: {"done": 1})
    graph.add_node("two", lambda _: {"done": 1})
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    for _ in graph.compile().stream({"done": 0}, stream_mode="updates"):
        otel.instrument(only=["langgraph"], wait_threshold_s=0.5)
    outcomes = {
        s.name: attributes_of(s)["orchestrator.outcome"] for s in traced.get_finished_spans()
    }
    assert outcomes["node two"] == outcomes["invoke_workflow LangGraph"] == "ok"


def test_a_node_that_is_collected_changes_no_context_but_its_own(
    traced: InMemorySpanExporter,
) -> None:
    begun: list[Any] = []

    async def started_by_the_node() -> tuple[object, object]:
        await asyncio.sleep(0.05)
        before = get_current()
        gc.collect()
        return before, get_current()

    async def node(_: State) -> None:
        begun.append(loop.create_task(started_by_the_node()))
        await asyncio.Event().wait()  # which nobody else has, so that nobody has the node either

    graph: Any = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    loop = asyncio.new_event_loop()
    gc.disable()
    try:
        running: list[Any] = [loop.create_task(graph.compile().ainvoke({"done": 0}))]
        while not begun:
            loop.run_until_complete(asyncio.sleep(0))
        running.append(running)
        del running
        before, after = loop.run_until_complete(begun[0])
    finally:
        gc.enable()
        loop.close()
    assert before is after
    begin_another()
    (ended,) = [s for s in traced.get_finished_spans() if s.name == "node node"]
    assert attributes_of(ended)["orchestrator.outcome"] != "ok"
