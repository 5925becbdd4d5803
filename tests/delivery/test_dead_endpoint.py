"""A dead endpoint that is known to be dead holds up nobody's end: not a forked worker's either."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_orchestrator.delivery.ledger import open_ledger
from otel_orchestrator.delivery.metric_exporter import StoringMetricExporter
from otel_orchestrator.delivery.otlp import metric_reader
from otel_orchestrator.delivery.runfile import RunFileProcessor
from otel_orchestrator.delivery.sender import _LAST_WORDS_S, Sender

from ..sdk.programs import python


class Spans(SpanExporter):
    """Takes spans as `answer` says."""

    def __init__(self, answer: Callable[[], bool]) -> None:
        self.answer = answer
        self.sent = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self.answer():
            return SpanExportResult.FAILURE
        self.sent += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_try_under_way_is_waited_for_only_if_the_endpoint_may_be_up(tmp_path: Path) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def silent() -> bool:
        hangs.set()
        return goes_on.wait(10) and False

    exporter = Spans(lambda: False)
    sender = Sender(tmp_path, "there", lambda: exporter)
    processor = RunFileProcessor(tmp_path, Resource({}), sender=sender)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("t")
    tracer.start_span("n").end()
    processor.force_flush()
    until(lambda: sender._is_down)
    exporter.answer = silent
    assert hangs.wait(10)
    began = time.monotonic()
    sender.shutdown()
    assert time.monotonic() - began < _LAST_WORDS_S, "it is not waited for"
    assert sender.unsent() == 1, "it is said, and in the file"
    goes_on.set()
    provider.shutdown()


def test_what_is_in_no_file_is_waited_for_and_counted(tmp_path: Path) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def slow() -> bool:
        hangs.set()
        return goes_on.wait(10)

    exporter = Spans(lambda: False)
    sender = Sender(tmp_path, "there", lambda: exporter)
    sender.not_written([ReadableSpan("n", resource=Resource({}), start_time=5, end_time=9)])
    until(lambda: sender._is_down)
    exporter.answer = slow
    assert hangs.wait(10)
    assert sender.unsent() == 1
    threading.Timer(0.5, goes_on.set).start()
    sender.shutdown()
    assert (exporter.sent, sender.unsent(), sender.dropped) == (1, 0, 0)


def test_an_endpoint_that_is_back_gets_what_is_left_at_the_end(tmp_path: Path) -> None:
    """What it has begun to take again is waited for, however long it was down."""
    answers = threading.Event()
    exporter = Spans(lambda: False)
    sender = Sender(tmp_path, "there", lambda: exporter)
    processor = RunFileProcessor(tmp_path, Resource({}), sender=sender)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("t")
    for _ in range(1_200):
        tracer.start_span("n").end()
    processor.force_flush()
    until(lambda: sender._is_down)

    def slow() -> bool:
        time.sleep(0.4)
        answers.set()
        return True

    exporter.answer = slow
    assert answers.wait(10)
    until(lambda: not sender._is_down)
    sender.shutdown()
    assert (exporter.sent, sender.unsent()) == (1_200, 0)
    provider.shutdown()


def test_a_forked_worker_knows_what_its_parent_knows(tmp_path: Path) -> None:
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(50)
    done = python(
        """
        import multiprocessing, time
        from otel_orchestrator import sdk
        otel.configure()
        def work():
            with otel.run("r"):
                pass
        work()
        while not sdk._configured.sender._is_down:
            time.sleep(0.05)
        began = time.monotonic()
        worker = multiprocessing.get_context("fork").Process(target=work)
        worker.start()
        worker.join()
        print(time.monotonic() - began, flush=True)
        """,
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{hole.getsockname()[1]}",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_TIMEOUT="4",
        OTEL_METRICS_EXPORTER="none",
    )
    hole.close()
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 3, "less than one try takes"
    assert done.stderr.count("1 span is not sent yet to http://") == 2


class Metrics(MetricExporter):
    """Takes no metrics, and counts how often it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> MetricExportResult:
        self.tries += 1
        return MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        pass


def test_that_a_ledger_is_busy_does_not_make_a_dead_endpoint_a_live_one(tmp_path: Path) -> None:
    """Of the process's file, the sender of spans holds it nearly always, if they are dead, too."""
    processor = RunFileProcessor(tmp_path, Resource({}))
    endpoint, is_ending = Metrics(), threading.Event()
    exporter = StoringMetricExporter(
        endpoint, "http://there", tmp_path, processor.keep_metrics, is_ending.is_set
    )
    with open_ledger(processor._files.path_of(processor._process_file)):
        exporter.export(MetricsData([]))
    tried = endpoint.tries
    assert tried > 0
    is_ending.set()
    assert exporter.export(MetricsData([])) is MetricExportResult.SUCCESS
    assert endpoint.tries == tried
    processor.shutdown()


def test_a_child_that_is_forked_while_metrics_are_sent_can_send_its_own() -> None:
    reader = metric_reader(Metrics())
    with reader._export_lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if reader._export_lock.acquire(timeout=5) else 1)
    assert os.waitpid(child, 0)[1] == 0
    reader.shutdown()
