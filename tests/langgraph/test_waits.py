"""Each wait is found with its category, length and culprit; where nothing waits, none is."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor
from otel_orchestrator.queue.gauges import QueueChange
from otel_orchestrator.queue.tasks import subscribe
from otel_orchestrator.semconv import Attr, Metric

from ..trees import attributes_of, tree
from .driving import ainvoke, invoke
from .injected import INJECTED_S, Injector, SlowSaver, is_about, total_s, waits, without_noise
from .plans import BOTH, SECONDS, SEED, State, by_id, fan_out, planned, run, scheduler

# Clocks are compared to 20 ms. When another program holds the machine for longer than that, it is
# tried again, twice at most.
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])


@BOTH
def test_a_task_without_a_slot_waits_in_the_queue(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()
    work = injector.apause if is_async else injector.pause
    run(
        fan_out(work, "a", "b", is_async=is_async), is_async=is_async, config={"max_concurrency": 1}
    )
    spans = traced.get_finished_spans()
    (queued,) = waits(spans, "queue")
    tasks = by_id(spans, "task worker")
    late = max(tasks.values(), key=lambda s: s.end_time or 0)
    assert queued.parent and late.context and queued.parent.span_id == late.context.span_id
    first = min(injector.noted, key=lambda noted: noted[1])
    is_about(queued, (first[1], first[2]))
    assert attributes_of(queued)[Attr.WAIT_ON] == "slot"
    (root,) = [s for s in spans if s.parent is None]
    assert attributes_of(root)[Attr.CONCURRENCY_PEAK] == 1


@BOTH
def test_a_finished_task_waits_for_its_slower_sibling_at_the_barrier(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()

    def work(name: str) -> Any:
        seconds = 0.4 if name == "slow" else 0.1
        return (injector.apause if is_async else injector.pause)(name, seconds)

    run(fan_out(work, "quick", "slow", "also quick", is_async=is_async), is_async=is_async)
    spans = traced.get_finished_spans()
    for name, waited in zip(("quick", "also quick"), waits(spans, "barrier"), strict=True):
        assert attributes_of(waited)[Attr.WAIT_ON] == "slow"
        is_about(waited, (injector.of(name)[1], injector.of("slow")[1]))
    (root,) = [s for s in spans if s.parent is None]
    assert attributes_of(root)[Attr.CONCURRENCY_PEAK] == 3
    assert tree(
        [s for s in without_noise(spans) if s.name[:4] in ("task", "node", "wait")], waits=True
    ) == (
        "task worker\n  node worker\n  wait barrier\n"
        "task worker\n  node worker\n"
        "task worker\n  node worker\n  wait barrier"
    )


@BOTH
def test_the_back_off_between_attempts_is_a_wait(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()
    left = {"a": 2, "b": 0}
    failed_at: list[int] = []
    began_at: list[int] = []

    def attempt(name: str) -> None:
        if name == "a":
            began_at.append(time.time_ns())
        if left[name]:
            left[name] -= 1
            failed_at.append(time.time_ns())
            raise ConnectionError
        injector.pause(name, 0.01)

    async def aattempt(name: str) -> None:
        attempt(name)

    policy = RetryPolicy(
        initial_interval=INJECTED_S, backoff_factor=1, jitter=False, max_attempts=3
    )
    graph = fan_out(
        aattempt if is_async else attempt, "a", "b", is_async=is_async, retry_policy=policy
    )
    run(graph, is_async=is_async)
    found = waits(traced.get_finished_spans(), "retry_backoff")
    assert len(found) == 2
    for span, since, until in zip(found, failed_at, began_at[1:], strict=True):
        is_about(span, (since, until))
        assert attributes_of(span)[Attr.WAIT_ON] == "worker"


@BOTH
@pytest.mark.parametrize("slow", ["write", "read"])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_slow_checkpointer_is_waited_for(
    traced: InMemorySpanExporter, is_async: bool, slow: str, durability: Any
) -> None:
    injector = Injector()

    async def astep(state: State) -> dict[str, Any]:
        return {"out": ["x"]}

    def step(state: State) -> dict[str, Any]:
        return {"out": ["x"]}

    graph = StateGraph(State)
    for name in ("one", "two"):
        graph.add_node(name, astep if is_async else step)
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    compiled = graph.compile(checkpointer=SlowSaver(injector, slow))
    config = {"configurable": {"thread_id": "t"}}
    run(compiled, is_async=is_async, config=config, durability=durability)
    spans = traced.get_finished_spans()
    found = waits(spans, "checkpoint")
    parents = {s.context.span_id: s.name for s in spans if s.context}
    where = [parents[s.parent.span_id] for s in found if s.parent]
    (root,) = [s for s in spans if s.parent is None]
    if slow == "read":
        assert where == ["invoke_workflow LangGraph"]
        is_about(found[0], injector.of("read"))
    elif durability == "sync":
        # LangGraph waits for the checkpoint of its input, too, after its first, hidden step.
        assert where == ["invoke_workflow LangGraph", "loop", "loop"]
        slept = sum(end - start for _, start, end in injector.noted)
        waited = sum((s.end_time or 0) - (s.start_time or 0) for s in found)
        assert abs(waited - slept) < 20e6 * len(injector.noted), (waited, slept)
    else:  # the exit flush
        assert where == ["invoke_workflow LangGraph"]
        last = injector.noted[-1]
        assert abs((found[0].end_time or 0) - last[2]) < 20e6
        assert (root.end_time or 0) >= last[2]


@BOTH
def test_a_slow_reader_of_the_stream_is_a_wait_and_no_barrier(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()
    work = injector.apause if is_async else injector.pause

    def quick(name: str) -> Any:
        return work(f"node {name}", 0.05)

    graph = fan_out(quick, "a", "b", is_async=is_async)

    def read() -> None:
        for i, _ in enumerate(graph.stream({"out": []}, stream_mode="updates")):
            injector.pause(f"reader {i}")

    async def aread() -> None:
        i = 0
        async for _ in graph.astream({"out": []}, stream_mode="updates"):
            await injector.apause(f"reader {i}")
            i += 1

    asyncio.run(aread()) if is_async else read()
    spans = traced.get_finished_spans()
    found = waits(spans, "consumer")
    # The reader of the first update holds the superstep; that of the last holds the run.
    barrier = max(s.end_time or 0 for s in spans if s.name == "node worker")
    held = [n for n in injector.noted if n[0].startswith("reader")]
    for span in found:
        assert (span.start_time or 0) >= barrier
    total = sum((s.end_time or 0) - (s.start_time or 0) for s in found)
    expected = sum(end - max(start, barrier) for _, start, end in held)
    assert abs(total - expected) < 20e6, (total, expected)
    assert sum(x for k, x in total_s(spans).items() if k == "barrier") < 0.02
    (root,) = [s for s in spans if s.parent is None]
    assert (root.end_time or 0) >= held[-1][2]


@BOTH
def test_a_reader_may_hold_a_superstep_before_its_tasks_start(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()
    work = injector.apause if is_async else injector.pause
    graph = fan_out(lambda n: work(f"node {n}", 0.01), "a", "b", is_async=is_async)

    def read() -> None:
        for i, _ in enumerate(graph.stream({"out": []}, stream_mode="values")):
            if i == 0:
                injector.pause("reader")

    async def aread() -> None:
        first = True
        async for _ in graph.astream({"out": []}, stream_mode="values"):
            if first:
                await injector.apause("reader")
            first = False

    asyncio.run(aread()) if is_async else read()
    spans = traced.get_finished_spans()
    tasks = {s.context.span_id for s in spans if s.name == "task worker" and s.context}
    found = [s for s in waits(spans, "consumer") if s.parent and s.parent.span_id in tasks]
    assert len(found) == 2
    for span in found:
        is_about(span, injector.of("reader"))
    assert total_s(spans).get("queue", 0) < 0.02


@BOTH
def test_a_reader_is_in_nobodys_way_once_the_tasks_are_handed_out(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()
    work = injector.apause if is_async else injector.pause
    graph = fan_out(lambda n: work(n, 0.08), "a", "b", "c", is_async=is_async)
    config: Any = {"max_concurrency": 1}

    async def aread() -> None:
        async for _ in graph.astream({"out": []}, config, stream_mode="updates"):
            await asyncio.sleep(0.04)

    if is_async:
        asyncio.run(aread())
    else:
        for _ in graph.stream({"out": []}, config, stream_mode="updates"):
            time.sleep(0.04)
    spans = traced.get_finished_spans()
    tasks = {s.context.span_id for s in spans if s.name == "task worker" and s.context}
    assert [s for s in waits(spans, "consumer") if s.parent and s.parent.span_id in tasks] == []
    assert len(waits(spans, "queue")) == 2


def test_a_task_that_cannot_be_read_hides_nothing_else(
    traced: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "otel_orchestrator")

    class Detached:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("not bound to a session")

    class Held(TypedDict, total=False):
        tasks: list[Any]

    graph = StateGraph(Held)
    graph.add_node("one", lambda state: {})
    graph.add_edge(START, "one")
    for _ in range(2):
        invoke(graph.compile(), {"tasks": [Detached(), {"id": "other"}]})
    said = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert said == [("DEBUG", "a Detached is not counted as a task: its id raises RuntimeError")]
    traced.clear()
    invoke(graph.compile(), {"tasks": [Detached()]})
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph\n  loop\n    superstep\n      node one"
    )


@BOTH
def test_waits_of_a_subgraph_are_below_its_node(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()

    def work(name: str) -> Any:
        seconds = 0.3 if name == "slow" else 0.05
        return (injector.apause if is_async else injector.pause)(name, seconds)

    inner = fan_out(work, "quick", "slow", is_async=is_async)
    outer = StateGraph(State)
    outer.add_node("inner", inner)
    outer.add_edge(START, "inner")
    run(outer.compile(name="outer"), is_async=is_async)
    spans = traced.get_finished_spans()
    (waited,) = waits(spans, "barrier")
    is_about(waited, (injector.of("quick")[1], injector.of("slow")[1]))
    assert tree(without_noise(spans), waits=True).startswith(
        "invoke_workflow outer\n  loop\n    superstep\n      node inner\n"
        "        invoke_workflow fan\n          loop\n            superstep\n"
        "              task worker\n                node worker\n                wait barrier"
    )


@BOTH
def test_where_nothing_was_injected_waits_are_next_to_nothing(
    traced: InMemorySpanExporter, is_async: bool
) -> None:
    injector = Injector()

    def work(name: str) -> Any:
        return (injector.apause if is_async else injector.pause)(name, 1.0)

    graph = scheduler(work, is_async=is_async)
    tasks = planned(("a", []), ("b", []), ("c", ["a", "b"]), ("d", ["a", "b"]))
    (ainvoke if is_async else invoke)(graph, {"out": [], "tasks": tasks})
    spans = traced.get_finished_spans()
    (root,) = [s for s in spans if s.parent is None]
    wall_s = ((root.end_time or 0) - (root.start_time or 0)) / 1e9
    assert sum(total_s(spans).values()) < 0.02 * wall_s, total_s(spans)


def test_the_threshold_can_be_chosen(exported: InMemorySpanExporter) -> None:
    injector = Injector()

    def work(name: str) -> None:
        injector.pause(name, 0.1 if name == "slow" else 0.05)

    for threshold, spans_made in ((0.5, 0), (0.02, 1)):
        exported.clear()
        LangGraphInstrumentor().instrument(wait_threshold_s=threshold)
        run(fan_out(work, "quick", "slow", is_async=False), is_async=False)
        LangGraphInstrumentor().uninstrument()
        spans = exported.get_finished_spans()
        assert len(waits(spans, "barrier")) == spans_made
        assert 0.03 < total_s(spans)["barrier"] < 0.08, "below it is still counted"


@BOTH
def test_gauges_histograms_and_spans_tell_the_same(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, is_async: bool
) -> None:
    injector = Injector()
    changes: list[QueueChange] = []
    unsubscribe = subscribe(changes.append)

    def work(name: str) -> Any:
        return (injector.apause if is_async else injector.pause)(name, SECONDS[name] / 4)

    graph = scheduler(work, is_async=is_async, director_s=0.03)
    try:
        (ainvoke if is_async else invoke)(graph, {"out": [], "tasks": SEED}, {"max_concurrency": 2})
    finally:
        unsubscribe()
    spans = traced.get_finished_spans()
    tasks = [attributes_of(s) for s in spans if s.name == "task worker"]
    spent = total_s(spans)
    spent["dependency"] = sum(t[Attr.TASK_WAITED_DEPENDENCY] for t in tasks)
    spent["cycle"] = sum(t[Attr.TASK_WAITED_CYCLE] for t in tasks)
    spent["held"] = sum(t[Attr.TASK_WAITED_HELD] for t in tasks)
    worked = sum(
        ((s.end_time or 0) - (s.start_time or 0)) / 1e9 for s in spans if s.name == "node worker"
    )
    depth = {
        state: sum(
            getattr(here, state) * (there.at_ns - here.at_ns) / 1e9
            for here, there in itertools.pairwise(changes)
        )
        for state in ("waiting", "ready", "active")
    }
    assert [c.at_ns for c in changes] == sorted(c.at_ns for c in changes)
    assert depth["active"] == pytest.approx(worked, abs=1e-5)
    assert depth["waiting"] == pytest.approx(spent["dependency"], abs=1e-5)
    ids = {s.context.span_id for s in spans if s.name == "task worker" and s.context}
    of_tasks = total_s(
        s
        for s in spans
        if (s.context and s.context.span_id in ids) or (s.parent and s.parent.span_id in ids)
    )
    queued = spent["held"] + spent["cycle"] + of_tasks["queue"] + of_tasks.get("consumer", 0.0)
    # A span leaves a microsecond before the next, and scheduling takes each task a few more.
    assert depth["ready"] == pytest.approx(queued, abs=2e-3)
    # What was held is a span of the superstep that held it, and there it is measured.
    spent["held"] = total_s(spans)["held"]
    assert wait_histogram(measured) == pytest.approx(
        {k: v for k, v in spent.items() if v}, abs=1e-6
    )


def wait_histogram(reader: InMemoryMetricReader) -> dict[str, float]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        str((point.attributes or {})[Attr.CATEGORY]): point.sum
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == Metric.WAIT_DURATION
        for point in metric.data.data_points
        if isinstance(point, HistogramDataPoint) and point.sum
    }
