"""Runs and graphs feed the queue; when they end, it is gone."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import _guard, runs
from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor
from otel_orchestrator.instrumentors.langgraph.superstep import Superstep
from otel_orchestrator.queue import tasks
from otel_orchestrator.queue.gauges import QueueChange

from .boards import depths, plan


def test_what_comes_after_the_end_of_a_run_does_not_open_its_queue_again(
    exported: InMemorySpanExporter, changes: list[QueueChange]
) -> None:
    with otel.run("r") as run:
        otel.observe_tasks(plan(a=[]))
        late = run.context
    token = otel_context.attach(late)
    try:
        otel.observe_tasks(plan(a=[], b=[]))
        with otel.task("worker", "a"):
            pass
    finally:
        otel_context.detach(token)
    assert depths(changes) == [(1, 0, 0), (0, 0, 0)]
    assert tasks.find_board(runs.run_id_of(late)) is None


def test_the_queue_of_a_run_stays_open_as_long_as_anything_has_the_run_open(
    exported: InMemorySpanExporter, changes: list[QueueChange]
) -> None:
    with otel.run("outer"):
        with otel.run("inner"):
            otel.observe_tasks(plan(a=[]))
        assert depths(changes) == [(1, 0, 0)]
    assert depths(changes)[-1] == (0, 0, 0)


def test_a_graph_in_a_worker_leaves_no_queue_behind(exported: InMemorySpanExporter) -> None:
    class State(TypedDict):
        tasks: list[dict[str, Any]]

    graph = StateGraph(State)
    graph.add_node("worker", lambda state: {})
    graph.add_edge(START, "worker")
    with otel.run("nightly") as run:
        carrier = otel.inject()
    LangGraphInstrumentor().instrument()
    try:
        with otel.task("worker", "a", carrier=carrier):
            graph.compile().invoke({"tasks": plan(a=[])})
    finally:
        LangGraphInstrumentor().uninstrument()
    assert tasks.find_board(runs.run_id_of(run.context)) is None


def test_langgraph_feeds_the_queue_from_a_key_of_its_state(
    exported: InMemorySpanExporter, changes: list[QueueChange]
) -> None:
    todo = plan(a=[], b=["a"])
    for t in todo:
        t["status"] = "planned"

    def director(state: Any) -> dict[str, Any]:
        return {"plan": todo}

    def worker(job: Any) -> dict[str, Any]:
        return {}

    from typing import TypedDict

    class PlanState(TypedDict):
        plan: list[Any]

    graph: Any = StateGraph(PlanState)
    graph.add_node("director", director)
    graph.add_node("worker", worker)
    graph.add_edge(START, "director")
    graph.add_conditional_edges("director", lambda s: [Send("worker", todo[0])], ["worker"])
    LangGraphInstrumentor().instrument(tasks_key="plan")
    try:
        graph.compile().invoke({"plan": []})
    finally:
        LangGraphInstrumentor().uninstrument()
    assert depths(changes) == [(1, 0, 1), (0, 1, 1), (1, 0, 0), (0, 0, 0)]
    assert len({c.run_id for c in changes}) == 1


def test_graphs_that_follow_on_each_other_in_one_run_have_queues_of_their_own(
    exported: InMemorySpanExporter, changes: list[QueueChange]
) -> None:
    class State(TypedDict):
        tasks: list[dict[str, Any]]

    def graph(name: str) -> Any:
        builder = StateGraph(State)
        builder.add_node("worker", lambda state: {})
        builder.add_conditional_edges(
            START, lambda state: [Send("worker", {"task": t}) for t in state["tasks"]], ["worker"]
        )
        return builder.compile(name=name)

    LangGraphInstrumentor().instrument()
    try:
        with otel.run("both"):
            graph("one").invoke({"tasks": plan(a=[])})
            after_one = depths(changes)
            graph("two").invoke({"tasks": plan(b=[], c=["b"])})
    finally:
        LangGraphInstrumentor().uninstrument()
    assert after_one[-1] == (0, 0, 0)
    assert max(sum(depth) for depth in depths(changes)) == 2, "a task of the first graph is left"
    assert depths(changes)[-1] == (0, 0, 0)


def test_a_run_whose_last_step_cannot_be_told_is_over_all_the_same(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(_guard, "strict", False)
    monkeypatch.setattr(Superstep, "barrier", fail)

    class State(TypedDict):
        tasks: list[dict[str, Any]]

    graph = StateGraph(State)
    graph.add_node("worker", lambda _: 1 / 0)
    graph.add_edge(START, "worker")
    LangGraphInstrumentor().instrument()
    try:
        with pytest.raises(ZeroDivisionError):
            graph.compile(name="fails").invoke({"tasks": plan(a=[])})
    finally:
        LangGraphInstrumentor().uninstrument()
    assert dict(tasks._open) == {}
    assert "invoke_workflow fails" in [s.name for s in exported.get_finished_spans()]


def test_tasks_without_an_id_are_said(
    exported: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    _guard._last_logged.pop("observe_tasks", None)
    seen: list[Any] = [[], [{"id": "a"}], iter([{"id": "a"}]), {}]
    with otel.run("r"):
        for shown in seen:
            otel.observe_tasks(shown)
        assert caplog.records == []
        otel.observe_tasks([{"key": "a"}])
        otel.observe_tasks([{"key": "b"}])
    (said,) = caplog.records
    assert "observe_tasks() saw no task: none has an id as 'id'" in said.getMessage()
