"""Nothing that is secret is in any exported byte: spans, metrics, run files, logs."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry.exporter.otlp.json.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel
from otel_orchestrator import metrics
from otel_orchestrator.delivery.runfile import RunFileProcessor
from otel_orchestrator.lifecycle import spans
from otel_orchestrator.semconv import Metric

from ..llm_server import LLM, SECRET_ANSWER, Reply
from .callers import FORMS, KEY, PROMPT, call, http_module, openai_client
from .proxy import PASSWORD as PROXY_PASSWORD
from .proxy import USER as PROXY_USER
from .proxy import proxying

USER, PASSWORD, HEADER, MESSAGE = "url-user", "url-password", "header-secret", "message-secret"
QUERY, RAISED = "query-secret", "raised-secret"
PROXY = (PROXY_USER, PROXY_PASSWORD, base64.b64encode(PROXY_PASSWORD.encode()).decode().rstrip("="))
HTTP: Any = http_module(openai)
PLANTED = (PROMPT, "hunter2", KEY, SECRET_ANSWER, "forty-two", USER, PASSWORD, HEADER, MESSAGE)


class Leaky(HTTP.BaseTransport):  # type: ignore[misc]  # of either module
    """A transport that says a key in what it raises."""

    def handle_request(self, request: Any) -> Any:
        raise HTTP.ConnectError(f"could not connect with {KEY} and {RAISED}")


def test_nothing_secret_leaves(llm: LLM, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "otel_orchestrator")
    caplog.set_level(logging.DEBUG, "opentelemetry")
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    run_file = RunFileProcessor(tmp_path, Resource({}))
    provider.add_span_processor(run_file)
    meter_provider = MeterProvider(metric_readers=[reader])
    llm.error_message = MESSAGE
    otel.instrument(tracer_provider=provider, meter_provider=meter_provider)
    try:
        _provoke(llm)
    finally:
        otel.uninstrument()
        llm.error_message = "no"
        provider.shutdown()
        spans.use_provider(None)
        metrics.use_provider(None)
    made = exporter.get_finished_spans()
    assert len(made) > 100
    out = "".join(s.to_json() for s in made) + json.dumps(encode_spans(made).to_dict())
    data = reader.get_metrics_data()
    assert data is not None
    out += data.to_json()
    out += "".join(p.read_text() for p in tmp_path.rglob("*") if p.is_file())
    out += "".join(r.getMessage() for r in caplog.records if not r.name.startswith("httpx"))
    assert "gpt-asked" in out
    assert [s for s in (*PLANTED, *PROXY, QUERY, RAISED) if s in out] == []


def _provoke(llm: LLM) -> None:
    with otel.run("leaky"):
        for api, is_async, form in FORMS:
            call(api, llm.url, form, is_async=is_async, default_headers={"x-secret": HEADER})
        for status in (400, 429, 500):
            llm.replies[:] = [Reply(status=status)] * 2
            with pytest.raises(Exception, match=MESSAGE):
                call("openai", llm.url, "create", is_async=False, max_retries=1)
            llm.replies[:] = [Reply(status=status)] * 2
            with pytest.raises(Exception, match=MESSAGE):
                call("anthropic", llm.url, "create stream", is_async=True, max_retries=1)
        llm.replies[:] = [Reply(drop_after=3)]
        with pytest.raises(Exception, match=r".+"):
            call("openai", llm.url, "create stream", is_async=False)
        llm.replies.clear()
        url = llm.url.replace("://", f"://{USER}:{PASSWORD}@")
        for is_async in (False, True):
            call("openai", url, "create", is_async=is_async)
        with HTTP.Client(transport=Leaky()) as http:
            with pytest.raises(HTTP.ConnectError, match=RAISED):
                http.get(f"{url}/x?key={QUERY}#{QUERY}")
            with pytest.raises(Exception, match="onnection"):
                call("openai", llm.url, "create", is_async=False, http_client=http, max_retries=1)
        _provoke_proxies(llm)
        with openai_client(llm.url, default_query={"key": QUERY}) as client:
            client.chat.completions.create(model="gpt-asked", messages=[])

        async def cancelled() -> None:
            client = openai_client(llm.url, is_async=True)
            asking = asyncio.create_task(
                client.chat.completions.create(
                    model="gpt-asked", messages=[{"role": "user", "content": PROMPT}]
                )
            )
            await asyncio.sleep(0.05)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

        llm.replies[:] = [Reply(think_s=0.3)]
        asyncio.run(cancelled())


def _provoke_proxies(llm: LLM) -> None:
    """Go through a proxy that forwards, one that refuses, and one that is not there."""
    with proxying() as proxy:
        gone = f"http://{PROXY_USER}:{PROXY_PASSWORD}@127.0.0.1:9"
        for url, refuses, scheme in (
            (proxy.url, False, "http"),
            (proxy.url, True, "http"),
            (proxy.url, True, "https"),
            (gone, False, "http"),
        ):
            proxy.refuses = refuses
            target = llm.url.replace("http:", f"{scheme}:")
            for is_async in (False, True):
                kind = HTTP.AsyncClient if is_async else HTTP.Client
                with suppress(openai.APIError):
                    call(
                        "openai",
                        target,
                        "create stream",
                        is_async=is_async,
                        http_client=kind(proxy=url),
                        max_retries=0,
                    )
        assert len(proxy.asked) == 6


def test_few_series(llm: LLM, traced: InMemorySpanExporter, measured: InMemoryMetricReader) -> None:
    """However many calls, retries and failures: the number of series stays what it was."""

    def series() -> int:
        data = measured.get_metrics_data()
        return (
            0
            if data is None
            else sum(
                len(m.data.data_points)
                for r in data.resource_metrics
                for s in r.scope_metrics
                for m in s.metrics
                if m.name != Metric.WAIT_DURATION  # whether there is one for a connection is chance
            )
        )

    def provoke() -> None:
        llm.replies[:] = [Reply(status=429), Reply(status=500)]
        call("openai", llm.url, "create stream", is_async=False, max_retries=3)
        call("openai", llm.url, "responses", is_async=True)
        llm.replies[:] = [Reply(status=400)]
        with pytest.raises(Exception, match="400"):
            call("openai", llm.url, "create", is_async=False)

    provoke()
    few = series()
    for _ in range(3):
        provoke()
    assert series() == few
    # Of this one model: durations (ok, error), first chunk, per chunk, tokens in and out, attempts,
    # rate limits.
    assert few == 8
