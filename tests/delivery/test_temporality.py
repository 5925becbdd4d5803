"""What is counted goes as deltas over OTLP, unless the user's variable says otherwise."""

from __future__ import annotations

from typing import Literal

import pytest
from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality

from otel_orchestrator.delivery.otlp import Signal, metric_exporter, metric_reader

COUNTED = (Counter, ObservableCounter, Histogram)
STATES = (UpDownCounter, ObservableUpDownCounter, ObservableGauge)
VARIABLE = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"


def _temporality(protocol: str) -> dict[type, AggregationTemporality]:
    name: Literal["metrics"] = "metrics"
    reader = metric_reader(metric_exporter(Signal(name, "http://localhost:9", protocol)))
    found = dict(reader._exporter._preferred_temporality or {})
    reader.shutdown()
    return found


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (None, AggregationTemporality.DELTA),
        ("", AggregationTemporality.DELTA),
        ("delta", AggregationTemporality.DELTA),
        ("cumulative", AggregationTemporality.CUMULATIVE),
    ],
)
def test_counters_and_histograms_are_deltas_by_default(
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
    said: str | None,
    counted: AggregationTemporality,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if said is not None:
        monkeypatch.setenv(VARIABLE, said)
    found = _temporality(protocol)
    assert {kind: found[kind] for kind in COUNTED} == dict.fromkeys(COUNTED, counted)
    cumulative = AggregationTemporality.CUMULATIVE
    assert all(found.get(kind, cumulative) is cumulative for kind in STATES)
