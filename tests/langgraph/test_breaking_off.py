"""Whole span trees of graphs that fail, are tried again, interrupted, cancelled or left."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree
from .driving import Drive, ainvoke, in_user_span, invoke
from .graphs import State, node, orchestrator, pair


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_each_attempt_of_a_retried_node_is_a_span(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    calls: list[int] = []

    def flaky(state: State) -> dict[str, Any]:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("not yet")
        return {"out": ["flaky"]}

    graph = StateGraph(State)
    policy = RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=3)
    graph.add_node("flaky", flaky, retry_policy=policy)
    graph.add_edge(START, "flaky")
    drive(graph.compile(), {"out": []})
    assert tree(traced.get_finished_spans(), show=[Attr.NODE_ATTEMPT]) == (
        "invoke_workflow LangGraph\n  loop\n    superstep\n"
        "      node flaky [error]\n"
        "      node flaky [error] attempt=2\n"
        "      node flaky attempt=3"
    )
    attributes = [attributes_of(s) for s in traced.get_finished_spans()]
    errors = {a[Attr.ERROR_TYPE] for a in attributes if Attr.ERROR_TYPE in a}
    assert errors == {"ConnectionError"}


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_an_error_marks_every_span_that_it_escapes(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    started = threading.Event()

    def right(state: State) -> dict[str, Any]:
        started.set()
        return {"out": ["right"]}

    def left(state: State) -> dict[str, Any]:
        started.wait(5)
        raise ValueError("a secret")

    graph = pair(is_async=False, left=left, right=right).compile()
    with pytest.raises(ValueError, match="a secret"):
        drive(graph, {"out": []})
    spans = traced.get_finished_spans()
    assert tree(spans) == (
        "invoke_workflow LangGraph [error]\n  loop [error]\n    superstep [error]\n"
        "      task left [error]\n        node left [error]\n"
        "      task right\n        node right"
    )
    assert "secret" not in "".join(s.to_json() for s in spans)


def test_siblings_of_a_failing_async_node_are_cancelled(traced: InMemorySpanExporter) -> None:
    async def scenario() -> None:
        started = asyncio.Event()

        async def left(state: State) -> dict[str, Any]:
            await started.wait()
            raise ValueError

        async def right(state: State) -> dict[str, Any]:
            started.set()
            await asyncio.sleep(60)
            return {}

        await pair(is_async=True, left=left, right=right).compile().ainvoke({"out": []})

    with pytest.raises(ValueError):
        asyncio.run(scenario())
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph [error]\n  loop [error]\n    superstep [error]\n"
        "      task left [error]\n        node left [error]\n"
        "      task right [cancelled]\n        node right [cancelled]"
    )


def test_a_node_that_still_runs_when_its_superstep_breaks_off_is_cancelled_with_its_task(
    traced: InMemorySpanExporter,
) -> None:
    async def slow(state: State) -> dict[str, Any]:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)  # LangGraph does not wait until a subgraph has cleaned up
        return {}

    async def fails(state: State) -> dict[str, Any]:
        await asyncio.sleep(0.02)
        raise ValueError

    inner = StateGraph(State)
    for name in ("a", "b"):
        inner.add_node(name, slow)
        inner.add_edge(START, name)
    outer = StateGraph(State)
    outer.add_node("inner", inner.compile(name="inner"))
    outer.add_node("fails", fails)
    outer.add_edge(START, "inner")
    outer.add_edge(START, "fails")

    async def run() -> None:
        with pytest.raises(ValueError):
            await outer.compile(name="outer").ainvoke({"out": []})
        await asyncio.sleep(0.1)

    asyncio.run(run())
    ended = {s.name: attributes_of(s)[Attr.OUTCOME] for s in traced.get_finished_spans()}
    names = ("task a", "task b", "node a", "node b", "task inner")
    assert {name: ended[name] for name in names} == dict.fromkeys(names, "cancelled")


def test_a_task_that_never_started_is_cancelled_without_a_node(
    traced: InMemorySpanExporter,
) -> None:
    async def worker(state: dict[str, Any]) -> dict[str, Any]:
        if state["id"] == "fails":
            raise ValueError
        await asyncio.sleep(60)
        return {}

    def plan(state: State) -> list[Send]:
        return [Send("worker", {"id": i}) for i in ("fails", "runs", "never starts")]

    graph = StateGraph(State)
    graph.add_node("worker", worker)
    graph.add_conditional_edges(START, plan, ["worker"])
    with pytest.raises(ValueError):
        ainvoke(graph.compile(), {"out": []}, {"max_concurrency": 1})
    assert tree(traced.get_finished_spans(), show=[Attr.TASK_ID]) == (
        "invoke_workflow LangGraph [error]\n  loop [error]\n    superstep [error]\n"
        "      task worker [error] id=fails\n        node worker [error] id=fails\n"
        "      task worker [cancelled] id=runs\n        node worker [cancelled] id=runs\n"
        "      task worker [cancelled] id=never starts"
    )


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_an_interrupt_is_no_error_and_its_resume_links_to_it(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    def ask(state: State) -> dict[str, Any]:
        return {"out": [interrupt("go on?")]}

    graph = pair(is_async=False, left=ask, right=node("right", is_async=False))
    compiled = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "thread-1"}}
    drive(compiled, {"out": []}, config)
    interrupted = traced.get_finished_spans()
    assert tree(interrupted) == (
        "invoke_workflow LangGraph [interrupted]\n  loop [interrupted]\n"
        "    superstep [interrupted]\n"
        "      task left [interrupted]\n        node left [interrupted]\n"
        "      task right\n        node right\n          user right"
    )
    traced.clear()
    result = drive(compiled, Command(resume="yes"), config)
    assert result["out"] == ["yes", "right", "join"]
    resumed = traced.get_finished_spans()
    assert tree(resumed, show=[Attr.NODE_SOURCE]) == (
        "invoke_workflow LangGraph\n  loop\n"
        "    superstep\n"
        "      task left\n        node left\n"
        "      task right\n        node right source=restored\n"
        "    superstep\n      node join\n        user join"
    )
    root = next(s for s in resumed if s.parent is None)
    before = next(s for s in interrupted if s.parent is None)
    assert [link.context.span_id for link in root.links] == [before.context.span_id]
    assert attributes_of(root)[Attr.CONVERSATION_ID] == "thread-1"


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_breakpoints_interrupt_the_run(
    traced: InMemorySpanExporter, drive: Drive, where: str
) -> None:
    graph = orchestrator(is_async=False)
    graph.checkpointer = InMemorySaver()
    config = {"configurable": {"thread_id": "thread-2"}}
    drive(graph, {"out": []}, config, **{where: ["director"]})
    root = next(s for s in traced.get_finished_spans() if s.parent is None)
    assert attributes_of(root)[Attr.OUTCOME] == "interrupted"
    assert root.status.is_unset


def test_a_dropped_stream_abandons_the_run(traced: InMemorySpanExporter) -> None:
    stream = orchestrator(is_async=False).stream({"out": []}, stream_mode="updates")
    next(stream)
    del stream
    gc.collect()
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow orchestrator [abandoned]\n  loop [abandoned]\n"
        "    superstep\n      node director\n        user director\n"
        "    superstep [abandoned]\n      task worker [cancelled]\n      task worker [cancelled]"
    )


@pytest.mark.parametrize("way", ["aclose", "drop"])
def test_an_abandoned_async_stream_abandons_the_run(traced: InMemorySpanExporter, way: str) -> None:
    async def scenario() -> None:
        stream = orchestrator(is_async=True).astream({"out": []}, stream_mode="updates")
        await anext(stream)
        if way == "aclose":
            await stream.aclose()
        else:
            del stream
            gc.collect()
            while not any(s.parent is None for s in traced.get_finished_spans()):
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow orchestrator [abandoned]\n  loop [abandoned]\n"
        "    superstep\n      node director\n        user director\n"
        "    superstep [abandoned]\n      task worker [cancelled]\n      task worker [cancelled]"
    )


def test_cancelling_the_callers_task_cancels_every_open_span(
    traced: InMemorySpanExporter,
) -> None:
    async def scenario() -> None:
        started = asyncio.Event()

        async def stuck(state: State) -> dict[str, Any]:
            started.set()
            await asyncio.sleep(60)
            return {}

        graph = StateGraph(State)
        graph.add_node("stuck", stuck)
        graph.add_edge(START, "stuck")
        running = asyncio.create_task(graph.compile().ainvoke({"out": []}))
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph [cancelled]\n  loop [cancelled]\n"
        "    superstep [cancelled]\n      node stuck [cancelled]"
    )


@pytest.mark.parametrize("drive", [invoke, ainvoke])
def test_running_out_of_steps_is_an_error_of_the_run(
    traced: InMemorySpanExporter, drive: Drive
) -> None:
    with pytest.raises(GraphRecursionError):
        drive(orchestrator(is_async=False), {"out": []}, {"recursion_limit": 2})
    root = next(s for s in traced.get_finished_spans() if s.parent is None)
    assert attributes_of(root)[Attr.ERROR_TYPE] == "langgraph.errors.GraphRecursionError"
    assert not root.status.is_ok
    assert not root.status.is_unset


def test_wrong_input_ends_the_run_with_the_programs_own_error(
    traced: InMemorySpanExporter,
) -> None:
    with pytest.raises(Exception) as untraced:
        orchestrator(is_async=False).invoke(None)
    assert tree(traced.get_finished_spans()) == "invoke_workflow orchestrator [error]"
    root = traced.get_finished_spans()[0]
    assert str(attributes_of(root)[Attr.ERROR_TYPE]).endswith(untraced.type.__name__)


def test_the_consumer_of_a_stream_runs_outside_of_every_span(
    traced: InMemorySpanExporter,
) -> None:
    with in_user_span("consumer"):
        for _ in orchestrator(is_async=False).stream({"turn": 2, "out": []}):
            with in_user_span("between items"):
                pass
    consumer = {"consumer", "between items"}
    spans = [s for s in traced.get_finished_spans() if s.name in consumer]
    assert tree(spans) == "consumer\n  between items"


def test_the_consumer_of_an_async_stream_runs_outside_of_every_span(
    traced: InMemorySpanExporter,
) -> None:
    async def consume() -> None:
        with in_user_span("consumer"):
            async for _ in orchestrator(is_async=True).astream({"turn": 2, "out": []}):
                with in_user_span("between items"):
                    await asyncio.sleep(0)

    asyncio.run(consume())
    consumer = {"consumer", "between items"}
    spans = [s for s in traced.get_finished_spans() if s.name in consumer]
    assert tree(spans) == "consumer\n  between items"
