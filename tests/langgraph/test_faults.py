"""A defect of ours, at any point, costs telemetry and nothing else."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator import _guard, interruptions, spans, tasks, waits
from otel_orchestrator.instrumentors.langgraph import (
    choke_points,
    nodes,
    reader,
    recorder,
    shape,
    superstep,
)

from .driving import ainvoke, astream, invoke, stream
from .test_scenarios import State, orchestrator
from .test_waits import SEED, scheduler


def fails_at_last() -> Any:
    calls: list[int] = []

    def flaky(state: State) -> dict[str, Any]:
        calls.append(1)
        raise ConnectionError(len(calls))

    graph = StateGraph(State)
    policy = RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=2)
    graph.add_node("flaky", flaky, retry_policy=policy)
    graph.add_edge(START, "flaky")
    return graph.compile()


def asks_first(drive: Callable[..., Any]) -> Any:
    def ask(state: State) -> dict[str, Any]:
        return {"out": [interrupt("?")]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    compiled = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    drive(compiled, {"out": []}, config)
    return drive(compiled, Command(resume="yes"), config)


def functional() -> Any:
    @task
    def leaf(x: int) -> int:
        return x + 1

    @entrypoint()
    def main(x: int) -> int:
        return leaf(x).result() + leaf(x + 1).result()

    return main.invoke(1)


def error_handled() -> Any:
    def broken(state: State) -> dict[str, Any]:
        raise ValueError

    def handler(state: State) -> Command[Any]:
        return Command(update={"out": ["handled"]})

    if "error_handler" not in inspect.signature(StateGraph.add_node).parameters:
        return None  # LangGraph < 1.2, which swallows arguments that it does not know
    graph = StateGraph(State)
    graph.add_node("broken", broken, error_handler=handler)
    graph.add_edge(START, "broken")
    return graph.compile().invoke({"out": []})


def with_tasks(drive: Callable[..., Any]) -> Any:
    """An application's tasks, two of which have to be held by a third."""
    given = {"out": [], "tasks": SEED}
    return drive(scheduler(quick, is_async=drive is ainvoke), given, {"max_concurrency": 1})["out"]


def quick(name: str) -> Any:
    return asyncio.sleep(0)


PROGRAMS: dict[str, Callable[[], Any]] = {
    "invoke": lambda: invoke(orchestrator(is_async=False), {"out": []}),
    "stream": lambda: stream(orchestrator(is_async=False), {"out": []}),
    "ainvoke": lambda: ainvoke(orchestrator(is_async=True), {"out": []}),
    "astream": lambda: astream(orchestrator(is_async=True), {"out": []}),
    "fails": lambda: invoke(fails_at_last(), {"out": []}),
    "fails async": lambda: ainvoke(fails_at_last(), {"out": []}),
    "interrupt": lambda: asks_first(invoke),
    "interrupt async": lambda: asks_first(ainvoke),
    "tasks": lambda: with_tasks(ainvoke),
    "functional": functional,
    "error handler": error_handled,
}

# Everything that our wrappers call at the choke points, and what those call in turn.
POINTS: tuple[tuple[Any, str], ...] = (
    (choke_points, "shape_of"),
    (choke_points, "starting_reader"),
    (choke_points, "Circumstances"),
    (choke_points, "GraphRun"),
    (choke_points, "_thread_of"),
    (choke_points, "_remember"),
    (interruptions, "resume"),
    (interruptions, "remember"),
    (reader.Reader, "hands_out"),
    (reader.Reader, "takes_back"),
    (reader.Reader, "take"),
    (reader.Reader, "finish"),
    (recorder.GraphRun, "entered"),
    (recorder.GraphRun, "ticking"),
    (recorder.GraphRun, "ticked"),
    (recorder.GraphRun, "pushed"),
    (recorder.GraphRun, "handled"),
    (recorder.GraphRun, "barrier"),
    (recorder.GraphRun, "applied"),
    (recorder.GraphRun, "leaving"),
    (recorder.GraphRun, "closed"),
    (recorder.GraphRun, "finish"),
    (recorder.GraphRun, "_turn_loop"),
    (recorder.GraphRun, "_observe_queue"),
    (recorder.GraphRun, "_note_held"),
    (recorder, "Superstep"),
    (superstep.Superstep, "open"),
    (superstep.Superstep, "add"),
    (superstep.Superstep, "push"),
    (superstep.Superstep, "barrier"),
    (superstep.Superstep, "note_held"),
    (superstep.Superstep, "_note_holds"),
    (superstep.Superstep, "_start_task"),
    (superstep.Superstep, "_take"),
    (nodes.TaskRecord, "begin_attempt"),
    (nodes.TaskRecord, "end_attempt"),
    (nodes.TaskRecord, "close"),
    (nodes.TaskRecord, "_start_node"),
    (nodes.TaskRecord, "_waited"),
    (nodes.Activity, "begins"),
    (nodes.Activity, "ends"),
    (shape, "cycle_entry"),
    (shape, "edges_of"),
    (spans, "start"),
    (spans, "start_run"),
    (spans, "set_span_in_context"),
    (spans.Operation, "end"),
    (spans.Operation, "fail"),
    (spans.Operation, "add_short_wait"),
    (tasks, "board"),
    (recorder, "task_id_of"),
    (tasks, "close_board"),
    (waits, "record"),
    (waits, "record_span"),
)


def result_of(program: Callable[[], Any]) -> tuple[str, str]:
    try:
        return "returned", repr(program())
    except Exception as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize("point", POINTS, ids=lambda p: f"{getattr(p[0], '__name__', p[0])}.{p[1]}")
def test_programs_give_their_own_result(
    exported: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    point: tuple[Any, str],
) -> None:
    from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor

    untraced = {name: result_of(program) for name, program in PROGRAMS.items()}
    hits: list[str] = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        hits.append(point[1])
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(_guard, "strict", False)
    monkeypatch.setattr(*point, broken)
    caplog.set_level(logging.CRITICAL, "otel_orchestrator")
    shape.forget_shapes()
    LangGraphInstrumentor().instrument()
    try:
        traced = {name: result_of(program) for name, program in PROGRAMS.items()}
    finally:
        LangGraphInstrumentor().uninstrument()
    assert traced == untraced
    if not (point[1] == "handled" and untraced["error handler"] == ("returned", "None")):
        assert hits, "this point was never reached: the test proves nothing"
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_broken_span_processor_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor

    class Broken(SpanProcessor):
        def on_start(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError

        def on_end(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError

    # The others open spans of the user's own, which break for the user with or without us.
    programs = {
        name: PROGRAMS[name] for name in ("fails", "fails async", "interrupt", "functional")
    }
    untraced = {name: result_of(program) for name, program in programs.items()}
    provider = TracerProvider()
    provider.add_span_processor(Broken())
    monkeypatch.setattr(_guard, "strict", False)
    LangGraphInstrumentor().instrument(tracer_provider=provider)
    try:
        assert {n: result_of(program) for n, program in programs.items()} == untraced
    finally:
        LangGraphInstrumentor().uninstrument()
        spans.use_provider(None)
