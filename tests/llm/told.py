"""What the exported spans and metrics tell of LLM calls, for tests that compare it."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_orchestrator.semconv import Attr, Metric

from ..trees import attributes_of


def tokens(measured: InMemoryMetricReader) -> dict[str, float]:
    """Return the sums of the token histogram by kind, whoever measured them."""
    data = measured.get_metrics_data()
    points: list[Any] = [
        point
        for resource in ([] if data is None else data.resource_metrics)
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == Metric.TOKEN_USAGE
        for point in metric.data.data_points
    ]
    sums: dict[str, float] = {}
    for point in points:
        kind = point.attributes[Attr.TOKEN_TYPE]
        sums[kind] = sums.get(kind, 0) + point.sum
    return sums


def chat_of(exported: InMemorySpanExporter) -> dict[str, Any]:
    """Return the attributes of the only chat span."""
    (chat,) = [s for s in exported.get_finished_spans() if s.name.startswith("chat")]
    return attributes_of(chat)
