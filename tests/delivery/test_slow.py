"""An endpoint that takes too long says nothing: what it does not take is halved, never given up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext, TraceFlags

from otel_orchestrator.delivery import answers
from otel_orchestrator.delivery.ledger import Sent, open_ledger
from otel_orchestrator.delivery.metric_exporter import export_metrics
from otel_orchestrator.delivery.otlp import Signal, metric_exporter, span_exporter
from otel_orchestrator.delivery.sending import UnreachableError, export, send_stored
from otel_orchestrator.delivery.stored import Batch, joined

from .receiver import Receiver, receiving

pytestmark = pytest.mark.timeout(90)
TIMEOUT_S = 0.3
TIMES_OUT = ["silence", "408", "504", "DEADLINE_EXCEEDED"]
Takes = Callable[[int], bool]


def made(count: int) -> list[ReadableSpan]:
    ids = RandomIdGenerator()
    contexts = [
        SpanContext(ids.generate_trace_id(), ids.generate_span_id(), False, TraceFlags(1))
        for _ in range(count)
    ]
    return [
        ReadableSpan(
            "n", context, resource=Resource({"service.name": "s"}), start_time=1, end_time=2
        )
        for context in contexts
    ]


@contextmanager
def over_http(how: str, takes: Takes) -> Iterator[tuple[SpanExporter, list[int]]]:
    taken: list[int] = []

    def answer(spans: list[Span]) -> int:
        if takes(len(spans)):
            taken.append(len(spans))
            return 200
        if how != "silence":
            return int(how)
        time.sleep(2 * TIMEOUT_S)
        return 200

    with receiving(Receiver(answer=answer)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/v1/traces"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
            patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", f"{TIMEOUT_S}")
            exporter = span_exporter(Signal("traces", url, "http/protobuf"))
        yield exporter, taken
        exporter.shutdown()


@contextmanager
def over_grpc(takes: Takes) -> Iterator[tuple[SpanExporter, list[int]]]:
    taken: list[int] = []

    class Traces(TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:
            blocks = [s for block in request.resource_spans for s in block.scope_spans]
            count = sum(len(block.spans) for block in blocks)
            if not takes(count):
                context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "too slow")
            taken.append(count)
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Traces(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        url = f"http://127.0.0.1:{port}"
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", f"{TIMEOUT_S}")
        exporter = span_exporter(Signal("traces", url, "grpc"))
    try:
        yield exporter, taken
    finally:
        exporter.shutdown()
        server.stop(None)


def slow(how: str, takes: Takes) -> Any:
    return over_grpc(takes) if how == "DEADLINE_EXCEEDED" else over_http(how, takes)


@pytest.mark.parametrize("how", TIMES_OUT)
def test_what_is_slow_because_it_is_large_is_sent_in_parts(how: str) -> None:
    with slow(how, lambda count: count <= 100) as (exporter, taken):
        assert export(exporter, made(200)) == 0
    assert [count for count in taken if count] == [100, 100]


@pytest.mark.parametrize("how", TIMES_OUT)
def test_a_span_that_is_not_answered_in_time_is_not_refused(how: str) -> None:
    with (
        slow(how, lambda count: not count) as (exporter, _),
        pytest.raises(UnreachableError) as raised,
    ):
        export(exporter, made(3))
    assert (raised.value.done, raised.value.refused) == (0, 0)


def test_metrics_that_are_not_answered_in_time_are_not_refused() -> None:
    def answer(body: bytes) -> int:
        time.sleep(2 * TIMEOUT_S if body else 0)
        return 200

    with receiving(Receiver(metrics_answer=answer)) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/v1/metrics"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", url)
            patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", f"{TIMEOUT_S}")
            exporter = metric_exporter(Signal("metrics", url, "http/protobuf"))
        with pytest.raises(UnreachableError):
            export_metrics(exporter, metrics_of_one_counter())
        exporter.shutdown()


def metrics_of_one_counter() -> MetricsData:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    MeterProvider([reader]).get_meter("m").create_counter("c").add(1)
    data = reader.get_metrics_data()
    assert data is not None
    return data


def test_a_transport_that_raises_is_heard_too() -> None:
    class Transport:
        def request(self) -> None:
            raise TimeoutError

    answers.forget()
    with pytest.raises(TimeoutError):
        answers._HearingTransport(Transport(), None).request()
    assert answers.said_nothing()
    answers.forget()
    assert not answers.said_nothing()


class Overloaded(SpanExporter):
    """Refuses batches of more than two, takes so many spans, and asks for all others later."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.taken: list[ReadableSpan] = []
        self.calls: list[int] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls.append(len(spans))
        if len(spans) > 2:
            return SpanExportResult.FAILURE
        if len(self.taken) + len(spans) > self.takes:
            answers._heard.wants_it_later = True
            return SpanExportResult.FAILURE
        self.taken += spans
        return SpanExportResult.SUCCESS


def test_it_is_known_how_much_was_taken_before_an_endpoint_took_no_more() -> None:
    exporter = Overloaded(takes=4)
    with pytest.raises(UnreachableError) as raised:
        export(exporter, made(8))
    assert exporter.calls == [8, 0, 4, 0, 2, 2, 4, 0, 2]
    assert (raised.value.done, raised.value.refused) == (4, 0)


@pytest.mark.parametrize(("takes", "lines"), [(2, 1), (4, 2), (0, 0)])
def test_the_whole_lines_that_were_taken_are_not_sent_again(
    tmp_path: Path, takes: int, lines: int
) -> None:
    spans = made(8)
    run_file = tmp_path / "r.jsonl"
    run_file.write_text("1234567890" * 4)
    apart = [Batch(10 * i, 10 * i + 10, spans[2 * i : 2 * i + 2]) for i in range(4)]
    exporter, noted = Overloaded(takes), list[Sent]()

    def send(ledger: Any) -> Sent:
        return send_stored(
            ledger,
            run_file,
            "e",
            exporter,
            end=40,
            held=lambda start: joined(apart[start // 10 :]),
            progress=lambda sent, _: noted.append(sent),
        )

    with open_ledger(run_file) as ledger:
        with pytest.raises(UnreachableError):
            send(ledger)
        assert noted == ([Sent(10 * lines, 2 * lines)] if lines else [])
        exporter.takes = 8
        assert send(ledger) == Sent(40, 8)
    assert exporter.taken == spans


def test_of_a_line_that_was_taken_in_part_nothing_is_noted() -> None:
    spans = made(5)
    batch = joined([Batch(0, 10, spans[:2]), Batch(10, 20, spans[2:])])
    assert batch.beginning(4) == joined([Batch(0, 10, spans[:2])])
    assert batch.beginning(1) == Batch(0, 0, ())
