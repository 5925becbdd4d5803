"""Read stored metrics back as the SDK's own, to hand them to an exporter again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from opentelemetry.proto_json.metrics.v1 import metrics as otlp
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ..run_file_header import UNSENT
from .stored import attributes_of, resource_of, scope_of


def read_metrics(run_file: Path, start: int, end: int) -> tuple[int, MetricsData | None] | None:
    """Read the next line from `start` on: where it ends, and the metrics in it that are to be sent.

    Returns:
        None if no whole line is left before `end`.

    Raises:
        OSError: the file cannot be read.
    """
    with run_file.open("rb") as file:
        file.seek(start)
        line = file.readline(end - start)
    return (start + len(line), _metrics_in(line)) if line.endswith(b"\n") else None


def _metrics_in(line: bytes) -> MetricsData | None:
    try:
        document: Any = json.loads(line)
        if document.get("runFile", {}).get("unsent") != UNSENT:
            return None
        blocks = otlp.MetricsData.from_dict(document).resource_metrics
        return MetricsData([_resource_metrics(block) for block in blocks])
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _resource_metrics(block: otlp.ResourceMetrics) -> ResourceMetrics:
    scopes = [
        ScopeMetrics(
            scope_of(group.scope, group.schema_url) or InstrumentationScope(""),
            [metric for one in group.metrics if (metric := _metric(one)) is not None],
            group.schema_url or "",
        )
        for group in block.scope_metrics
    ]
    return ResourceMetrics(
        resource_of(block.resource, block.schema_url), scopes, block.schema_url or ""
    )


def _metric(metric: otlp.Metric) -> Metric | None:
    data: Sum | Gauge | Histogram | ExponentialHistogram
    if metric.sum is not None:
        data = Sum(
            _numbers(metric.sum.data_points),
            _temporality(metric.sum.aggregation_temporality),
            bool(metric.sum.is_monotonic),
        )
    elif metric.gauge is not None:
        data = Gauge(_numbers(metric.gauge.data_points))
    elif metric.histogram is not None:
        data = Histogram(
            [_histogram(point) for point in metric.histogram.data_points],
            _temporality(metric.histogram.aggregation_temporality),
        )
    elif metric.exponential_histogram is not None:
        data = ExponentialHistogram(
            [_exponential(point) for point in metric.exponential_histogram.data_points],
            _temporality(metric.exponential_histogram.aggregation_temporality),
        )
    else:
        return None
    return Metric(metric.name or "", metric.description, metric.unit, data)


def _temporality(said: int | None) -> AggregationTemporality:
    return AggregationTemporality(int(said or 0))


def _numbers(points: Iterable[otlp.NumberDataPoint]) -> list[NumberDataPoint]:
    return [
        NumberDataPoint(
            attributes_of(point.attributes),
            point.start_time_unix_nano or 0,
            point.time_unix_nano or 0,
            _number(point),
            _exemplars(point.exemplars),
        )
        for point in points
    ]


def _number(point: otlp.NumberDataPoint | otlp.Exemplar) -> float:
    return (point.as_double or 0.0) if point.as_int is None else point.as_int


def _histogram(point: otlp.HistogramDataPoint) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes_of(point.attributes),
        point.start_time_unix_nano or 0,
        point.time_unix_nano or 0,
        point.count or 0,
        point.sum or 0,
        point.bucket_counts,
        point.explicit_bounds,
        point.min,  # type: ignore[arg-type]  # none where a view records none
        point.max,  # type: ignore[arg-type]
        _exemplars(point.exemplars),
    )


def _exponential(point: otlp.ExponentialHistogramDataPoint) -> ExponentialHistogramDataPoint:
    return ExponentialHistogramDataPoint(
        attributes_of(point.attributes),
        point.start_time_unix_nano or 0,
        point.time_unix_nano or 0,
        point.count or 0,
        point.sum or 0,
        point.scale or 0,
        point.zero_count or 0,
        _buckets(point.positive),
        _buckets(point.negative),
        point.flags or 0,
        point.min,  # type: ignore[arg-type]
        point.max,  # type: ignore[arg-type]
        _exemplars(point.exemplars),
    )


def _buckets(buckets: otlp.ExponentialHistogramDataPoint.Buckets | None) -> Buckets:
    return (
        Buckets(0, []) if buckets is None else Buckets(buckets.offset or 0, buckets.bucket_counts)
    )


def _exemplars(exemplars: Iterable[otlp.Exemplar]) -> list[Exemplar]:
    return [
        Exemplar(
            attributes_of(one.filtered_attributes),
            _number(one),
            one.time_unix_nano or 0,
            int.from_bytes(one.span_id) if one.span_id else None,
            int.from_bytes(one.trace_id) if one.trace_id else None,
        )
        for one in exemplars
    ]
