"""What happens inside a node is below that node: spans, HTTP calls, subprocesses, threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import httpx2
import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator import runs

from ..trees import tree
from .driving import ASYNC, SYNC, Drive, in_user_span
from .graphs import State


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def http_traced(traced: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(traced))
    for instrumentor in (HTTPXClientInstrumentor(), HTTPX2ClientInstrumentor()):
        instrumentor.instrument(tracer_provider=provider)
    yield traced
    for instrumentor in (HTTPXClientInstrumentor(), HTTPX2ClientInstrumentor()):
        instrumentor.uninstrument()


def fan_out(worker: Callable[..., Any], *, in_subgraph: bool) -> Any:
    """Two parallel workers by `Send`, each `worker` itself or a subgraph of it."""
    node: Any = worker
    if in_subgraph:
        inner = StateGraph(State)
        inner.add_node("inner", worker)
        inner.add_edge(START, "inner")
        node = inner.compile(name="sub")
    graph = StateGraph(State)
    graph.add_node("worker", node)
    graph.add_conditional_edges(
        START, lambda state: [Send("worker", {"out": []}) for _ in range(2)], ["worker"]
    )
    return graph.compile(name="outer")


@pytest.mark.parametrize("in_subgraph", [False, True], ids=["node", "subgraph"])
@pytest.mark.parametrize("drive", SYNC + ASYNC)
def test_calls_nest_below_their_node(
    http_traced: InMemorySpanExporter, url: str, drive: Drive, in_subgraph: bool
) -> None:
    def call() -> None:
        with in_user_span("own"), httpx.Client() as client:
            client.get(url)
        with httpx2.Client() as client2:
            client2.get(url)

    def work(state: State) -> dict[str, Any]:
        call()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(copy_context().run, call).result()
        return {}

    async def acall() -> None:
        with in_user_span("own"):
            async with httpx.AsyncClient() as client:
                await client.get(url)
        async with httpx2.AsyncClient() as client2:
            await client2.get(url)

    async def awork(state: State) -> dict[str, Any]:
        await acall()
        await asyncio.gather(acall(), asyncio.to_thread(call))
        return {}

    drive(fan_out(awork if drive in ASYNC else work, in_subgraph=in_subgraph), {"out": []})
    finished = http_traced.get_finished_spans()
    name = "node inner" if in_subgraph else "node worker"
    nodes = {s.context.span_id: s for s in finished if s.name == name}
    assert len(nodes) == 2
    calls = 3 if drive in ASYNC else 2
    for kind in ("own", "GET"):
        parents = [s.parent.span_id for s in finished if s.name == kind and s.parent]
        for node_id in nodes:
            assert parents.count(node_id) == calls, tree(finished)
    owned = {s.context.span_id for s in finished if s.name == "own"}
    inside_own = [s for s in finished if s.name == "GET" and s.parent and s.parent.span_id in owned]
    assert len(inside_own) == 2 * calls


def test_forty_graphs_at_once_never_mix_parents(traced: InMemorySpanExporter) -> None:
    """Each graph is named, and so are its user spans: a wrong parent shows as a wrong name."""

    def graph_of(index: int, is_async: bool) -> Any:
        def work(state: State) -> dict[str, Any]:
            with in_user_span(f"own {index}"):
                return {}

        async def awork(state: State) -> dict[str, Any]:
            with in_user_span(f"own {index}"):
                await asyncio.sleep(0.001)
            return {}

        graph = StateGraph(State)
        graph.add_node(f"n{index}", awork if is_async else work)
        graph.add_conditional_edges(
            START, lambda s: [Send(f"n{index}", {}) for _ in range(3)], [f"n{index}"]
        )
        return graph.compile(name=f"g{index}")

    async def run_async() -> None:
        await asyncio.gather(*(graph_of(i, True).ainvoke({"out": []}) for i in range(24)))

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(graph_of(i, False).invoke, {"out": []}) for i in range(24, 40)]
        asyncio.run(run_async())
        for future in futures:
            future.result()
    finished = {s.context.span_id: s for s in traced.get_finished_spans()}
    own = [s for s in finished.values() if s.name.startswith("own")]
    assert len(own) == 120
    for span in own:
        index = span.name.split()[1]
        assert span.parent is not None
        node = finished[span.parent.span_id]
        assert node.name == f"node n{index}"
    assert len([s for s in finished.values() if s.parent is None]) == 40


def test_a_users_span_keeps_its_attributes_and_the_node_span_is_current(
    traced: InMemorySpanExporter,
) -> None:
    from opentelemetry import trace

    def work(state: State) -> dict[str, Any]:
        trace.get_current_span().set_attribute("mine", 1)
        assert runs.run_id_of() is not None
        return {}

    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.compile().invoke({"out": []})
    node = next(s for s in traced.get_finished_spans() if s.name == "node work")
    assert (node.attributes or {})["mine"] == 1
