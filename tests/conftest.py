"""What every test stands on: our own defects are raised, no context leaks, an LLM answers."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry import context as otel_context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator import _guard, metrics
from otel_orchestrator.lifecycle import spans

from .llm_server import LLM, serving


@pytest.fixture(autouse=True)
def clean_slate(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Raise our own defects; fail on a leaked context and on any complaint of OpenTelemetry's."""
    _guard.strict = True
    before = otel_context.get_current()
    yield
    _guard.strict = False
    assert otel_context.get_current() == before, "the test's context leaked"
    complaints = [
        r.getMessage()
        for r in caplog.get_records("call")
        if r.name == "opentelemetry.context" and r.levelno >= logging.WARNING
    ]
    assert complaints == []


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """A real SDK tracer provider for this package's spans; yields what was exported."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans.use_provider(provider)
    yield exporter
    provider.shutdown()
    spans.use_provider(None)


@pytest.fixture
def measured() -> Iterator[InMemoryMetricReader]:
    """A real SDK meter provider for this package's metrics; yields its reader."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    metrics.use_provider(provider)
    yield reader
    provider.shutdown()
    metrics.use_provider(None)


@pytest.fixture(scope="module")
def server() -> Iterator[LLM]:
    with serving() as llm:
        yield llm


@pytest.fixture
def llm(server: LLM) -> LLM:
    """A server that is an LLM, and has been asked nothing yet."""
    server.replies.clear()
    server.requests.clear()
    server.seen.clear()
    return server
