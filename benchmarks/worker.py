"""One process of `cost.py` or `rivals.py`: it sets up one way of tracing, and then does the work.

    python benchmarks/worker.py SETUP graph SHAPE MODE KB      a graph of 50 nodes, when told to
    python benchmarks/worker.py SETUP llm CALLS TOKENS         nodes that call a model, when told to
    python benchmarks/worker.py SETUP rate SPANS SECONDS       spans at a rate; then what it took
    python benchmarks/worker.py SETUP exit                     spans, and the instant of main's end

`graph` and `llm` do it once for each line that they read, and write what that took: microseconds of
CPU of the calling thread, and of the whole process, until everything that was made is written and
sent, or `_PATIENCE_MS` are over.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tracers.langchain import wait_for_all_tracers
from langgraph.graph import START, StateGraph
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from overhead import (
    NODE,
    NODES,
    Nowhere,
    State,
    graph_of,
    run_and_loop,
    run_loop_and_superstep,
    superstep_and_node,
    task_and_node,
)

import otel_orchestrator as otel
from otel_orchestrator import _guard

_PATIENCE_MS: Final = 300
_AT_EXIT: Final = 500  # nodes before the end
_ANSWER: Final = "word " * 20

By_hand = Callable[[trace.Tracer], AbstractContextManager[None]]


# --- ways of tracing ---


class _Counting(Nowhere):
    """Takes everything and counts it."""

    spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Take spans."""
        _Counting.spans += len(spans)
        return SpanExportResult.SUCCESS


def _null_provider() -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(_Counting(), max_queue_size=100_000))
    trace.set_tracer_provider(provider)
    return provider


def _untraced() -> None:
    pass


def _by_hand() -> None:
    """Spans by hand, sent as a careful user would."""
    provider = TracerProvider()
    if "OTEL_EXPORTER_OTLP_ENDPOINT" in os.environ:
        made = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        processor = BatchSpanProcessor(made.OTLPSpanExporter(), max_queue_size=100_000)
    else:
        processor = BatchSpanProcessor(Nowhere(), max_queue_size=100_000)
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)


def _ours() -> None:
    """Everything on, as the documentation says."""
    folder = tempfile.mkdtemp(prefix="otel-orchestrator-cost-")
    otel.configure("cost", run_dir=folder)
    otel.instrument()


def _ours_alone() -> None:
    """Our spans, without run files, to the same exporter as the rivals'."""
    otel.instrument(only=["langgraph", "langchain"], tracer_provider=_null_provider())


def _rival(module: str, name: str) -> Callable[[], None]:
    def set_up() -> None:
        instrumentor = getattr(importlib.import_module(module), name)()
        instrumentor.instrument(tracer_provider=_null_provider())

    return set_up


SETUPS: Final[dict[str, Callable[[], None]]] = {
    "untraced": _untraced,
    "by hand": _by_hand,
    "ours": _ours,
    "ours alone": _ours_alone,
    "openinference": _rival("openinference.instrumentation.langchain", "LangChainInstrumentor"),
    "openllmetry": _rival("opentelemetry.instrumentation.langchain", "LangchainInstrumentor"),
    "genai": _rival("opentelemetry.instrumentation.genai.langchain", "LangChainInstrumentor"),
    "langsmith": _untraced,  # by variables alone
}


# --- work ---


def _graph(setup: str, shape: str, mode: str, kilobytes: str) -> Callable[[], None]:
    is_async = mode == "async"
    nothing: Callable[[], Any] = nullcontext
    around_node, around_run = nothing, nothing
    if setup == "by hand":
        tracer = trace.get_tracer("by hand")
        is_chain = shape == "chain"
        in_node: By_hand = superstep_and_node if is_chain else task_and_node
        in_run: By_hand = run_and_loop if is_chain else run_loop_and_superstep

        def around_node() -> Any:
            return in_node(tracer)

        def around_run() -> Any:
            return in_run(tracer)

    graph = graph_of(shape, is_async=is_async, around=around_node)
    state: State = {"payload": "x" * (int(kilobytes) * 1000)}
    loop = asyncio.Runner()

    def run() -> None:
        with around_run():
            if is_async:
                loop.run(graph.ainvoke(state, {"recursion_limit": 1000}))
            else:
                graph.invoke(state, {"recursion_limit": 1000})

    return run


class _Says(BaseChatModel):
    """A model that answers at once, whole or in chunks."""

    chunks: int = 0

    @property
    def _llm_type(self) -> str:
        return "says"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=_ANSWER))])

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for _ in range(self.chunks):
            yield ChatGenerationChunk(message=AIMessageChunk(content="word "))


def _llm(setup: str, calls: str, tokens: str) -> Callable[[], None]:
    """A chain of 10 nodes that each make so many calls; streamed if there are tokens."""
    model, each = _Says(chunks=int(tokens)), int(calls)

    def work(state: State) -> State:
        for _ in range(each):
            if tokens == "0":
                model.invoke("word " * 100)
            else:
                for _ in model.stream("word " * 100):
                    pass
        return {}

    graph = StateGraph(State)
    before = START
    for i in range(10):
        graph.add_node(f"n{i}", work)
        graph.add_edge(before, f"n{i}")
        before = f"n{i}"
    compiled = graph.compile(name="bench")
    return lambda: compiled.invoke({"payload": "x" * 1000})  # type: ignore[return-value]


WORK: Final[dict[str, Callable[..., Callable[[], None]]]] = {"graph": _graph, "llm": _llm}


def _in_turns(setup: str, run: Callable[[], None]) -> None:
    for _ in sys.stdin:
        gc.collect()
        gc.disable()
        thread, process, wall = time.thread_time(), time.process_time(), time.monotonic()
        run()
        thread, wall = time.thread_time() - thread, time.monotonic() - wall
        _flush(setup)
        process = time.process_time() - process
        gc.enable()
        spans, _Counting.spans = _Counting.spans, 0
        taken = {"thread": thread * 1e6, "process": process * 1e6, "wall": wall * 1e6}
        taken["spans"] = spans
        print(json.dumps(taken), flush=True)


def _flush(setup: str) -> None:
    if setup == "langsmith":
        wait_for_all_tracers()
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(_PATIENCE_MS)


def _at_rate(setup: str, per_second: str, seconds: str) -> None:
    """Make spans at a rate, in small bursts; what is in them takes no time."""
    rate, pause = int(per_second), max(0.02, 1 / int(per_second))
    one = _one_span(setup)
    began = until = time.monotonic()
    kilobytes, used, spans = _resident_kb(), time.process_time(), 0
    while (now := time.monotonic()) < began + float(seconds):
        while spans < rate * (now - began):
            one()
            spans += 1
        until += pause
        time.sleep(max(0.0, until - time.monotonic()))
    took = {
        "cpu": (time.process_time() - used) / (time.monotonic() - began),
        "grown_mb": (_resident_kb() - kilobytes) / 1e3,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "spans": spans / (time.monotonic() - began),
    }
    print(json.dumps(took), flush=True)
    os._exit(0)


def _one_span(setup: str) -> Callable[[], None]:
    if setup == "untraced":
        return _untraced
    if setup == "by hand":
        tracer = trace.get_tracer("by hand")

        def by_hand() -> None:
            with tracer.start_as_current_span("node n", attributes=NODE) as node:
                node.set_attribute("orchestrator.outcome", "ok")

        return by_hand

    def ours() -> None:
        with otel.node("n"):
            pass

    run = otel.run("rate")
    run.__enter__()  # left open, as that of an orchestrator which runs for days
    return ours


def _resident_kb() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - once, and small
        return int(statm.read().split()[1]) * resource.getpagesize() // 1000


def _exit(setup: str) -> None:
    run = _graph(setup, "chain", "sync", "1")
    for _ in range(_AT_EXIT // NODES):
        run()
    print(json.dumps({"ended": time.monotonic()}), flush=True)


def main() -> None:
    """Set up and work."""
    setup, kind, *arguments = sys.argv[1:]
    _guard.strict = True  # else what is broken would cost nothing
    logging.getLogger("otel_orchestrator").setLevel(logging.ERROR)  # not that nobody answers
    SETUPS[setup]()
    if kind == "rate":
        _at_rate(setup, *arguments)
    elif kind == "exit":
        _exit(setup)
    else:
        _in_turns(setup, WORK[kind](setup, *arguments))


if __name__ == "__main__":
    main()
