"""What an endpoint refuses, and what nobody has room for, is counted and said."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_orchestrator.delivery import answers
from otel_orchestrator.delivery.ledger import Sent, open_ledger, owed_to, path_of

from .receiver import HANG_UP, Receiver, receiving
from .test_delivery import ran, ship, started, stored

pytestmark = pytest.mark.timeout(90)


def two_of_many(spans: list[Span]) -> int:
    return 2 if len(spans) > 2 else 0


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_what_is_refused_of_a_batch_that_is_taken_is_counted(tmp_path: Path, protocol: str) -> None:
    code = """
        otel.configure()
        with otel.run("r"):
            for _ in range(4):
                with otel.node("n"):
                    pass
        """
    with (
        receiving(Receiver(rejects=two_of_many)) as receiver,
        grpc_receiving(two_of_many) as endpoint,
    ):
        more = (
            {}
            if protocol != "grpc"
            else {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            }
        )
        _, errors = started(code, tmp_path, receiver, **more).communicate(timeout=30)
    assert "refuses 2 spans of" in errors
    (ledger,) = (
        path for path in tmp_path.glob("*.sent") if '"count":3,"refused":2' in path.read_text()
    )
    assert owed_to(ledger.with_suffix(".jsonl")) == {}


@contextmanager
def grpc_receiving(rejects: Callable[[list[Span]], int]) -> Iterator[str]:
    """Take spans over gRPC, and refuse some of them; yields the endpoint."""

    class Traces(TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:
            scopes = [s for block in request.resource_spans for s in block.scope_spans]
            rejected = rejects([span for scope in scopes for span in scope.spans])
            partial = ExportTracePartialSuccess(rejected_spans=rejected)
            return ExportTraceServiceResponse(partial_success=partial)

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Traces(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(None)


def test_spans_that_nobody_has_room_for_are_dropped_oldest_first_and_counted(
    tmp_path: Path,
) -> None:
    with receiving(Receiver(answer=lambda _spans: 503)) as receiver:
        errors = ran(
            """
            otel.configure(max_run_file_bytes=20_000)
            with otel.run("r"):
                for _ in range(10_500):
                    with otel.node("n"):
                        pass
            import sys
            print(f"all is sent: {otel.shutdown(20)}", file=sys.stderr)
            """,
            tmp_path,
            receiver,
        )
    assert "all is sent: False" in errors
    kept = sum(stored(tmp_path).values())
    lost = [int(n) for n in re.findall(r"(\d+) spans are lost so far", errors)]
    assert lost, errors
    assert max(lost) <= 10_501 - kept


def test_a_ledger_that_has_grown_long_is_made_short_and_never_empty(tmp_path: Path) -> None:
    run_file = tmp_path / "r.jsonl"
    run_file.write_text("x" * 10_000)
    longest = 0
    with open_ledger(run_file) as ledger:
        ledger.note("other", Sent(7, 1))
        for i in range(2000):
            ledger.note("http://localhost:4317", Sent(i, i))
            content = path_of(run_file).read_text()
            assert '"other"' in content and f'"bytes":{i},' in content
            longest = max(longest, len(content))
        with pytest.raises(BlockingIOError), open_ledger(run_file, patience_s=0):
            pass
    assert longest < 100_000
    assert owed_to(run_file) == {"other": 9_993, "http://localhost:4317": 8_001}
    assert [path.name for path in tmp_path.iterdir()].count("r.sent") == 1
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "line", ['{"to":"a","bytes":-5,"count":0,"refused":0}', '{"to":"a","bytes":1e999}', "[" * 9_999]
)
def test_a_line_of_a_ledger_that_makes_no_sense_is_passed_over(tmp_path: Path, line: str) -> None:
    run_file = tmp_path / "r.jsonl"
    run_file.write_text("x" * 10)
    whole = '{"to":"a","bytes":7,"count":1,"refused":0}'
    path_of(run_file).write_text(f"{whole}\n{line}\n")
    assert owed_to(run_file) == {"a": 3}


OVERLOADED = """
    import sys
    otel.configure()
    with otel.run("r"):
        for _ in range(3):
            with otel.node("n"):
                pass
    print("ran", flush=True)
    sys.stdin.readline()
    print(otel.shutdown(20), flush=True)
    """


@pytest.mark.parametrize("status", [429, 503])
def test_what_an_overloaded_endpoint_refuses_is_sent_later(tmp_path: Path, status: int) -> None:
    """At its memory limit a Collector refuses what has content, and takes what is empty."""
    receiver = Receiver(signals="traces,metrics")

    def overloaded(is_so: bool) -> None:
        receiver.answer = lambda spans: status if spans and is_so else 200
        receiver.metrics_answer = lambda body: status if body and is_so else 200

    overloaded(True)
    with receiving(receiver):
        program = started(OVERLOADED, tmp_path, receiver, OTEL_METRIC_EXPORT_INTERVAL="300")
        assert program.stdin is not None and program.stdout is not None
        assert program.stdout.readline() == "ran\n"
        time.sleep(3)  # until both were tried
        overloaded(False)
        receiver.wait_for(4)
        deadline = time.monotonic() + 20
        while receiver.count_of("orchestrator.node.duration") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        said, errors = program.communicate("\n", timeout=30)
    assert said == "True\n"
    assert "for good" not in errors
    assert receiver.counted() == stored(tmp_path)
    assert receiver.count_of("orchestrator.node.duration") == 3


def test_what_an_overloaded_endpoint_refuses_to_the_end_is_kept(tmp_path: Path) -> None:
    receiver = Receiver(
        signals="traces,metrics",
        answer=lambda spans: 503 if spans else 200,
        metrics_answer=lambda body: 503 if body else 200,
    )
    with receiving(receiver):
        program = started(OVERLOADED, tmp_path, receiver)
        said, errors = program.communicate("\n", timeout=60)
        assert said == "ran\nFalse\n"
        assert "4 spans are not sent yet" in errors
        receiver.answer = lambda spans: 200
        receiver.metrics_answer = lambda body: 200
        assert ship(tmp_path, to=receiver)[0] == 0
    assert receiver.counted() == stored(tmp_path)
    assert receiver.count_of("orchestrator.node.duration") == 3


class GrpcError(Exception):
    def __init__(self, code: grpc.StatusCode, trailing: tuple[tuple[str, bytes], ...] = ()) -> None:
        self._code, self._trailing = code, trailing

    def code(self) -> grpc.StatusCode:
        return self._code

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self._trailing


@pytest.mark.parametrize(
    ("error", "later"),
    [
        (GrpcError(grpc.StatusCode.UNAVAILABLE), True),
        (GrpcError(grpc.StatusCode.DATA_LOSS), True),
        (GrpcError(grpc.StatusCode.INVALID_ARGUMENT), False),
        (GrpcError(grpc.StatusCode.RESOURCE_EXHAUSTED), False),
        (GrpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, (("google.rpc.retryinfo-bin", b""),)), True),
        (
            GrpcError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                (("grpc-status-details-bin", b"..type.googleapis.com/google.rpc.RetryInfo.."),),
            ),
            True,
        ),
    ],
)
def test_what_grpc_asks_for_later_is_told_from_what_it_refuses(
    error: GrpcError, later: bool
) -> None:
    class Stub:
        def Export(self, **_: Any) -> Any:
            raise error

    answers.forget()
    with pytest.raises(GrpcError):
        answers._HearingStub(Stub()).Export()
    assert answers.wants_it_later() is later
    answers.forget()


THREE_NODES = """
    otel.configure()
    with otel.run("r"):
        for _ in range(3):
            with otel.node("n"):
                pass
    """


HTML = "text/html; charset=utf-8"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_what_is_sent_elsewhere_is_not_taken(tmp_path: Path, status: int) -> None:
    """A proxy answers so to `http://` where it wants `https://`."""
    check_kept(tmp_path, Receiver(answer=lambda _spans: status))


@pytest.mark.parametrize("status", [200, 202])
def test_a_page_is_no_acknowledgement(tmp_path: Path, status: int) -> None:
    """Jaeger's own pages answer so to whatever is sent to them."""
    page = b"\n<!doctype html><html></html>"
    receiver = Receiver(answer=lambda _spans: status, content_type=HTML, content=page)
    check_kept(tmp_path, receiver)


def test_a_type_alone_makes_no_page(tmp_path: Path) -> None:
    with receiving(Receiver(content_type=HTML, content=b"OK")) as receiver:
        assert ran(THREE_NODES, tmp_path, receiver) == ""
    assert len(receiver.taken) == 4


def test_that_a_connection_breaks_is_no_refusal(tmp_path: Path) -> None:
    """Not even where what is empty gets through."""
    check_kept(tmp_path, Receiver(answer=lambda spans: HANG_UP if spans else 200))


def check_kept(folder: Path, receiver: Receiver) -> None:
    with receiving(receiver):
        errors = ran(THREE_NODES, folder, receiver)
        assert "4 spans are not sent yet" in errors and "for good" not in errors
        receiver.answer = lambda _spans: 200
        receiver.content, receiver.taken = b"", []
        code, said = ship(folder, to=receiver)
        assert code == 0 and "4 spans sent" in said
        assert receiver.counted() == stored(folder)


def test_that_some_is_refused_is_not_told_as_a_dead_endpoint(tmp_path: Path) -> None:
    """By every half of the batch, and by every empty batch in between, it would be said anew."""
    with receiving(Receiver(answer=lambda spans: 400 if spans else 200)) as receiver:
        errors = ran(THREE_NODES, tmp_path, receiver)
    assert len(errors.splitlines()) == 1 and "refuses 4 spans of" in errors


def test_without_run_files_every_refusal_is_told(tmp_path: Path) -> None:
    with receiving(Receiver(answer=lambda _spans: 401)) as receiver:
        errors = ran(THREE_NODES.replace("()", "(run_files=False)", 1), tmp_path, receiver)
    assert errors.count("does not take telemetry") == 1
