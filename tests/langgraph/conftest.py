"""LangGraph with our instrumentor on, and the one way in which a test drives a graph."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.instrumentors.langgraph import LangGraphInstrumentor


@pytest.fixture
def traced(exported: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    """LangGraph instrumented with default options; yields what was exported."""
    instrumentor = LangGraphInstrumentor()
    instrumentor.instrument()
    yield exported
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
