"""A run that the sampler leaves out: no span, the trace goes on as one that is not sampled.

What is measured is measured all the same, and a program gets what it gets without us.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import otel_orchestrator as otel
from otel_orchestrator import _guard, runs
from otel_orchestrator.lifecycle import spans
from otel_orchestrator.semconv import Attr

from ..llm_server import serving
from .driving import ainvoke, invoke
from .graphs import State, orchestrator
from .programs import HAS_ERROR_HANDLERS, PROGRAMS


class Asked(Sampler):
    """Leaves out what it is told to, and notes for what it was asked."""

    def __init__(self, *left_out: str) -> None:
        self.names: list[str] = []
        self._left_out = left_out

    def should_sample(
        self, parent_context: Context | None, trace_id: int, name: str, *_: Any, **__: Any
    ) -> SamplingResult:
        self.names.append(name)
        return SamplingResult(
            Decision.DROP if name.startswith(self._left_out) else Decision.RECORD_AND_SAMPLE
        )

    def get_description(self) -> str:
        return "asked"


@contextmanager
def traced_by(sampler: Sampler) -> Iterator[InMemorySpanExporter]:
    """LangGraph instrumented, with a sampler; yields what was exported."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    otel.instrument(only=["langgraph"], tracer_provider=provider)
    try:
        yield exporter
    finally:
        otel.uninstrument()
        spans.use_provider(None)


@contextmanager
def below(*, is_remote: bool) -> Iterator[int]:
    """A parent that is not sampled, of this process or of another; yields its trace's id."""
    parent = SpanContext(0xABC, 0xDEF, is_remote=is_remote, trace_flags=TraceFlags(0))
    token = otel_context.attach(trace.set_span_in_context(NonRecordingSpan(parent)))
    try:
        yield parent.trace_id
    finally:
        otel_context.detach(token)


def result_of(program: Callable[[], Any]) -> str:
    try:
        return repr(program())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_get_their_own_result_and_make_no_span(name: str) -> None:
    with traced_by(ALWAYS_ON) as exported:
        own = result_of(PROGRAMS[name])
        assert exported.get_finished_spans() or "left out" in name
    with traced_by(DEFAULT_OFF) as exported:
        assert result_of(PROGRAMS[name]) == own
        assert exported.get_finished_spans() == ()


def is_sampled(traceparent: str) -> bool:
    return bool(int(traceparent[-2:], 16) & TraceFlags.SAMPLED)


def everywhere(seen: list[tuple[str, str]], *, is_async: bool) -> Any:
    """Each kind of node: alone, one of several, by `Send`, in a graph, a `@task`, a handler."""

    def look(where: str) -> dict[str, Any]:
        with trace.get_tracer("mine", tracer_provider=TracerProvider()).start_as_current_span("s"):
            assert not trace.get_current_span().is_recording(), "what is below is left out, too"
        carrier = otel.inject()
        assert not is_sampled(otel.environment()["TRACEPARENT"])
        seen.append((where, carrier["traceparent"] + " " + carrier["baggage"]))
        return {"out": [where]}

    def node(where: str) -> Callable[..., Any]:
        async def work(state: Any) -> Any:
            return look(where)

        return work if is_async else lambda state: look(where)

    @task
    def called() -> Any:
        return look("task")

    @task
    async def called_async() -> Any:
        return look("task")

    @entrypoint()
    def function(state: Any) -> Any:
        return called().result()

    @entrypoint()
    async def function_async(state: Any) -> Any:
        return await called_async()

    def call(state: Any) -> Any:
        return function.invoke(state)

    async def call_async(state: Any) -> Any:
        return await function_async.ainvoke(state)

    def broken(state: Any) -> Any:
        raise ValueError

    async def broken_async(state: Any) -> Any:
        raise ValueError

    inner = StateGraph(State)
    inner.add_node("leaf", node("leaf"))
    inner.add_edge(START, "leaf")
    graph = StateGraph(State)
    graph.add_node("alone", node("alone"))
    graph.add_node("left", node("left"))
    graph.add_node("sent", node("sent"))
    graph.add_node("inner", inner.compile())
    graph.add_node("calls", call_async if is_async else call)
    graph.add_edge(START, "alone")
    graph.add_edge("alone", "left")
    graph.add_edge("alone", "inner")
    graph.add_edge("alone", "calls")
    graph.add_conditional_edges("left", lambda _: [Send("sent", {})] * 2, ["sent"])
    if HAS_ERROR_HANDLERS:
        fails = broken_async if is_async else broken
        graph.add_node("fails", fails, error_handler=node("handler"))
        graph.add_edge("alone", "fails")
    return graph.compile()


@pytest.mark.parametrize("is_async", [False, True])
def test_the_trace_goes_out_as_not_sampled(*, is_async: bool) -> None:
    seen: list[tuple[str, str]] = []
    with traced_by(ALWAYS_OFF):
        (ainvoke if is_async else invoke)(everywhere(seen, is_async=is_async), {"out": []})
    handlers = ["handler"] if HAS_ERROR_HANDLERS else []
    where = ["alone", "left", "sent", "sent", "leaf", "task", *handlers]
    assert sorted(where) == sorted(where for where, _ in seen)
    (sent,) = {sent for _, sent in seen}
    assert not is_sampled(sent.partition(" ")[0])
    assert "orchestrator.run.id=" in sent


def test_a_request_says_that_its_trace_is_not_sampled() -> None:
    sent: list[httpx.Request] = []

    def ask(state: State) -> dict[str, Any]:
        with httpx.Client(event_hooks={"response": [lambda r: sent.append(r.request)]}) as client:
            client.get(llm.url)
        return {"out": [otel.inject()["traceparent"]]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    HTTPXClientInstrumentor().instrument(tracer_provider=TracerProvider())
    with traced_by(ALWAYS_OFF), serving() as llm:
        (traceparent,) = graph.compile().invoke({"out": []})["out"]
    HTTPXClientInstrumentor().uninstrument()
    (asked,) = sent
    # A span of the request's that is left out has an id of its own.
    assert asked.headers["traceparent"].split("-")[:2] == traceparent.split("-")[:2]
    assert not is_sampled(asked.headers["traceparent"])


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_parent_that_is_not_sampled_is_gone_on_with(*, is_remote: bool) -> None:
    seen: list[tuple[str, str]] = []
    with traced_by(DEFAULT_ON) as exported, below(is_remote=is_remote) as trace_id:
        invoke(everywhere(seen, is_async=False), {"out": []})
    assert exported.get_finished_spans() == ()
    assert {sent[:36] for _, sent in seen} == {f"00-{trace_id:032x}-"}


def measures(measured: InMemoryMetricReader) -> dict[tuple[str, Any], int]:
    """Return how many values each metric has, by its attributes; waits are by chance."""
    data = measured.get_metrics_data()
    assert data is not None
    return {
        (metric.name, frozenset((point.attributes or {}).items())): point.count
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if "wait" not in metric.name and hasattr(point, "count")
    }


@pytest.mark.parametrize("name", ["invoke", "ainvoke", "interrupt", "functional", "nested"])
def test_what_is_not_sampled_is_measured(measured: InMemoryMetricReader, name: str) -> None:
    with traced_by(ALWAYS_ON):
        result_of(PROGRAMS[name])
    once = measures(measured)
    with traced_by(ALWAYS_OFF) as exported:
        result_of(PROGRAMS[name])
    assert once
    assert measures(measured) == {key: 2 * count for key, count in once.items()}
    assert exported.get_finished_spans() == ()


def test_a_run_that_is_left_out_is_the_only_thing_asked_for() -> None:
    sampler = Asked("invoke_workflow")
    with traced_by(sampler) as exported:
        orchestrator(is_async=False).invoke({"out": []})
    ours = [name for name in sampler.names if not name.startswith("user")]
    assert ours == ["invoke_workflow orchestrator"]
    # A sampler that looks at no parent: the program's own spans are its own affair.
    assert {s.name.partition(" ")[0] for s in exported.get_finished_spans()} == {"user"}


def test_each_span_of_a_run_that_is_sampled_is_asked_for() -> None:
    sampler = Asked("node worker", "loop ")
    with traced_by(sampler) as exported:
        orchestrator(is_async=False).invoke({"out": []})
    made = Counter(s.name for s in exported.get_finished_spans())
    asked = Counter(sampler.names)
    assert asked["node worker"] == asked["task worker"] == 4
    assert made == asked - Counter({"node worker": 4})


def test_a_run_below_a_span_of_the_programs_is_asked_for_by_itself() -> None:
    def inner(state: State) -> dict[str, Any]:
        mine = trace.get_tracer("mine", tracer_provider=TracerProvider(sampler=ALWAYS_ON))
        with mine.start_as_current_span("mine"):
            orchestrator(is_async=False).invoke({"out": []})
        return {"out": []}

    graph = StateGraph(State)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    with traced_by(Asked("invoke_workflow outer")) as exported:
        graph.compile(name="outer").invoke({"out": []})
    names = Counter(s.name for s in exported.get_finished_spans())
    assert names["invoke_workflow orchestrator"] == 1
    assert names["task worker"] == 4


class BrokenAtFirst(Sampler, SpanProcessor, RandomIdGenerator):
    """What the SDK asks when it starts a span: fails for the root, as what is not ready yet."""

    def __init__(self, broken: str) -> None:
        self._broken = broken

    def _does(self, what: str) -> None:
        if self._broken == what:
            self._broken = ""
            raise RuntimeError

    def should_sample(self, *_: Any, **__: Any) -> SamplingResult:
        self._does("sampler")
        return SamplingResult(Decision.RECORD_AND_SAMPLE)

    def get_description(self) -> str:
        return "broken at first"

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._does("processor")

    def generate_span_id(self) -> int:
        self._does("id generator")
        return super().generate_span_id()


@pytest.mark.parametrize("broken", ["sampler", "processor", "id generator"])
def test_a_run_that_could_not_be_started_is_not_left_out(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(_guard, "strict", False)
    at_first, exporter = BrokenAtFirst(broken), InMemorySpanExporter()
    provider = TracerProvider(sampler=at_first, id_generator=at_first)
    provider.add_span_processor(at_first)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with traced_by(ALWAYS_ON):
        spans.use_provider(provider)
        orchestrator(is_async=False).invoke({"out": []})
    made = Counter(s.name for s in exporter.get_finished_spans())
    assert made["invoke_workflow orchestrator"] == 0
    assert made["node worker"] == 4


@pytest.mark.parametrize("is_measured", [False, True])
def test_an_interrupted_run_that_is_left_out_is_linked_to_only_where_it_is_measured(
    request: pytest.FixtureRequest, *, is_measured: bool
) -> None:
    if is_measured:
        request.getfixturevalue("measured")

    def ask(state: State) -> dict[str, Any]:
        return {"out": [interrupt("?")]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    compiled = graph.compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "left out"}}
    with traced_by(ALWAYS_OFF):
        compiled.invoke({"out": []}, thread)
    with traced_by(ALWAYS_ON) as exported:
        compiled.invoke(Command(resume="yes"), thread)
    (resumed,) = [s for s in exported.get_finished_spans() if s.name.startswith("invoke_workflow")]
    assert (resumed.attributes or {})[Attr.RESUMED] is True
    assert len(resumed.links) == is_measured


def test_without_an_sdk_nothing_is_told_and_nothing_is_in_the_way() -> None:
    carriers: list[dict[str, str]] = []

    def work(state: State) -> dict[str, Any]:
        carriers.append(otel.inject())
        return {"out": ["done"]}

    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    otel.instrument(only=["langgraph"])
    result = graph.compile().invoke({"out": []})
    otel.uninstrument()
    assert result == {"out": ["done"]}
    assert "traceparent" not in carriers[0]


def test_streams_may_be_left_and_read_from_elsewhere() -> None:
    """A generator that is dropped, or closed in another context, changes no context."""
    with traced_by(ALWAYS_OFF):
        reader = orchestrator(is_async=False).stream({"out": []})
        next(reader)
        with below(is_remote=False) as trace_id:
            next(reader)
            assert trace.get_current_span().get_span_context().trace_id == trace_id
            reader.close()
            assert trace.get_current_span().get_span_context().trace_id == trace_id

        async def read() -> Sequence[Any]:
            stream = orchestrator(is_async=True).astream({"out": []})
            first = [await anext(stream)]
            await stream.aclose()
            return first

        assert asyncio.run(read())
    assert runs.run_id_of() is None
