"""Small programs that pass every choke point of LangGraph, on every way out."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext

from otel_orchestrator import metrics

from .driving import ainvoke, astream, invoke, stream
from .graphs import State, orchestrator
from .plans import SEED, scheduler


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


def error_handled(*, is_async: bool) -> Any:
    def broken(state: State) -> dict[str, Any]:
        raise ValueError

    async def broken_async(state: State) -> dict[str, Any]:
        raise ValueError

    def handler(state: State) -> Command[Any]:
        return Command(update={"out": ["handled"]})

    graph = StateGraph(State)
    graph.add_node("broken", broken_async if is_async else broken, error_handler=handler)
    graph.add_edge(START, "broken")
    return (ainvoke if is_async else invoke)(graph.compile(), {"out": []})


def with_tasks(drive: Callable[..., Any]) -> Any:
    """An application's tasks, two of which have to be held by a third."""
    given = {"out": [], "tasks": SEED}
    return drive(scheduler(quick, is_async=drive is ainvoke), given, {"max_concurrency": 1})["out"]


def quick(name: str) -> Any:
    return asyncio.sleep(0)


def left(*, is_async: bool) -> Any:
    """A reader that has enough after the first item."""
    graph = orchestrator(is_async=is_async)
    if not is_async:
        reader = graph.stream({"out": []}, stream_mode="values")
        first = next(reader)
        reader.close()
        return first

    async def read() -> Any:
        reader = graph.astream({"out": []}, stream_mode="values")
        first = await anext(reader)
        await reader.aclose()
        return first

    return asyncio.run(read())


def nested() -> Any:
    """A graph as another one's node."""
    inner = StateGraph(State)
    inner.add_node("leaf", lambda state: {"out": ["leaf"]})
    inner.add_edge(START, "leaf")
    outer = StateGraph(State)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    return outer.compile().invoke({"out": []})


def left_out(program: Callable[[], Any]) -> Any:
    """In a trace that is not sampled, where nothing is measured."""
    measures, metrics._provider = metrics._provider, NoOpMeterProvider()
    parent = NonRecordingSpan(SpanContext(1, 1, is_remote=False))
    token = otel_context.attach(trace.set_span_in_context(parent))
    try:
        return program()
    finally:
        otel_context.detach(token)
        metrics._provider = measures


def events() -> Any:
    """LangGraph streams a node's own items only where somebody listens to them."""

    async def read() -> Any:
        told = orchestrator(is_async=False).astream_events({"out": []}, version="v2")
        return [e["event"] async for e in told][-1]

    return asyncio.run(read())


PROGRAMS: dict[str, Callable[[], Any]] = {
    "invoke": lambda: invoke(orchestrator(is_async=False), {"out": []}),
    "stream": lambda: stream(orchestrator(is_async=False), {"out": []}),
    "ainvoke": lambda: ainvoke(orchestrator(is_async=True), {"out": []}),
    "astream": lambda: astream(orchestrator(is_async=True), {"out": []}),
    "events": events,
    "fails": lambda: invoke(fails_at_last(), {"out": []}),
    "fails async": lambda: ainvoke(fails_at_last(), {"out": []}),
    "interrupt": lambda: asks_first(invoke),
    "interrupt async": lambda: asks_first(ainvoke),
    "tasks": lambda: with_tasks(ainvoke),
    "functional": functional,
    "left": lambda: left(is_async=False),
    "left async": lambda: left(is_async=True),
    "nested": nested,
    "left out": lambda: left_out(PROGRAMS["invoke"]),
    "left out async": lambda: left_out(PROGRAMS["astream"]),
}
# An earlier one than LangGraph 1.2 swallows arguments that it does not know.
HAS_ERROR_HANDLERS: Final = "error_handler" in inspect.signature(StateGraph.add_node).parameters
if HAS_ERROR_HANDLERS:
    PROGRAMS["error handler"] = lambda: error_handled(is_async=False)
    PROGRAMS["error handler async"] = lambda: error_handled(is_async=True)
    PROGRAMS["error handler left out"] = lambda: left_out(PROGRAMS["error handler"])
    PROGRAMS["error handler left out async"] = lambda: left_out(PROGRAMS["error handler async"])

# These open spans of the user's own.
OWN_SPANS: Final = frozenset(
    {"invoke", "stream", "ainvoke", "astream", "events"}
    | {"left", "left async", "left out", "left out async"}
)
