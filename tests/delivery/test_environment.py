"""Variables mean what the specification says, whichever exporter reads them."""

from __future__ import annotations

import os

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from otel_orchestrator.delivery.otlp import Signal, metric_exporter, span_exporter

from .receiver import Receiver, receiving
from .test_refusals import grpc_receiving
from .test_slow import made

MEANS_NOTHING = {
    f"OTEL_EXPORTER_OTLP_{signal}{name}": said
    for signal in ("", "TRACES_", "METRICS_")
    for name, said in (
        ("TIMEOUT", ""),
        ("HEADERS", " "),
        ("INSECURE", ""),
        ("CERTIFICATE", ""),
        ("COMPRESSION", "none"),
    )
}


@pytest.mark.parametrize("compression", ["none", "None ", ""])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_what_means_nothing_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, protocol: str, compression: str
) -> None:
    variables = {**MEANS_NOTHING, "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": compression}
    with grpc_receiving(lambda _spans: 0) as grpc, receiving(Receiver()) as http:
        to = grpc if protocol == "grpc" else f"http://127.0.0.1:{http.port}"
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f" {to}\n"  # as of `$(cat ...)`
        variables["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = " "
        variables["OTEL_EXPORTER_OTLP_PROTOCOL"] = protocol
        for name, said in variables.items():
            monkeypatch.setenv(name, said)
        signals = Signal.from_environment("traces"), Signal.from_environment("metrics")
        assert signals[0] is not None and signals[1] is not None
        exporter = span_exporter(signals[0])
        metric_exporter(signals[1]).shutdown()
        assert exporter.export(made(1)) is SpanExportResult.SUCCESS
        exporter.shutdown()
        assert {name: os.environ[name] for name in variables} == variables, "they stay the user's"
