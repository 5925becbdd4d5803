"""Sync nodes of an async graph: the event loop's pool of threads runs them, when one is free."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy, Send
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.instrumentors.langgraph.nodes import TaskRecord
from otel_orchestrator.instrumentors.langgraph.running import PooledAttempt
from otel_orchestrator.semconv import Attr

from ..trees import attributes_of, tree
from .driving import in_user_span
from .injected import INJECTED_S, waits
from .plans import State

pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])

THREADS = 2
WORK_S = 0.1


def in_small_pool(work: Callable[[], Any]) -> Any:
    """Run a coroutine in a loop whose pool has few threads, and return its result."""

    async def main() -> Any:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
        return await work()

    return asyncio.run(main())


def work(state: Any) -> dict[str, Any]:
    with in_user_span("user work"):
        time.sleep(WORK_S)
    return {"out": ["x"]}


def sends(function: Callable[..., Any], count: int) -> Any:
    graph = StateGraph(State)
    graph.add_node("worker", function)
    graph.add_conditional_edges(START, lambda _: [Send("worker", {"id": "?"})] * count, ["worker"])
    return graph.compile()


def seconds(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e9


def queued_in_turns(spans: tuple[ReadableSpan, ...], name: str) -> None:
    """Assert that six pieces of work took two threads three turns."""
    nodes = [s for s in spans if s.name == f"node {name}"]
    assert len(nodes) == 6
    for node in nodes:
        assert WORK_S * 0.9 < seconds(node) < WORK_S * 1.8, "nothing else counts as work"
    queued = sorted(map(seconds, waits(spans, "queue")))
    assert len(queued) == 4
    assert all(WORK_S * 0.7 < s < WORK_S * 1.6 for s in queued[:2]), queued
    assert all(WORK_S * 1.7 < s < WORK_S * 2.6 for s in queued[2:]), queued


def test_a_node_starts_when_a_thread_does(traced: InMemorySpanExporter) -> None:
    graph = sends(work, 6)
    in_small_pool(lambda: graph.ainvoke({"out": []}))
    spans = traced.get_finished_spans()
    queued_in_turns(spans, "worker")
    (root,) = [s for s in spans if s.parent is None]
    assert attributes_of(root)[Attr.CONCURRENCY_PEAK] == THREADS
    nodes = {s.context.span_id for s in spans if s.name == "node worker" and s.context}
    assert nodes == {s.parent.span_id for s in spans if s.name == "user work" and s.parent}


def test_so_does_a_task_of_the_functional_api(traced: InMemorySpanExporter) -> None:
    @task
    def piece(i: int) -> int:
        time.sleep(WORK_S)
        return i

    @entrypoint()
    async def flow(count: int) -> list[int]:
        return await asyncio.gather(*[piece(i) for i in range(count)])

    assert in_small_pool(lambda: flow.ainvoke(6)) == list(range(6))
    queued_in_turns(traced.get_finished_spans(), "piece")


def test_a_reader_does_not_keep_a_thread_away(traced: InMemorySpanExporter) -> None:
    graph = sends(work, 6)

    async def read() -> None:
        async for _ in graph.astream({"out": []}, stream_mode="updates"):
            await asyncio.sleep(WORK_S / 4)

    in_small_pool(read)
    queued_in_turns(traced.get_finished_spans(), "worker")


@pytest.mark.parametrize("stream_mode", ["values", "messages"])
def test_a_router_belongs_to_its_node(traced: InMemorySpanExporter, stream_mode: Any) -> None:
    def route(state: State) -> str:
        with in_user_span("user router"):
            return END

    graph = StateGraph(State)
    graph.add_node("worker", work)
    graph.add_edge(START, "worker")
    graph.add_conditional_edges("worker", route, [END])
    compiled = graph.compile()

    async def read() -> None:
        async for _ in compiled.astream({"out": []}, stream_mode=stream_mode):
            pass

    in_small_pool(read)
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph\n  loop\n    superstep\n      node worker\n"
        "        user work\n        user router"
    )


@pytest.mark.parametrize("stream_mode", ["values", "messages"])
def test_so_does_a_runnable_that_it_returns(traced: InMemorySpanExporter, stream_mode: Any) -> None:
    async def inner(state: Any) -> dict[str, Any]:
        with in_user_span("user inner"):
            await asyncio.sleep(WORK_S)
        return {"out": ["x"]}

    graph = sends(lambda _: RunnableLambda(work, inner), THREADS + 1)

    async def read() -> None:
        async for _ in graph.astream({"out": []}, stream_mode=stream_mode):
            pass

    in_small_pool(read)
    spans = traced.get_finished_spans()
    nodes = {s.context.span_id for s in spans if s.name == "node worker" and s.context}
    assert nodes == {s.parent.span_id for s in spans if s.name == "user inner" and s.parent}
    (root,) = [s for s in spans if s.parent is None]
    assert attributes_of(root)[Attr.CONCURRENCY_PEAK] == THREADS + 1, "it runs until that is over"


def test_the_wait_for_a_thread_is_no_back_off(traced: InMemorySpanExporter) -> None:
    failures = [ConnectionError()]

    def fails_once(state: Any) -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return work(state)

    # LangGraph's own `retry_on` imports HTTP clients first, which takes long.
    policy = RetryPolicy(
        initial_interval=INJECTED_S, backoff_factor=1, jitter=False, retry_on=ConnectionError
    )
    graph = StateGraph(State)
    graph.add_node("worker", fails_once, retry_policy=policy)
    graph.add_edge(START, "worker")
    compiled = graph.compile()
    held_s = 3 * INJECTED_S

    async def main() -> None:
        running = asyncio.ensure_future(compiled.ainvoke({"out": []}))
        while failures:
            await asyncio.sleep(0.001)
        await asyncio.gather(*[asyncio.to_thread(time.sleep, held_s) for _ in range(THREADS)])
        await running

    in_small_pool(main)
    spans = traced.get_finished_spans()
    (back_off,) = waits(spans, "retry_backoff")
    assert abs(seconds(back_off) - INJECTED_S) < 0.05
    (queued,) = waits(spans, "queue")
    assert abs(seconds(queued) - (held_s - INJECTED_S)) < 0.05
    assert [s for s in spans if s.name == "node worker"][-1].start_time >= queued.end_time  # type: ignore[operator]


def test_what_is_cancelled_before_a_thread_comes_to_it_has_no_node(
    traced: InMemorySpanExporter,
) -> None:
    graph = sends(work, THREADS + 1)

    async def main() -> None:
        running = asyncio.ensure_future(graph.ainvoke({"out": []}))
        await asyncio.sleep(WORK_S / 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    in_small_pool(main)
    spans = traced.get_finished_spans()
    assert [s.name for s in spans].count("task worker") == THREADS + 1
    nodes = [attributes_of(s) for s in spans if s.name == "node worker"]
    assert [node[Attr.OUTCOME] for node in nodes] == ["cancelled"] * THREADS


def test_what_no_thread_can_be_had_for_has_failed(traced: InMemorySpanExporter) -> None:
    graph = StateGraph(State)
    graph.add_node("worker", work)
    graph.add_edge(START, "worker")
    compiled = graph.compile()
    pool = ThreadPoolExecutor(THREADS)
    pool.shutdown()

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(pool)
        with pytest.raises(RuntimeError):
            await compiled.ainvoke({"out": []})

    asyncio.run(main())
    (node,) = [s for s in traced.get_finished_spans() if s.name == "node worker"]
    assert attributes_of(node)[Attr.OUTCOME] == "error"
    assert attributes_of(node)["error.type"] == "RuntimeError"


@pytest.mark.parametrize("is_before_the_task_is_forgotten", [True, False])
def test_a_node_that_its_thread_leaves_at_the_barrier_ends(
    traced: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    is_before_the_task_is_forgotten: bool,
) -> None:
    begun, is_over, leaving, settled, left = (threading.Event() for _ in range(5))
    real_begin, real_exit = TaskRecord.begin_attempt, PooledAttempt.__exit__
    real_left, real_end, real_settle = TaskRecord._left, TaskRecord.end_attempt, TaskRecord.settle

    def begin_attempt(record: TaskRecord, *args: Any) -> Any:
        node = real_begin(record, *args)
        if record.name == "worker":
            begun.set()
            is_over.wait(1)
        return node

    def exits(attempt: PooledAttempt, *args: Any) -> None:
        real_exit(attempt, *args)
        if begun.is_set():
            is_over.set()
            leaving.wait(1)

    def leaves(record: TaskRecord, *args: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            leaving.set()
            settled.wait(1)
            while not is_before_the_task_is_forgotten and record.task is not None:
                time.sleep(0.001)
        real_left(record, *args)

    def end_attempt(record: TaskRecord, *args: Any) -> None:
        real_end(record, *args)
        if record.name == "worker":
            left.set()

    def settle(record: TaskRecord) -> None:
        real_settle(record)
        if record.name == "worker":
            settled.set()
            left.wait(1 if is_before_the_task_is_forgotten else 0)

    graph = sends(work, 1)

    async def main() -> None:
        running = asyncio.ensure_future(graph.ainvoke({"out": []}))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with monkeypatch.context() as patched:
        patched.setattr(TaskRecord, "begin_attempt", begin_attempt)
        patched.setattr(PooledAttempt, "__exit__", exits)
        patched.setattr(TaskRecord, "_left", leaves)
        patched.setattr(TaskRecord, "end_attempt", end_attempt)
        patched.setattr(TaskRecord, "settle", settle)
        in_small_pool(main)
        left.wait(1)
    (node,) = [s for s in traced.get_finished_spans() if s.name == "node worker"]
    assert attributes_of(node)[Attr.OUTCOME] == "cancelled"


def test_the_graph_is_left_as_it_is(traced: InMemorySpanExporter) -> None:
    graph = sends(work, 2)
    step = graph.nodes["worker"].node.steps[0]
    before = (step, step.func, step.afunc, list(graph.nodes["worker"].node.steps))
    in_small_pool(lambda: graph.ainvoke({"out": []}))
    node = graph.nodes["worker"].node
    assert (node.steps[0], step.func, step.afunc, node.steps) == before
    assert step.func is work
