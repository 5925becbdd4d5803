"""An OTLP/HTTP endpoint that notes what it takes, and misbehaves on request."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

HANG_UP = 0
GARBAGE = -1
"""Answers that are no status: to close the connection, to send what is no HTTP."""


@dataclass
class Receiver:
    """What came, and what to answer.

    Attributes:
        port: of 127.0.0.1.
        answer: the status for a request with these spans; 200 takes them.
        rejects: how many of these spans are refused, of a request that is taken.
        metrics_status: the answer to metrics; 200 takes them.
        metrics_answer: the same for a request with these bytes, where `metrics_status` is 200.
        content_type: of the answers.
        content: of an answer that says nothing of what is rejected.
        answered: called with the spans of a request once it was answered.
        taken: spans in the order in which they were taken.
        requests: how many spans each request had, whatever the answer.
        metrics: the metrics that were taken, in that order.
        signals: which are to be sent here.
        bodies: the bytes of each request.
    """

    port: int = 0
    answer: Callable[[list[Span]], int] = lambda spans: 200
    rejects: Callable[[list[Span]], int] = lambda spans: 0
    metrics_status: int = 200
    metrics_answer: Callable[[bytes], int] = lambda body: 200
    content_type: str = "application/x-protobuf"
    content: bytes = b""
    answered: Callable[[list[Span]], None] = lambda spans: None
    taken: list[Span] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    signals: str = "traces"
    bodies: list[bytes] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that send a program's spans here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            "OTEL_METRICS_EXPORTER": "otlp" if "metrics" in self.signals else "none",
        }

    def counted(self) -> Counter[str]:
        """How often each span was taken, by id."""
        return Counter(span.span_id.hex() for span in self.taken)

    def points_of(self, histogram: str) -> list[tuple[int, int]]:
        """When the points of a histogram begin, and what they count."""
        return [
            (point.start_time_unix_nano, point.count)
            for metric in self.metrics
            if metric.name == histogram
            for point in metric.histogram.data_points
        ]

    def count_of(self, histogram: str) -> int:
        """What a histogram counts, all deltas together."""
        return sum(count for _, count in self.points_of(histogram))

    def wait_for(self, spans: int, within_s: float = 20) -> None:
        """Wait until so many were taken."""
        deadline = time.monotonic() + within_s
        while len(self.taken) < spans:
            assert time.monotonic() < deadline, f"{len(self.taken)} of {spans} spans came"
            time.sleep(0.02)


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    """Listen until the block is left; on the same port as before, if there was one."""

    def spans_in(body: bytes) -> list[Span]:
        request = ExportTraceServiceRequest.FromString(body)
        scopes = [scope for block in request.resource_spans for scope in block.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    def take_spans(spans: list[Span]) -> int:
        status = receiver.answer(spans)
        if status == 200:
            receiver.taken.extend(spans)
        receiver.requests.append(len(spans))
        return status

    def take_metrics(body: bytes) -> int:
        status = receiver.metrics_status
        status = status if status != 200 else receiver.metrics_answer(body)
        if status != 200:
            return status
        request = ExportMetricsServiceRequest.FromString(body)
        for block in request.resource_metrics:
            for scope in block.scope_metrics:
                receiver.metrics.extend(scope.metrics)
        return 200

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender was killed while it wrote
                self.close_connection = True
                return
            receiver.bodies.append(body)
            if self.path.endswith("metrics"):
                self.reply(take_metrics(body))
            else:
                spans = spans_in(body)
                self.reply(take_spans(spans), receiver.rejects(spans))
                receiver.answered(spans)

        def reply(self, status: int, rejected: int = 0) -> None:
            self.close_connection = status <= 0
            partial = ExportTracePartialSuccess(rejected_spans=rejected)
            answer = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
            content = answer if rejected and status == 200 else receiver.content
            try:
                if status == GARBAGE:
                    self.wfile.write(b"\x00\xff no HTTP at all\r\n\r\n")
                elif status > 0:
                    self.send_response(status)
                    self.send_header("Content-Length", f"{len(content)}")
                    self.send_header("Content-Type", receiver.content_type)
                    self.end_headers()
                    self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the sender was killed while it waited

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *about: object) -> None:
            if not isinstance(sys.exception(), ConnectionError):  # the sender was killed
                super().handle_error(*about)  # type: ignore[arg-type]  # what it was called with

    server = Server(("127.0.0.1", receiver.port), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
