"""Each phase of a call equals what the server did, within 20 ms, and the phases add up to it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anthropic
import openai
import pytest
from langchain_core.messages import HumanMessage
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr

from ..clocks import same, seconds
from ..llm_server import LLM, Reply, serving
from ..trees import attributes_of, tree
from .callers import CHAT, call, http_module, langchain_model, openai_client
from .measuring import (
    KINDS,
    MODULES,
    adds_up,
    http_client,
    looks_like,
    named,
    stream_chat,
    until_it_agrees,
)  # fmt: skip


@pytest.mark.parametrize(
    ("api", "module"),
    [*(("openai", m.values[0]) for m in MODULES), ("anthropic", http_module(anthropic))],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.parametrize("is_async", KINDS)
def test_rate_limit_failure_first_token_and_stream(
    traced: InMemorySpanExporter, llm: LLM, module: Any, is_async: bool, api: str
) -> None:
    def scenario() -> None:
        llm.replies += [
            Reply(status=429, retry_after_s=0.2, think_s=0.05),
            Reply(status=500),
            Reply(think_s=0.1, first_s=0.15, pause_s=0.03),
        ]
        stream_chat(llm.url, http_client(module, is_async), is_async=is_async, api=api)
        limited, failed, answered = llm.seen
        asked = "gpt-asked" if api == "openai" else "claude-asked"
        looks_like(
            traced,
            f"chat {asked}\n"
            "  POST\n"
            "  wait rate_limit retry_after=0.2 on=127.0.0.1\n"
            "  POST resend_count=1\n"
            "  wait retry_backoff on=127.0.0.1\n"
            "  POST resend_count=2",
            show=[Attr.RESEND_COUNT, Attr.RETRY_AFTER, Attr.WAIT_ON],
        )
        (chat,) = named(traced, "chat")
        (rate_limit,), (backoff,) = named(traced, "wait rate"), named(traced, "wait retry")
        posts = named(traced, "POST")
        told = attributes_of(chat)
        same("rate limit", seconds(rate_limit), (failed.arrived_ns - limited.ended_ns) / 1e9)
        same("its sum", told[Attr.LLM_RATE_LIMITED], seconds(rate_limit))
        same("back-off", seconds(backoff), (answered.arrived_ns - failed.ended_ns) / 1e9)
        same("thinking", attributes_of(posts[0])[Attr.HTTP_FIRST_BYTE], 0.05)
        thought = (answered.headers_ns - answered.arrived_ns) / 1e9
        same("thinking", attributes_of(posts[2])[Attr.HTTP_FIRST_BYTE], thought)
        assert chat.start_time is not None
        first = (answered.first_token_ns - chat.start_time) / 1e9
        same("first token", told[Attr.TIME_TO_FIRST_CHUNK], first)
        streamed = (answered.ended_ns - answered.first_token_ns) / 1e9
        same("stream", seconds(chat) - told[Attr.TIME_TO_FIRST_CHUNK], streamed)
        after = (answered.ended_ns - answered.headers_ns) / 1e9
        adds_up(traced, chat, after)

    until_it_agrees(scenario, traced, llm)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_pool_of_one_connection(
    traced: InMemorySpanExporter, llm: LLM, module: Any, is_async: bool
) -> None:
    def scenario() -> None:
        llm.replies += [Reply(think_s=0.25), Reply(think_s=0.05)]
        limits = module.Limits(max_connections=1)
        client = http_client(module, is_async, limits=limits)
        sdk = openai_client(llm.url, is_async=is_async, http_client=client)
        if is_async:

            async def both() -> None:
                asks = [sdk.chat.completions.create(**CHAT) for _ in range(2)]
                await asyncio.gather(*asks)
                await client.aclose()

            asyncio.run(both())
        else:
            threads = [
                threading.Thread(target=sdk.chat.completions.create, kwargs=CHAT) for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            client.close()
        wait = max(named(traced, "wait pool"), key=seconds)
        told = attributes_of(wait)
        assert told[Attr.WAIT_ON] == "127.0.0.1"
        assert told[Attr.STATE] == "waiting"
        first, _ = llm.seen
        same("pool", seconds(wait), (first.ended_ns - first.arrived_ns) / 1e9)
        posts = {s.context.span_id: attributes_of(s) for s in named(traced, "POST") if s.context}
        assert wait.parent is not None
        waited = posts.pop(wait.parent.span_id)
        (other,) = posts.values()
        assert waited[Attr.HTTP_REUSED] is True
        assert other[Attr.HTTP_REUSED] is False
        same("thinking", waited[Attr.HTTP_FIRST_BYTE], 0.05)
        same("thinking", other[Attr.HTTP_FIRST_BYTE], 0.25)
        for chat in named(traced, "chat"):
            adds_up(traced, chat, 0)

    until_it_agrees(scenario, traced, llm)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_pool_that_is_full_for_too_long(
    traced: InMemorySpanExporter, llm: LLM, module: Any, is_async: bool
) -> None:
    """The SDK tries again; the wait for the pool is seen although there was no connection."""

    def scenario() -> None:
        llm.replies += [Reply(think_s=1.0)]
        timeout = module.Timeout(5, pool=0.15)
        limits = module.Limits(max_connections=1)
        client = http_client(module, is_async, limits=limits, timeout=timeout)
        sdk = openai_client(
            llm.url, is_async=is_async, http_client=client, max_retries=4, timeout=timeout
        )
        if is_async:

            async def both() -> None:
                first = asyncio.create_task(sdk.chat.completions.create(**CHAT))
                await asyncio.sleep(0.05)
                await sdk.chat.completions.create(**CHAT)
                await first
                await client.aclose()

            asyncio.run(both())
        else:
            thread = threading.Thread(target=sdk.chat.completions.create, kwargs=CHAT)
            thread.start()
            time.sleep(0.05)
            sdk.chat.completions.create(**CHAT)
            thread.join()
            client.close()
        waits = named(traced, "wait pool")
        assert waits
        same("pool", max(map(seconds, waits)), 0.15)
        assert named(traced, "wait retry_backoff")
        for chat in named(traced, "chat"):
            adds_up(traced, chat, 0)

    until_it_agrees(scenario, traced, llm)


@pytest.mark.parametrize("is_async", KINDS)
def test_a_langchain_model_says_the_same(
    traced: InMemorySpanExporter, llm: LLM, is_async: bool
) -> None:
    def scenario() -> None:
        llm.replies += [Reply(status=429, retry_after_s=0.2), Reply(first_s=0.1, pause_s=0.02)]
        # By itself it shares one async client for the whole process, which belongs to one loop.
        model = langchain_model(llm.url, http_async_client=http_module(openai).AsyncClient())

        async def drain() -> None:
            async for _ in model.astream("x"):
                pass

        if is_async:
            asyncio.run(drain())
        else:
            list(model.stream("x"))
        limited, answered = llm.seen
        looks_like(
            traced,
            "chat gpt-asked\n  POST\n  wait rate_limit\n  POST resend_count=1",
            show=[Attr.RESEND_COUNT],
        )
        (chat,), (wait,) = named(traced, "chat"), named(traced, "wait")
        told = attributes_of(chat)
        same("rate limit", seconds(wait), (answered.arrived_ns - limited.ended_ns) / 1e9)
        assert told[Attr.LLM_ATTEMPTS] == 2
        assert chat.start_time is not None
        first = (answered.first_token_ns - chat.start_time) / 1e9
        same("first token", told[Attr.TIME_TO_FIRST_CHUNK], first)
        adds_up(traced, chat, (answered.ended_ns - answered.headers_ns) / 1e9)

    until_it_agrees(scenario, traced, llm)


def test_two_calls_at_once_back_off_each_for_itself(traced: InMemorySpanExporter, llm: LLM) -> None:
    model = langchain_model(llm.url, http_async_client=http_module(openai).AsyncClient())
    llm.replies += [Reply(status=429, retry_after_s=0.2), Reply(think_s=0.1)]

    async def both() -> None:
        await model.agenerate([[HumanMessage("a")], [HumanMessage("b")]])

    asyncio.run(both())
    assert tree(traced.get_finished_spans(), waits=True).count("wait rate_limit") == 1


@pytest.fixture(scope="module")
def slow_reader() -> Iterator[LLM]:
    with serving(takes_at_once=65_536) as llm:
        yield llm


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_request_that_takes_long_to_send(
    traced: InMemorySpanExporter, slow_reader: LLM, module: Any, is_async: bool
) -> None:
    long: Any = {**CHAT, "messages": [{"role": "user", "content": "x" * 1_000_000}]}

    def scenario() -> None:
        slow_reader.replies += [Reply(read_s=0.3, think_s=0.1)]
        make = module.AsyncHTTPTransport if is_async else module.HTTPTransport
        little_at_once = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)]
        client = http_client(module, is_async, transport=make(socket_options=little_at_once))
        sdk = openai_client(slow_reader.url, is_async=is_async, http_client=client)

        async def ask() -> None:
            await sdk.chat.completions.create(**long)
            await client.aclose()

        if is_async:
            asyncio.run(ask())
        else:
            sdk.chat.completions.create(**long)
            client.close()
        (post,) = named(traced, "POST")
        told = attributes_of(post)
        (seen,) = slow_reader.seen
        assert seen.read_ns - seen.arrived_ns > 300_000_000
        same("send", told[Attr.HTTP_SEND], (seen.read_ns - seen.arrived_ns) / 1e9)
        same("thinking", told[Attr.HTTP_FIRST_BYTE], (seen.headers_ns - seen.read_ns) / 1e9)
        (chat,) = named(traced, "chat")
        adds_up(traced, chat, 0)

    until_it_agrees(scenario, traced, slow_reader)


@pytest.mark.parametrize("is_async", KINDS)
@pytest.mark.parametrize("told", ["seconds", "date"])
def test_what_the_server_asks_to_wait_is_told(
    traced: InMemorySpanExporter, llm: LLM, is_async: bool, told: str
) -> None:
    in_two = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    asked = "0.3" if told == "seconds" else in_two
    llm.replies += [Reply(status=429, retry_after_s=None, retry_after=asked)]
    call("openai", llm.url, "create", is_async=is_async)
    (wait,) = named(traced, "wait rate_limit")
    retry_after_s = attributes_of(wait)[Attr.RETRY_AFTER]
    assert retry_after_s == 0.3 if told == "seconds" else 0 < retry_after_s <= 2
    limited, answered = llm.seen
    assert seconds(wait) >= retry_after_s - 0.02
    assert answered.arrived_ns - limited.ended_ns >= (retry_after_s - 0.02) * 1e9
