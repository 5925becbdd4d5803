"""Switching on and off, what a graph's shape tells, and what happens when LangGraph has moved."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.instrumentors.langgraph import (
    LangGraphInstrumentor,
    choke_points,
    fallback,
)
from otel_orchestrator.instrumentors.langgraph.shape import cycle_entry, edges_of
from otel_orchestrator.semconv import Attr

from ..trees import tree
from .driving import ainvoke, in_user_span, invoke
from .graphs import State, orchestrator


def functions() -> dict[str, Any]:
    """Return the function that stands at each choke point right now."""
    return {
        seam.label: vars(seam.owner)[seam.name] for seam in choke_points.seams() if seam.is_there
    }


def test_every_choke_point_is_there() -> None:
    missing = [seam.label for seam in choke_points.seams() if not seam.is_there]
    assert missing == [], (
        f"LangGraph has moved {missing}: read its pregel/_loop.py and mend"
        " instrumentors/langgraph/choke_points.py"
    )


def test_uninstrument_puts_back_the_very_functions(exported: InMemorySpanExporter) -> None:
    before = functions()
    instrumentor = LangGraphInstrumentor()
    for _ in range(2):
        instrumentor.instrument()
        assert all(functions()[name] is not before[name] for name in before)
        instrumentor.uninstrument()
        assert all(functions()[name] is before[name] for name in before)


def test_instrumenting_twice_traces_once(traced: InMemorySpanExporter) -> None:
    LangGraphInstrumentor().instrument()
    invoke(orchestrator(is_async=False), {"turn": 2, "out": []})
    assert len([s for s in traced.get_finished_spans() if s.name == "node director"]) == 1


def test_after_uninstrument_nothing_is_traced(traced: InMemorySpanExporter) -> None:
    LangGraphInstrumentor().uninstrument()
    invoke(orchestrator(is_async=False), {"turn": 2, "out": []})
    assert [s.name for s in traced.get_finished_spans()] == ["user director"]


def test_a_run_under_way_survives_uninstrument_and_its_spans_end(
    traced: InMemorySpanExporter,
) -> None:
    stream = orchestrator(is_async=False).stream({"turn": 2, "out": []}, stream_mode="values")
    next(stream)
    LangGraphInstrumentor().uninstrument()
    assert list(stream)[-1]["turn"] == 3
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow orchestrator [abandoned]\n"
        "  loop [abandoned]\n    superstep [abandoned]\n      node director\n        user director"
    )


def test_a_wrapper_of_somebody_elses_is_left_alone(
    traced: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    from langgraph.pregel._loop import PregelLoop

    ours = PregelLoop.tick

    def theirs(self: Any) -> bool:
        return ours(self)

    PregelLoop.tick = theirs  # type: ignore[method-assign]
    try:
        LangGraphInstrumentor().uninstrument()
        assert PregelLoop.tick is theirs
        assert "PregelLoop.tick was wrapped again" in caplog.text
    finally:
        PregelLoop.tick = ours.__wrapped__  # type: ignore[attr-defined, method-assign]


@pytest.mark.parametrize(
    "gone_from",
    [
        "langgraph.pregel._loop:PregelLoop",
        "langgraph.pregel._loop:PregelNoLoop",
        "langgraph.no_pregel:PregelLoop",
    ],
)
def test_a_missing_choke_point_falls_back_to_callbacks_and_says_so_once(
    exported: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    gone_from: str,
) -> None:
    gone = choke_points._seam(gone_from, "tock", ("self",), lambda f: f)
    there = choke_points.seams()
    monkeypatch.setattr(choke_points, "seams", lambda: (*there, gone))
    before = functions()
    LangGraphInstrumentor().instrument()
    try:
        assert functions() == before
        for drive in (invoke, ainvoke):
            drive(orchestrator(is_async=drive is ainvoke), {"turn": 2, "out": []})
    finally:
        LangGraphInstrumentor().uninstrument()
    ours = [s for s in exported.get_finished_spans() if not s.name.startswith("user")]
    assert tree(ours) == "\n".join(["invoke_workflow orchestrator\n  node director"] * 2)
    lines = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert f"has moved {gone_from.partition(':')[2]}.tock: runs and nodes are told" in lines[0]
    exported.clear()
    invoke(orchestrator(is_async=False), {"turn": 2, "out": []})
    assert [s.name for s in exported.get_finished_spans()] == ["user director"]


def test_runs_that_only_callbacks_tell_of_end_when_nobody_will_tell_how(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain_core.callbacks.manager import CallbackManager

    monkeypatch.setattr(fallback, "_OPEN_AT_MOST", 1)
    fallback.start()
    try:
        runs = [CallbackManager.configure().on_chain_start(None, {}, name=n) for n in "ab"]
        assert [s.name for s in exported.get_finished_spans()] == ["invoke_workflow a"]
    finally:
        fallback.stop()
    assert tree(exported.get_finished_spans()) == (
        "invoke_workflow a [abandoned]\ninvoke_workflow b [abandoned]"
    )
    runs[1].on_chain_end({})
    assert len(exported.get_finished_spans()) == 2


@pytest.mark.parametrize("loop_head", ["strategist", {"orchestrator": "strategist"}])
def test_the_loops_head_can_be_named(exported: InMemorySpanExporter, loop_head: Any) -> None:
    LangGraphInstrumentor().instrument(loop_head=loop_head)
    try:
        invoke(orchestrator(is_async=False), {"turn": 1, "out": []})
    finally:
        LangGraphInstrumentor().uninstrument()
    spans = [s for s in exported.get_finished_spans() if s.name in ("loop", "superstep")]
    assert tree(spans, show=[Attr.LOOP_HEAD, Attr.SUPERSTEP_INDEX]) == (
        "loop head=strategist\n  superstep index=1\n  superstep index=2\n"
        "loop head=strategist\n  superstep index=3\n  superstep index=4"
    )


def test_where_edges_tell_of_no_cycle_the_first_node_that_runs_again_is_the_head(
    traced: InMemorySpanExporter,
) -> None:
    def ping(state: State) -> Command[Any]:
        return Command(goto="pong", update={"turn": state["turn"] + 1})

    def pong(state: State) -> Command[Any]:
        return Command(goto="ping" if state["turn"] < 3 else END)

    graph = StateGraph(State)
    graph.add_node("ping", ping)
    graph.add_node("pong", pong)
    graph.add_edge(START, "ping")
    graph.compile().invoke({"turn": 1})
    turn = "\n    superstep\n      node ping\n    superstep\n      node pong"
    assert tree(traced.get_finished_spans()) == (
        "invoke_workflow LangGraph\n  loop" + turn + "\n  loop" + turn
    )


@pytest.mark.parametrize(
    ("edges", "entry"),
    [
        ({"__start__": ["a"], "a": ["b"]}, None),
        ({"__start__": ["a"], "a": ["b"], "b": ["a"]}, "a"),
        ({"__start__": ["in"], "in": ["a"], "a": ["b"], "b": ["a"]}, "a"),
        ({"__start__": ["d"], "d": ["w"], "w": ["w", "s"], "s": ["d"]}, "d"),
        ({"__start__": ["x", "p"], "x": ["x2"], "x2": ["x"], "p": ["q"], "q": ["p"]}, "x"),
        ({"__start__": ["a"], "a": ["a"]}, "a"),
        ({"__start__": ["p", "a"], "a": ["b"], "b": ["a", "p"], "p": ["c"], "c": ["c"]}, "a"),
        ({}, None),
    ],
)
def test_the_entry_of_the_outermost_cycle(edges: dict[str, list[str]], entry: str | None) -> None:
    assert cycle_entry(edges) == entry


def test_edges_come_from_edges_joins_branches_and_commands() -> None:
    graph = StateGraph(State)
    for name in "abc":
        graph.add_node(name, lambda state: {})
    graph.add_node("d", lambda state: {}, destinations=("a",))
    graph.add_edge(START, "a")
    graph.add_edge(["a", "b"], "c")
    graph.add_conditional_edges("c", lambda state: "d", {"go": "d", "stop": END})
    assert edges_of(graph) == {"__start__": ["a"], "a": ["c"], "b": ["c"], "c": ["d"], "d": ["a"]}


def test_an_agent_is_one_span_with_its_calls_below(exported: InMemorySpanExporter) -> None:
    def think(state: State) -> dict[str, Any]:
        with in_user_span("call"):
            return {}

    inner = StateGraph(State)
    inner.add_node("think", think)
    inner.add_node("again", think)
    inner.add_edge(START, "think")
    inner.add_edge("think", "again")
    outer = StateGraph(State)
    outer.add_node("coder", inner.compile(name="coder"))
    outer.add_edge(START, "coder")
    graph = outer.compile(name="outer")
    steps = (
        "\n          loop\n"
        "            superstep\n              node think\n                call\n"
        "            superstep\n              node again\n                call"
    )
    calls = "\n          call\n          call"
    for agent_steps, below in ((False, calls), (True, steps)):
        exported.clear()
        LangGraphInstrumentor().instrument(agents=["coder"], agent_steps=agent_steps)
        for drive in (invoke, ainvoke):
            exported.clear()
            drive(graph, {"out": []})
            assert tree(exported.get_finished_spans()) == (
                "invoke_workflow outer\n  loop\n    superstep\n      node coder\n"
                "        invoke_agent coder" + below
            )
        LangGraphInstrumentor().uninstrument()


def test_importing_the_package_loads_neither_langgraph_nor_the_sdk() -> None:
    code = (
        "import sys, otel_orchestrator; "
        "print(sorted({'langgraph', 'opentelemetry.sdk', 'langchain_core'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
