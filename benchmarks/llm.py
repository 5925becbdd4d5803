"""What tracing an LLM call costs: for each streamed token, and for each HTTP request.

    python benchmarks/llm.py [--repeats N]

The OpenAI SDK, over a transport that answers from memory, so that nothing but code takes time. The
ways take turns in one process, and the fastest of many repeats counts, in CPU time of the calling
thread: these machines are noisy, so read the ratios. Spans are sampled and go to a batch processor
that exports to nowhere; metrics go to a real meter provider.

- token: reading one chunk of a streamed answer that the SDK has parsed already: what is added where
  its `Stream` is iterated, the records at the call's end included.
- invoke: the same for a LangChain model that streams although it is asked by `invoke`, where chunks
  are seen on their way to its run manager.
- call: a whole call that is not streamed, with its one request. `httpx only` is the floor: what
  OpenTelemetry's own instrumentation of the HTTP client takes.
- attempt: a request over a real connection to a local server, where the phases come from.
"""

from __future__ import annotations

import argparse
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import openai
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from openai.types.chat import ChatCompletionChunk
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import otel_orchestrator as otel
from otel_orchestrator import metrics
from otel_orchestrator.lifecycle import spans

TOKENS = 1000
ROUNDS = 8


class Nowhere(SpanExporter):
    """Takes everything and does nothing."""

    def export(self, spans: Any) -> SpanExportResult:
        """Take spans."""
        return SpanExportResult.SUCCESS


def provider() -> TracerProvider:
    """Return a provider that does everything but send."""
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    return made


def chunk(delta: dict[str, Any], reason: str | None = None) -> ChatCompletionChunk:
    """Return one chunk of a streamed answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return ChatCompletionChunk.model_validate({**body, "choices": [choice]})


CHUNKS = [*(chunk({"content": "word "}) for _ in range(TOKENS)), chunk({}, "stop")]


class Stream(httpx2.SyncByteStream):
    """A body that nobody reads."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"data: [DONE]\n\n"


WHOLE: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


def memory() -> openai.OpenAI:
    """Return a client whose answers come from memory."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if b'"stream":true' in request.content:
            headers = {"content-type": "text/event-stream"}
            return httpx2.Response(200, headers=headers, stream=Stream())
        return httpx2.Response(200, json=WHOLE)

    http = httpx2.Client(transport=InMemory(answer))
    return openai.OpenAI(base_url="http://localhost/v1", api_key="k", http_client=http)


class InMemory(httpx2.HTTPTransport):
    """An HTTP transport, so that instrumentations see it, which sends nothing."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
        super().__init__()
        self._answer = answer

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request."""
        return self._answer(request)


def streamed(client: openai.OpenAI) -> Callable[[], None]:
    """Return what reads one streamed answer, opened before."""
    messages: Any = [{"role": "user", "content": "x"}]
    stream: Any = client.chat.completions.create(model="m", messages=messages, stream=True)
    stream._iterator = iter(CHUNKS)

    def read() -> None:
        for _ in stream:
            pass

    return read


class Says(BaseChatModel):
    """A LangChain model that streams as many tokens."""

    @property
    def _llm_type(self) -> str:
        return "says"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for _ in range(TOKENS):
            yield ChatGenerationChunk(message=AIMessageChunk(content="word "))

    def close(self) -> None:
        """There is nothing to close."""


def invoked(model: Says) -> Callable[[], None]:
    """Return what asks for one answer, which comes in chunks inside."""
    asking = model.bind(stream=True)

    def ask() -> None:
        asking.invoke("x")

    return ask


def whole(client: openai.OpenAI) -> Callable[[], None]:
    """Return what asks for one answer."""
    messages: Any = [{"role": "user", "content": "x"}]

    def ask() -> None:
        client.chat.completions.create(model="m", messages=messages)

    return ask


def bare() -> Callable[[], None]:
    """Trace nothing."""
    return lambda: None


def httpx_only() -> Callable[[], None]:
    """Trace HTTP requests by OpenTelemetry's own instrumentation."""
    made, inner = provider(), HTTPX2ClientInstrumentor()
    inner.instrument(tracer_provider=made, meter_provider=meter())

    def undo() -> None:
        inner.uninstrument()
        made.shutdown()

    return undo


def ours() -> Callable[[], None]:
    """Trace calls and requests."""
    made = provider()
    otel.instrument(
        only=["langchain", "openai", "httpx2"], tracer_provider=made, meter_provider=meter()
    )

    def undo() -> None:
        otel.uninstrument()
        made.shutdown()
        spans.use_provider(None)
        metrics.use_provider(None)

    return undo


def meter() -> MeterProvider:
    """Return a meter provider whose metrics nobody collects."""
    return MeterProvider(metric_readers=[InMemoryMetricReader()], shutdown_on_exit=False)


WAYS = {"untraced": bare, "httpx only": httpx_only, "ours": ours}


def fastest(
    make: Callable[[], Any], prepare: Callable[[Any], Callable[[], None]], repeats: int
) -> dict[str, float]:
    """Run every way in turn; return the fastest of each, in seconds."""
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in range(repeats):
        for name, way in WAYS.items():
            undo = way()
            client = make()
            for turn in range(ROUNDS):
                run = prepare(client)
                gc.disable()
                began = time.thread_time()
                run()
                if turn:
                    best[name] = min(best[name], time.thread_time() - began)
                gc.enable()
            client.close()
            undo()
    return best


class Handler(BaseHTTPRequestHandler):
    """Answers with one whole answer."""

    protocol_version = "HTTP/1.1"
    body = json.dumps(WHOLE).encode()

    def do_POST(self) -> None:
        """Answer a request."""
        self.rfile.read(int(self.headers["content-length"]))
        head = (
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(self.body)}"
        )
        self.wfile.write(head.encode() + b"\r\n\r\n" + self.body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def row(name: str, best: dict[str, float]) -> None:
    """Print microseconds of each way, and what is added."""
    us = {way: seconds * 1e6 for way, seconds in best.items()}
    added = us["ours"] - us["untraced"]
    floor = us["httpx only"] - us["untraced"]
    print(f"{name:<10}{us['untraced']:>12.2f}{floor:>14.2f}{added:>12.2f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    print(f"microseconds of CPU (fastest of {repeats} interleaved repeats)\n")
    print(f"{'':<10}{'untraced':>12}{'+ httpx only':>14}{'+ ours':>12}")
    token = fastest(memory, streamed, repeats)
    row("token", {w: s / TOKENS for w, s in token.items()})
    invoke = fastest(Says, invoked, repeats)
    row("invoke", {w: s / TOKENS for w, s in invoke.items()})
    call = fastest(memory, whole, repeats)
    row("call", call)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    attempt = fastest(lambda: openai.OpenAI(base_url=url, api_key="k"), whole, repeats)
    row("attempt", attempt)
    server.shutdown()


if __name__ == "__main__":
    main()
