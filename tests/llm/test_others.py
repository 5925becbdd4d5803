"""Other instrumentations beside ours: never two `chat` spans for a call, never its tokens twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import metrics
from otel_orchestrator.lifecycle import spans
from otel_orchestrator.sdk.marking import MarkingProcessor
from otel_orchestrator.semconv import Attr, Metric

from ..llm_server import LLM, Reply
from ..trees import attributes_of, tree
from .callers import CHAT, FORMS, KEY, call, langchain_model, openai_client
from .told import chat_of, tokens

OFFICIAL: Any = (OpenAIInstrumentor, AnthropicInstrumentor, LangChainInstrumentor)

# The official instrumentation of AsyncOpenAI reads this form's answer wrongly and ends its span
# before the program has read it.
TELLS_NO_TOKENS = ("openai", True, "streaming response")


@pytest.fixture
def everybody(exported: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """A provider for everybody's spans."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    yield provider
    spans.use_provider(None)


@pytest.fixture
def counted() -> Iterator[tuple[InMemoryMetricReader, MeterProvider]]:
    """A provider for everybody's metrics, with its reader."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    yield reader, provider
    provider.shutdown()
    metrics.use_provider(None)


@pytest.fixture(params=["theirs first", "ours first"])
def official(
    request: pytest.FixtureRequest,
    exported: InMemorySpanExporter,
    everybody: TracerProvider,
    counted: tuple[InMemoryMetricReader, MeterProvider],
) -> Iterator[InMemorySpanExporter]:
    """OpenTelemetry's own instrumentations of the two SDKs and of LangChain, and all of ours."""
    providers: Any = {"tracer_provider": everybody, "meter_provider": counted[1]}
    is_first = request.param == "theirs first"
    if is_first:
        for kind in OFFICIAL:
            kind().instrument(**providers)
    otel.instrument(only=["langchain", "openai", "anthropic", "httpx", "httpx2"], **providers)
    if not is_first:
        for kind in OFFICIAL:
            kind().instrument(**providers)
    yield exported
    if is_first:
        otel.uninstrument()
    for kind in OFFICIAL:
        kind().uninstrument()
    otel.uninstrument()


@pytest.mark.parametrize(("api", "is_async", "form"), FORMS)
def test_a_call_of_an_sdk_is_one_span(
    official: InMemorySpanExporter,
    counted: tuple[InMemoryMetricReader, MeterProvider],
    llm: LLM,
    api: str,
    is_async: bool,
    form: str,
) -> None:
    llm.replies += [Reply(status=429)]
    call(api, llm.url, form, is_async=is_async)
    asked = "gpt-asked" if api == "openai" else "claude-asked"
    assert tree(official.get_finished_spans()) == f"chat {asked}\n  POST\n  POST"
    told = chat_of(official)
    assert told[Attr.CATEGORY] == "llm"
    assert told[Attr.LLM_ATTEMPTS] == 2
    # What the program reads as bytes, theirs does not count.
    is_counted = not form.endswith("of a stream")
    assert tokens(counted[0]) == ({"input": 11, "output": 4} if is_counted else {})
    if (api, is_async, form) != TELLS_NO_TOKENS:
        assert (told[Attr.INPUT_TOKENS], told[Attr.OUTPUT_TOKENS]) == (11, 4)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One loop for all, because LangChain's models share their async clients."""
    with asyncio.Runner() as runner:
        yield runner


def _models(url: str) -> dict[str, Any]:
    claude: Any = {"model_name": "claude-asked", "base_url": url, "api_key": KEY}
    return {
        "chat": langchain_model(url, stream_usage=True),
        "responses": langchain_model(url, use_responses_api=True),
        "claude": ChatAnthropic(**claude),
    }


@pytest.mark.parametrize("how", ["invoke", "stream", "ainvoke", "astream"])
@pytest.mark.parametrize("which", ["chat", "responses", "claude"])
def test_a_call_of_langchain_is_one_span(
    official: InMemorySpanExporter,
    counted: tuple[InMemoryMetricReader, MeterProvider],
    llm: LLM,
    loop: asyncio.Runner,
    which: str,
    how: str,
) -> None:
    async def drain(model: Any) -> None:
        if how == "ainvoke":
            await model.ainvoke("x")
        else:
            async for _ in model.astream("x"):
                pass

    model = _models(llm.url)[which]
    if how.startswith("a"):
        loop.run(drain(model))
    elif how == "invoke":
        model.invoke("x")
    else:
        list(model.stream("x"))
    asked = "claude-asked" if which == "claude" else "gpt-asked"
    assert tree(official.get_finished_spans()) == f"chat {asked}\n  POST"
    told = chat_of(official)
    assert (told[Attr.INPUT_TOKENS], told[Attr.OUTPUT_TOKENS]) == (11, 4)
    assert tokens(counted[0]) == {"input": 11, "output": 4}


@pytest.mark.parametrize("form", ["create", "create stream", "stream"])
@pytest.mark.parametrize("is_async", [False, True])
def test_anthropics_own_span_does_not_say_it_again(
    traced: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    everybody: TracerProvider,
    llm: LLM,
    form: str,
    is_async: bool,
) -> None:
    options = {"open_telemetry": {"tracer_provider": everybody}}
    call("anthropic", llm.url, form, is_async=is_async, **options)
    assert tree(traced.get_finished_spans()) == "chat claude-asked\n  POST"
    assert tokens(measured) == {"input": 11, "output": 4}
    otel.uninstrument()
    traced.clear()
    call("anthropic", llm.url, form, is_async=is_async, **options)
    assert tree(traced.get_finished_spans()) == "anthropic.messages.create"


THEIR_CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-asked"}


@pytest.mark.parametrize("form", ["create", "create stream"])
def test_whatever_made_the_span_of_this_call_it_is_taken(
    traced: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    everybody: TracerProvider,
    llm: LLM,
    form: str,
) -> None:
    tracer = everybody.get_tracer("somebody")
    llm.replies += [Reply(status=500)]
    with tracer.start_as_current_span("chat gpt-asked", attributes=THEIR_CALL) as span:
        call("openai", llm.url, form, is_async=False)
        span.set_attribute(Attr.INPUT_TOKENS, 11)
    assert tree(traced.get_finished_spans()) == "chat gpt-asked\n  POST\n  POST"
    told = chat_of(traced)
    assert told[Attr.CATEGORY] == "llm"
    assert told[Attr.LLM_ATTEMPTS] == 2
    assert Attr.PROMPT_HASH in told
    assert tokens(measured) == {}


def test_such_a_span_may_end_before_the_stream(
    traced: InMemorySpanExporter,
    measured: InMemoryMetricReader,
    everybody: TracerProvider,
    llm: LLM,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracer = everybody.get_tracer("somebody")
    llm.replies += [Reply(status=500)]
    with openai_client(llm.url) as client:
        with tracer.start_as_current_span("chat gpt-asked", attributes=THEIR_CALL):
            stream = client.chat.completions.create(**CHAT, stream=True)
        for _ in stream:
            pass
    assert chat_of(traced)[Attr.LLM_ATTEMPTS] == 2
    assert [r.getMessage() for r in caplog.records if r.name.startswith("opentelemetry")] == []
    data = measured.get_metrics_data()
    assert data is not None
    assert Metric.LLM_ATTEMPTS in data.to_json()


def test_a_span_for_another_call_is_a_parent(
    traced: InMemorySpanExporter, everybody: TracerProvider, llm: LLM
) -> None:
    told = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "another"}
    with everybody.get_tracer("x").start_as_current_span("chat another", attributes=told):
        call("openai", llm.url, "create", is_async=False)
    assert tree(traced.get_finished_spans()) == "chat another\n  chat gpt-asked\n    POST"


def test_somebody_elses_http_span_below_a_call_is_the_calls_work(
    exported: InMemorySpanExporter, everybody: TracerProvider
) -> None:
    everybody.add_span_processor(MarkingProcessor())
    tracer = everybody.get_tracer("aiohttp")
    with otel.llm_call("gpt-asked"):
        tracer.start_span("GET", attributes={"http.request.method": "GET"}).end()
    tracer.start_span("GET", attributes={"http.request.method": "GET"}).end()
    told = [
        attributes_of(s)[Attr.CATEGORY] for s in exported.get_finished_spans() if s.name == "GET"
    ]
    assert told == ["llm", "http"]
