"""Changes of the application's task queue, as the points of gauges that a run file holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.exporter.otlp.json.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from ..metrics import SCOPE
from ..queue.gauges import QueueChange
from ..semconv import SCHEMA_URL, Attr
from ..semconv import Metric as Names


def encode_queue(changes: Iterable[QueueChange], resource: Resource) -> dict[str, Any]:
    """Return changes of the queue as an OTLP/JSON object."""
    depth: list[NumberDataPoint] = []
    age: list[NumberDataPoint] = []
    for change in changes:
        run = {} if change.run_id is None else {Attr.RUN_ID: change.run_id}
        for state in ("ready", "active", "waiting"):
            value = getattr(change, state)
            depth.append(NumberDataPoint({Attr.TASK_STATE: state, **run}, 0, change.at_ns, value))
        for state in ("ready", "waiting"):
            seconds = getattr(change, f"oldest_{state}_s")
            age.append(NumberDataPoint({Attr.TASK_STATE: state, **run}, 0, change.at_ns, seconds))
    metrics = [
        Metric(Names.QUEUE_DEPTH, "", "{task}", Gauge(depth)),
        Metric(Names.QUEUE_OLDEST_AGE, "", "s", Gauge(age)),
    ]
    scope = ScopeMetrics(InstrumentationScope(SCOPE, schema_url=SCHEMA_URL), metrics, "")
    encoded: dict[str, Any] = encode_metrics(
        MetricsData([ResourceMetrics(resource, [scope], "")])
    ).to_dict()
    return encoded
