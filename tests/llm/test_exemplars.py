"""From a metric of LLM calls to the very call: exemplars, which cumulative exporters pass on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_orchestrator as otel
from otel_orchestrator.lifecycle import spans
from otel_orchestrator.semconv import Metric

from ..llm_server import LLM, Reply
from .callers import call, langchain_model

MEASURED = {
    Metric.LLM_DURATION,
    Metric.LLM_TIME_TO_FIRST_CHUNK,
    Metric.LLM_TIME_PER_OUTPUT_CHUNK,
    Metric.TOKEN_USAGE,
    Metric.LLM_ATTEMPTS,
    Metric.LLM_RATE_LIMITED,
}


def _by_langchain(url: str) -> None:
    list(langchain_model(url, stream_usage=True).stream("x"))


def _by_langchain_async(url: str) -> None:
    async def drain() -> None:
        async for _ in langchain_model(url, stream_usage=True).astream("x"):
            pass

    asyncio.run(drain())


WAYS: dict[str, Callable[[str], None]] = {
    "openai": lambda url: call("openai", url, "create stream", is_async=False),
    "async openai": lambda url: call("openai", url, "create stream", is_async=True),
    "anthropic": lambda url: call("anthropic", url, "create stream", is_async=False),
    "async anthropic": lambda url: call("anthropic", url, "stream", is_async=True),
    "langchain": _by_langchain,
    "async langchain": _by_langchain_async,
}


def exemplars(measured: InMemoryMetricReader) -> dict[str, set[tuple[int | None, int | None]]]:
    """Return the traces and spans that the points of each metric of LLM calls lead to."""
    found: dict[str, set[tuple[int | None, int | None]]] = {}
    data = measured.get_metrics_data()
    assert data is not None
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name in MEASURED:
                    points: Any = metric.data.data_points
                    ids = {(e.trace_id, e.span_id) for p in points for e in p.exemplars}
                    found.setdefault(metric.name, set()).update(ids)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_every_metric_of_a_call_leads_to_its_span(
    traced: InMemorySpanExporter, measured: InMemoryMetricReader, llm: LLM, way: str
) -> None:
    llm.replies += [Reply(status=429, retry_after_s=0.01)]
    WAYS[way](llm.url)
    (chat,) = [s for s in traced.get_finished_spans() if s.name.startswith("chat")]
    assert chat.context is not None
    here = {(chat.context.trace_id, chat.context.span_id)}
    assert exemplars(measured) == dict.fromkeys(MEASURED, here)


def test_a_call_by_hand_does_so_too(
    exported: InMemorySpanExporter, measured: InMemoryMetricReader
) -> None:
    with otel.llm_call("gpt-asked") as asked:
        otel.record_usage(asked, input_tokens=1, output_tokens=2)
    (chat,) = exported.get_finished_spans()
    assert chat.context is not None
    here = {(chat.context.trace_id, chat.context.span_id)}
    assert exemplars(measured) == {Metric.LLM_DURATION: here, Metric.TOKEN_USAGE: here}


def test_what_is_not_sampled_is_measured_and_leads_nowhere(
    measured: InMemoryMetricReader, llm: LLM
) -> None:
    only = ["openai", "httpx", "httpx2"]
    otel.instrument(only=only, tracer_provider=TracerProvider(sampler=ALWAYS_OFF))
    llm.replies += [Reply(status=429, retry_after_s=0.01)]
    call("openai", llm.url, "create stream", is_async=False)
    otel.uninstrument()
    spans.use_provider(None)
    assert exemplars(measured) == {name: set() for name in MEASURED}
