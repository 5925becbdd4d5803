"""What an attempt goes through: its connection, TLS, HTTP/2, whoever makes the request."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry import context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import _guard, metrics
from otel_orchestrator.instrumentors import _attempts, http
from otel_orchestrator.lifecycle import spans
from otel_orchestrator.sdk.run_totals import RunTotals
from otel_orchestrator.semconv import Attr, Metric

from ..clocks import same, seconds
from ..llm_server import LLM, Reply, serving
from ..trees import attributes_of
from .callers import CHAT, http_module, openai_client
from .certificates import client_context, server_context
from .http2_server import serving_http2
from .measuring import (
    BOTH,
    KINDS,
    MODULES,
    adds_up,
    http_client,
    looks_like,
    named,
    stream_chat,
    until_it_agrees,
)  # fmt: skip
from .told import chat_of


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def slow_tls(certificates: Path) -> Iterator[LLM]:
    with serving(tls=server_context(certificates, ["http/1.1"]), handshake_s=0.2) as llm:
        yield llm


@pytest.fixture
def trusting(certificates: Path) -> ssl.SSLContext:
    return client_context(certificates)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_slow_handshake(
    traced: InMemorySpanExporter, slow_tls: LLM, certificates: Path, module: Any, is_async: bool
) -> None:
    def scenario() -> None:
        slow_tls.replies += [Reply(think_s=0.05)]
        client = http_client(module, is_async, verify=client_context(certificates))
        stream_chat(slow_tls.url, client, is_async=is_async)
        (post,) = named(traced, "POST")
        told = attributes_of(post)
        same("handshake", told[Attr.HTTP_TLS], 0.2)
        same("connect", told[Attr.HTTP_CONNECT], 0.0)
        same("thinking", told[Attr.HTTP_FIRST_BYTE], 0.05)
        (chat,), (seen,) = named(traced, "chat"), slow_tls.seen
        adds_up(traced, chat, (seen.ended_ns - seen.headers_ns) / 1e9)
        assert told[Attr.HTTP_REUSED] is False

    until_it_agrees(scenario, traced, slow_tls)


@pytest.mark.parametrize("module", BOTH)
@pytest.mark.parametrize("is_async", KINDS)
def test_requests_of_no_call_have_phases_too(
    traced: InMemorySpanExporter, llm: LLM, module: Any, is_async: bool
) -> None:
    """And a trace extension of the program's own is called as before."""
    events: list[str] = []

    async def hear_async(name: str, info: Any) -> None:
        events.append(name)

    def hear(name: str, info: Any) -> None:
        events.append(name)

    async def ask() -> None:
        async with module.AsyncClient() as client:
            await client.post(f"{llm.url}/v1/messages", json={}, extensions={"trace": hear_async})

    if is_async:
        asyncio.run(ask())
    else:
        with module.Client() as client:
            client.post(f"{llm.url}/v1/messages", json={}, extensions={"trace": hear})
    assert "http11.send_request_body.complete" in events
    (post,) = named(traced, "POST")
    told = attributes_of(post)
    assert told[Attr.HTTP_FIRST_BYTE] > 0
    assert told[Attr.CATEGORY] == "http"
    otel.uninstrument()


@pytest.fixture(scope="module")
def http2(certificates: Path) -> Iterator[LLM]:
    with serving_http2(server_context(certificates, ["h2"])) as llm:
        yield llm


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_http2(
    traced: InMemorySpanExporter, http2: LLM, certificates: Path, module: Any, is_async: bool
) -> None:
    def scenario() -> None:
        http2.replies += [
            Reply(status=429, retry_after_s=0.2, think_s=0.05),
            Reply(think_s=0.1, first_s=0.15, pause_s=0.03),
        ]
        client = http_client(module, is_async, http2=True, verify=client_context(certificates))
        stream_chat(http2.url, client, is_async=is_async)
        limited, answered = http2.seen
        looks_like(
            traced,
            "chat gpt-asked\n  POST\n  wait rate_limit\n  POST resend_count=1",
            show=[Attr.RESEND_COUNT],
        )
        (chat,), (wait,) = named(traced, "chat"), named(traced, "wait")
        told, posts = attributes_of(chat), named(traced, "POST")
        same("rate limit", seconds(wait), (answered.arrived_ns - limited.ended_ns) / 1e9)
        same("thinking", attributes_of(posts[1])[Attr.HTTP_FIRST_BYTE], 0.1)
        assert [attributes_of(p)[Attr.HTTP_REUSED] for p in posts] == [False, True]
        assert chat.start_time is not None
        first = (answered.first_token_ns - chat.start_time) / 1e9
        same("first token", told[Attr.TIME_TO_FIRST_CHUNK], first)
        after = (answered.ended_ns - answered.headers_ns) / 1e9
        adds_up(traced, chat, after)

    until_it_agrees(scenario, traced, http2)


# What our hooks and the trace extension call, inside of their guards.
HOOKS = [
    (http, "_mark"),
    (http, "_clean_url"),
    (http, "_leave_out_messages"),
    (_attempts, "_back_off"),
    (_attempts, "_retry_after_s"),
    (_attempts.Attempt, "event"),
    (_attempts.Attempt, "_tell_phases"),
    (_attempts.Attempt, "answered"),
]


@pytest.mark.parametrize(("owner", "hook"), HOOKS)
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("is_async", KINDS)
def test_a_fault_of_ours_changes_nothing_for_the_program(
    traced: InMemorySpanExporter,
    llm: LLM,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    hook: str,
    module: Any,
    is_async: bool,
) -> None:
    monkeypatch.setattr(_guard, "strict", False)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(owner, hook, broken)
    llm.replies += [Reply(status=429)]
    stream_chat(llm.url, http_client(module, is_async), is_async=is_async)
    assert len(llm.requests) == 2
    assert len(named(traced, "POST")) == 2


def test_what_a_run_comes_to_counts_the_call_and_not_its_attempts(
    exported: InMemorySpanExporter, llm: LLM
) -> None:
    reader = InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider(metric_readers=[reader])
    tracers.add_span_processor(RunTotals("base"))
    otel.instrument(only=["openai", "httpx2"], tracer_provider=tracers, meter_provider=meters)
    llm.replies += [Reply(status=429)]
    with otel.run("shop"), openai_client(llm.url) as client:
        client.chat.completions.create(**CHAT)
    otel.uninstrument()
    data = reader.get_metrics_data()
    spans.use_provider(None)
    metrics.use_provider(None)
    assert data is not None
    (calls,) = [
        point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == Metric.RUN_LLM_CALLS
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    ]
    assert calls == 1


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_calls_context_does_not_hold_the_clients_pool(
    traced: InMemorySpanExporter, llm: LLM, is_refused: bool
) -> None:
    def ask(url: str) -> weakref.ref[Any]:
        client = http_module(openai).Client()
        with client, suppress(http_module(openai).ConnectError):
            client.post(url, json={})
        return weakref.ref(client._transport._pool)

    with otel.llm_call("m"):
        kept = context.get_current()  # as whatever was begun within the call does
        pool = ask("http://127.0.0.1:1/" if is_refused else f"{llm.url}/chat/completions")
    gc.collect()
    assert pool() is None
    assert kept
    assert chat_of(traced)[Attr.LLM_ATTEMPTS] == 1
