"""Tasks whose node does not run, because its result is there: from the cache, or a checkpoint."""

from __future__ import annotations

import time
from typing import Any

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy, Command, Send, interrupt
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from ..trees import tree
from .driving import ainvoke, invoke
from .injected import INJECTED_S, Injector, is_about, waits, without_noise
from .plans import BOTH, State, by_id

# As in `test_waits`: tried again where another program held the machine for too long.
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=["AssertionError"])

SOURCES = pytest.mark.parametrize("source", ["cached", "restored"])


def workflow(source: str, *, is_async: bool) -> Any:
    """An entrypoint that asks a task, then takes its time: at its second run, only that."""
    options: dict[str, Any] = {"cache_policy": CachePolicy()} if source == "cached" else {}
    pause = INJECTED_S

    def look_up(given: int) -> int:
        return given

    async def alook_up(given: int) -> int:
        return given

    asked = task(name="look_up", **options)(alook_up if is_async else look_up)

    def flow(given: int) -> int:
        found = asked(given).result()
        if source == "restored":
            interrupt("go on?")
        time.sleep(pause)
        return int(found)

    async def aflow(given: int) -> int:
        found = await asked(given)
        if source == "restored":
            interrupt("go on?")
        time.sleep(pause)
        return int(found)

    kept = entrypoint(cache=InMemoryCache(), checkpointer=InMemorySaver())
    chosen: Any = aflow if is_async else flow
    chosen.__name__ = "flow"
    return kept(chosen)


@BOTH
@SOURCES
def test_a_call_whose_result_is_there_takes_none_of_its_callers_time(
    traced: InMemorySpanExporter, is_async: bool, source: str
) -> None:
    flow = workflow(source, is_async=is_async)
    drive = ainvoke if is_async else invoke
    config = {"configurable": {"thread_id": "1"}}
    drive(flow, 1, config)
    traced.clear()
    assert drive(flow, Command(resume="yes") if source == "restored" else 1, config) == 1
    spans = traced.get_finished_spans()
    assert tree(spans, show=[Attr.NODE_SOURCE]) == (
        "invoke_workflow flow\n  loop\n    superstep\n      node flow\n"
        f"        task look_up\n          node look_up source={source}"
    )
    called, caller = (next(s for s in spans if s.name == n) for n in ("task look_up", "node flow"))
    assert (called.end_time or 0) - (called.start_time or 0) < 20_000_000
    assert (caller.end_time or 0) - (called.end_time or 0) > 0.9 * INJECTED_S * 1e9


def fan(source: str, work: Any, *, is_async: bool) -> Any:
    """Three workers at once; at the second run only that with the id `new` has work to do."""
    count = iter(range(10))

    def key(given: Any) -> str:
        return f"new {next(count)}" if given["id"] == "new" else str(given["id"])

    def before(given: Any) -> None:
        if source == "restored" and given["id"] == "new":
            interrupt("go on?")

    def worker(given: Any) -> dict[str, Any]:
        before(given)
        work(given["id"])
        return {"out": [given["id"]]}

    async def aworker(given: Any) -> dict[str, Any]:
        before(given)
        await work(given["id"])
        return {"out": [given["id"]]}

    cache: dict[str, Any] = {"cache_policy": CachePolicy(key_func=key)}
    graph = StateGraph(State)
    graph.add_node(
        "worker", aworker if is_async else worker, **(cache if source == "cached" else {})
    )
    graph.add_conditional_edges(
        START, lambda _: [Send("worker", {"id": i}) for i in ("old", "new", "older")], ["worker"]
    )
    return graph.compile(
        name="fan",
        cache=InMemoryCache(),
        checkpointer=InMemorySaver() if source == "restored" else None,
    )


@BOTH
@SOURCES
def test_a_result_that_is_there_waits_for_its_slower_sibling_from_the_first(
    traced: InMemorySpanExporter, is_async: bool, source: str
) -> None:
    injector = Injector()
    graph = fan(source, injector.apause if is_async else injector.pause, is_async=is_async)
    drive = ainvoke if is_async else invoke
    config = {"configurable": {"thread_id": "1"}}
    drive(graph, {"out": []}, config)
    traced.clear()
    injector.noted.clear()
    drive(graph, Command(resume="yes") if source == "restored" else {"out": []}, config)
    spans = [s for s in without_noise(traced.get_finished_spans()) if s.name != "wait human"]
    assert tree(spans, waits=True, show=[Attr.NODE_SOURCE, Attr.WAIT_ON, Attr.TASK_ID]) == (
        "invoke_workflow fan\n  loop\n    superstep\n"
        f"      task worker id=old\n        node worker source={source} id=old\n"
        "        wait barrier on=new\n"
        "      task worker id=new\n        node worker id=new\n"
        f"      task worker id=older\n        node worker source={source} id=older\n"
        "        wait barrier on=new"
    )
    for waited in waits(spans, "barrier"):
        is_about(waited, injector.of("new"))
    last = max(by_id(spans, "task worker").values(), key=lambda s: s.end_time or 0)
    assert (last.attributes or {})[Attr.TASK_ID] == "new", "critical paths find the straggler"


def test_a_result_that_was_there_does_not_end_a_superstep_that_never_began(
    traced: InMemorySpanExporter,
) -> None:
    graph = fan("cached", lambda _: None, is_async=False)
    invoke(graph, {"out": []})
    traced.clear()
    stream = graph.stream({"out": []}, stream_mode="updates")
    assert next(stream)["worker"] == {"out": ["old"]}
    time.sleep(INJECTED_S)
    left_ns = time.time_ns()
    stream.close()
    spans = traced.get_finished_spans()
    assert tree(spans, show=[Attr.NODE_SOURCE, Attr.TASK_ID]) == (
        "invoke_workflow fan [abandoned]\n  loop [abandoned]\n    superstep [abandoned]\n"
        "      task worker id=old\n        node worker source=cached id=old\n"
        "      task worker [cancelled] id=new\n"
        "      task worker id=older\n        node worker source=cached id=older"
    )
    assert (by_id(spans, "task worker")["new"].end_time or 0) > left_ns - 1_000_000
