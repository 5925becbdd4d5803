"""Exporters that stand before another one: what they do not change goes on to it."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.trace.export import SpanExporter

from .._guard import guarded


class ForwardingSpanExporter(SpanExporter):
    """Stands before an exporter of spans."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def shutdown(self) -> None:
        """End the connection."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait for what is under way."""
        return self._inner.force_flush(timeout_millis)


class ForwardingMetricExporter(MetricExporter):
    """Stands before an exporter of metrics, and prefers what that prefers."""

    def __init__(self, inner: Any) -> None:
        super().__init__(
            preferred_temporality=inner._preferred_temporality,
            preferred_aggregation=inner._preferred_aggregation,
        )
        self._inner = inner

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Wait for what is under way."""
        with guarded("flushing metrics"):
            return bool(self._inner.force_flush(timeout_millis))
        return False

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """End the connection."""
        self._inner.shutdown(timeout_millis, **kwargs)
