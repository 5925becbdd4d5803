"""Everything instrumented that makes LLM calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel


@pytest.fixture
def traced(
    exported: InMemorySpanExporter, measured: InMemoryMetricReader
) -> Iterator[InMemorySpanExporter]:
    """Everything instrumented that makes LLM calls."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    otel.instrument(
        only=["langchain", "openai", "anthropic", "httpx", "httpx2"], tracer_provider=provider
    )
    yield exported
    otel.uninstrument()
