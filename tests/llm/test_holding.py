"""What is not the model's work: its reader's pauses, its rate limiter, requests side by side."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import openai
import pytest
from langchain_core.rate_limiters import InMemoryRateLimiter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel, ValidationError

import otel_orchestrator as otel
from otel_orchestrator.lifecycle import wrapping
from otel_orchestrator.semconv import Attr, Metric

from ..clocks import seconds
from ..llm_server import LLM, Reply
from ..trees import tree
from .callers import CHAT, KEY, RESPONSE, http_module, langchain_model, openai_client
from .measuring import named
from .told import chat_of, tokens

PAUSE_S = 0.05


def per_chunk(measured: InMemoryMetricReader) -> float:
    """Return the sum of the gaps between chunks."""
    data: Any = measured.get_metrics_data()
    return sum(
        float(point.sum)
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == Metric.LLM_TIME_PER_OUTPUT_CHUNK
        for point in metric.data.data_points
    )


def own_client(llm: LLM, **options: Any) -> Any:
    """Return a model with an HTTP client of its own: a loop that is over has closed LangChain's."""
    return langchain_model(llm.url, http_async_client=http_module(openai).AsyncClient(), **options)


def read_slowly(llm: LLM, how: str) -> None:
    async def read_async(stream: Any) -> None:
        async for _ in await stream if asyncio.iscoroutine(stream) else stream:
            await asyncio.sleep(PAUSE_S)

    async def ask_async() -> None:
        if how == "langchain async":
            await read_async(own_client(llm).astream("x"))
            return
        async with openai_client(llm.url, is_async=True) as client:
            await read_async(client.chat.completions.create(**CHAT, stream=True))

    if how.endswith("async"):
        asyncio.run(ask_async())
        return
    if how == "langchain":
        for _ in langchain_model(llm.url).stream("x"):
            time.sleep(PAUSE_S)
        return
    with openai_client(llm.url) as client:
        stream = client.chat.completions.create(**CHAT, stream=True)
        while how == "next" and next(stream, None) is not None:
            time.sleep(PAUSE_S)
        for _ in stream:
            time.sleep(PAUSE_S)


@pytest.mark.parametrize("how", ["for", "next", "async", "langchain", "langchain async"])
def test_a_slow_reader_is_no_slow_model(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM, how: str
) -> None:
    read_slowly(llm, how)
    (chat,) = named(traced, "chat")
    holds = named(traced, "wait consumer")
    assert len(holds) >= 6
    assert all(seconds(hold) >= PAUSE_S * 0.9 for hold in holds)
    assert {hold.parent.span_id for hold in holds if hold.parent} == {chat.context.span_id}
    assert sum(map(seconds, holds)) <= seconds(chat)
    assert per_chunk(measured) < 3 * PAUSE_S


def test_what_works_on_chunks_does_not_wait(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM
) -> None:
    with otel.run("r"), otel.node("n"), otel.loop():
        read_slowly(llm, "for")
        read_slowly(llm, "langchain")
    assert named(traced, "wait consumer") == []
    assert per_chunk(measured) < 6 * PAUSE_S
    with otel.run("r"), otel.loop():
        read_slowly(llm, "for")
    assert named(traced, "wait consumer") != []


@pytest.mark.parametrize("model_name", ["gpt-asked", "another"])
def test_who_passes_chunks_on_tells_no_second_hold(
    traced: InMemorySpanExporter, llm: LLM, model_name: str
) -> None:
    @otel.llm_call(model_name)
    def passing_on(client: Any) -> Iterator[Any]:
        yield from client.chat.completions.create(**CHAT, stream=True)

    with openai_client(llm.url) as client:
        for _ in passing_on(client):
            time.sleep(PAUSE_S)
    holds = sorted(named(traced, "wait consumer"), key=lambda hold: hold.start_time or 0)
    assert len(holds) >= 6
    for before, after in pairwise(holds):
        assert (before.end_time or 0) <= (after.start_time or 0)


def test_a_reader_that_leaves_has_held_until_then(traced: InMemorySpanExporter, llm: LLM) -> None:
    with openai_client(llm.url) as client:
        for chunk in client.chat.completions.create(**CHAT, stream=True):
            if chunk.choices[0].delta.content:
                time.sleep(PAUSE_S)
                break
        with otel.node("after"):
            pass
    (chat,) = named(traced, "chat")
    hold = named(traced, "wait consumer")[-1]
    assert seconds(hold) >= PAUSE_S * 0.9
    assert hold.end_time is not None
    assert chat.end_time is not None
    assert hold.end_time <= chat.end_time


@pytest.mark.parametrize("is_async", [False, True])
def test_a_rate_limiter_is_waited_for(
    traced: InMemorySpanExporter, llm: LLM, is_async: bool
) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=10, check_every_n_seconds=0.01)
    model = own_client(llm, rate_limiter=limiter)
    asyncio.run(model.ainvoke("x")) if is_async else model.invoke("x")
    assert (
        tree(traced.get_finished_spans(), waits=True) == "chat gpt-asked\n  wait rate_limit\n  POST"
    )
    (wait,) = named(traced, "wait rate")
    assert seconds(wait) > 0.05
    assert chat_of(traced)[Attr.LLM_RATE_LIMITED] == pytest.approx(seconds(wait), abs=1e-3)


def test_a_rate_limiter_with_room_is_not_waited_for(
    traced: InMemorySpanExporter, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrapping, "NO_HOLD_NS", 10**9)  # no machine is as slow as that
    limiter = InMemoryRateLimiter(requests_per_second=1000, check_every_n_seconds=0.001)
    own_client(llm, rate_limiter=limiter).invoke("x")
    assert not [key for key in chat_of(traced) if "rate_limit" in key]
    assert named(traced, "wait rate") == []


def test_requests_side_by_side_are_no_retries(traced: InMemorySpanExporter, llm: LLM) -> None:
    llm.replies += [Reply(think_s=0.1)] * 3

    async def ask() -> None:
        http = http_module(openai).AsyncClient
        async with http() as client:
            posts = (client.post(f"{llm.url}/chat/completions", json={}) for _ in range(3))
            await asyncio.gather(*posts)

    with otel.llm_call("m"):
        asyncio.run(ask())
    shown = tree(traced.get_finished_spans(), show=[Attr.RESEND_COUNT], waits=True)
    assert shown == "chat m\n  POST\n  POST\n  POST"
    assert chat_of(traced)[Attr.LLM_ATTEMPTS] == 3


def test_a_stream_that_the_transport_has_read_already(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader
) -> None:
    http = http_module(openai)
    envelope = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-real"}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}
    lines = f"data: {json.dumps({**envelope, 'choices': [choice], 'usage': usage})}\n\n"
    kind = {"content-type": "text/event-stream"}

    def answer(_: Any) -> Any:
        return http.Response(200, headers=kind, content=(lines + "data: [DONE]\n\n").encode())

    client = http.Client(transport=http.MockTransport(answer))
    with openai.OpenAI(api_key=KEY, base_url="http://x/v1", http_client=client) as sdk:
        create: Any = sdk.chat.completions.create
        list(create(**CHAT, stream=True))
    told = chat_of(traced)
    assert (told[Attr.OUTCOME], told[Attr.LLM_CHUNKS]) == ("ok", 1)
    assert told[Attr.FINISH_REASONS] == ("stop",)
    assert tokens(measured) == {"input": 1, "output": 2}


class Shape(BaseModel):
    """What no answer of the server's fits."""

    number: int


@pytest.mark.parametrize("how", ["chat", "responses", "langchain"])
def test_an_answer_that_cannot_be_parsed_is_paid_for(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM, how: str
) -> None:
    with openai_client(llm.url) as client, pytest.raises(ValidationError):
        if how == "chat":
            client.chat.completions.parse(**CHAT, response_format=Shape)
        elif how == "responses":
            client.responses.parse(**RESPONSE, text_format=Shape)
        else:
            langchain_model(llm.url).with_structured_output(Shape).invoke("x")
    told = chat_of(traced)
    assert told[Attr.OUTCOME] == "error"
    assert told[Attr.RESPONSE_MODEL] == "gpt-real"
    assert tokens(measured) == {"input": 11, "output": 4}
