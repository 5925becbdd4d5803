"""LangChain traced; nothing that was asked or answered is in the spans."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_orchestrator as otel

from ..llm_server import SECRET_ANSWER
from .models import KEY, PROMPT


@pytest.fixture
def traced(exported: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    otel.instrument(only=["langchain", "httpx", "httpx2"], tracer_provider=provider)
    yield exported
    otel.uninstrument()
    planted = (PROMPT, KEY, SECRET_ANSWER, "hunter2")
    bytes_out = "".join(s.to_json() for s in exported.get_finished_spans())
    assert not [secret for secret in planted if secret in bytes_out]
