"""What other programs, forks and odd spans do to delivery: nothing is lost, held up, unbounded."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_orchestrator import alive
from otel_orchestrator.delivery import appending, runfile
from otel_orchestrator.delivery.appending import Line, RunFiles
from otel_orchestrator.delivery.ledger import Sent, count_owed, metrics_of, open_ledger
from otel_orchestrator.delivery.metric_exporter import StoringMetricExporter
from otel_orchestrator.delivery.owed import _COUNTED_APART, Owed
from otel_orchestrator.delivery.runfile import RunFileProcessor
from otel_orchestrator.delivery.stored import BYTES_AT_ONCE, read_batch
from otel_orchestrator.run_folder import run_files

from .receiver import Receiver, receiving
from .test_delivery import ran, started, stored

LINE = b'{"resourceSpans":[]}\n'


def files_of(folder: Path, **chosen: Any) -> RunFiles:
    options = {"max_file_bytes": 2**20, "keep_runs": 2, "keep_bytes": 2**30, "fsync": False}
    return RunFiles(folder, **{**options, "sender": None, **chosen})


def test_a_child_that_is_forked_while_a_file_is_sent_does_not_hold_it(tmp_path: Path) -> None:
    run_file = tmp_path / "r.jsonl"
    run_file.write_bytes(LINE)
    reading, writing = os.pipe()
    with open_ledger(run_file):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent is done
            os._exit(0)
    try:
        with open_ledger(run_file, patience_s=0) as ledger:
            ledger.note("there", Sent(1))
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


def test_a_child_that_outlives_a_killed_sender_does_not_hold_the_file(tmp_path: Path) -> None:
    run_file = tmp_path / "r.jsonl"
    run_file.write_bytes(LINE)
    code = f"""
        import os, signal, sys, time
        from pathlib import Path
        from otel_orchestrator.delivery.ledger import open_ledger
        with open_ledger(Path({str(run_file)!r})):
            child = os.fork()
            if child == 0:
                sys.stdin.readline()  # until the test is done
                os._exit(0)
            print(child, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    program = started(code, tmp_path, None)
    assert program.stdin is not None and program.stdout is not None
    child = int(program.stdout.readline())
    program.wait(10)
    os.kill(child, 0)  # it lives
    with open_ledger(run_file, patience_s=1) as ledger:
        ledger.note("there", Sent(1))
    program.communicate("\n", timeout=10)


def test_a_child_that_is_forked_while_a_sign_of_life_is_looked_at_is_not_its_writer(
    tmp_path: Path,
) -> None:
    run_file = tmp_path / "r.jsonl"
    run_file.write_bytes(LINE)
    sign = tmp_path / "process-1-0.alive"
    sign.write_text("r\n")
    reading, writing = os.pipe()
    children: list[int] = []

    def fork(*_: object) -> None:
        children.append(os.fork())
        if children[-1] == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        raise OSError(28, "No space left on device")  # so that the sign stays

    try:
        alive.close_left(tmp_path, fork)
        writer = alive.writer_of(run_file)
        assert writer is not None
        assert not writer.is_alive
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(children[0], 0)


@pytest.mark.parametrize("failing", ["stat", "unlink"])
def test_an_older_file_that_cannot_be_removed_does_not_cost_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Another program may have removed it in between, or it is another user's."""
    files = files_of(tmp_path)
    for number in range(3):
        assert files.append(f"r{number}", [Line(LINE)]) is None
        os.utime(tmp_path / f"r{number}.jsonl", (number, number))
    real = getattr(Path, failing)

    def fail(path: Path, **options: Any) -> Any:
        if path.name == "r1.jsonl" and (failing == "unlink" or "follow_symlinks" not in options):
            raise PermissionError(1, "Operation not permitted")
        return real(path, **options)

    monkeypatch.setattr(Path, failing, fail)
    assert files.append("new", [Line(LINE)]) is None
    files.make_room()
    monkeypatch.undo()
    assert {path.stem for path in tmp_path.glob("*.jsonl")} >= {"r1", "r2", "new"}


def test_room_is_made_once_for_all_runs_that_are_written_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at every file: at each new one, that is the square of how many there are."""
    looks = []

    def look(folder: Path) -> list[tuple[float, int, Path]]:
        looks.append(folder)
        return run_files(folder)

    monkeypatch.setattr(appending, "run_files", look)
    processor = RunFileProcessor(tmp_path, Resource({}), keep_runs=5)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("t")
    with processor._flushing:  # until all is queued
        for number in range(20):
            tracer.start_span("n", attributes={"orchestrator.run.id": f"r{number:02}"}).end()
    processor.force_flush()
    assert len(looks) == 1
    kept = sorted(path.stem for path in tmp_path.glob("r*.jsonl"))
    assert len(kept) == 5
    provider.shutdown()


def test_of_many_runs_that_find_no_room_one_line_says_so(tmp_path: Path) -> None:
    said = ran(
        """
        otel.configure(max_run_file_bytes=1500)
        for _ in range(5):
            with otel.run("r"):
                for _ in range(9):
                    with otel.node("n"):
                        pass
        """,
        tmp_path,
        None,
    )
    assert said.count("spans are lost to the run file") == 1
    assert "spans are missing in the run files" in said


def test_a_file_that_ends_in_half_a_line_says_that_it_is_full(tmp_path: Path) -> None:
    """Else what is open in it would be ended as that of a killed program."""
    path = tmp_path / "run.jsonl"
    path.write_bytes(LINE + b'{"resourceSpans":[{')
    assert files_of(tmp_path, max_file_bytes=50).append("run", [Line(LINE)]) == appending.FULL
    assert json.loads(path.read_bytes().splitlines()[-1])["runFile"]["full"]


def test_spans_that_never_end_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runfile, "_OPEN_AT_MOST", 5)
    processor = RunFileProcessor(tmp_path, Resource({}))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    spans = [provider.get_tracer("t").start_span("n") for _ in range(12)]
    assert len(processor._open) == 5
    for span in spans:
        span.end()
    provider.shutdown()
    assert sum(stored(tmp_path).values()) == 12


def test_a_span_that_finds_no_room_is_not_open_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = RunFileProcessor(tmp_path, Resource({}))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    span = provider.get_tracer("t").start_span("n")
    processor.force_flush()
    assert list(tmp_path.glob("*.alive"))
    monkeypatch.setattr(runfile, "_QUEUED_AT_MOST", 0)
    span.end()
    assert (processor._open, processor._noted, processor.dropped) == ({}, {}, 1)
    provider.shutdown()


def test_a_thread_that_cannot_be_started_is_started_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = RunFileProcessor(tmp_path, Resource({}))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("t")

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", fail)
        broken.setattr("otel_orchestrator._guard.strict", False)
        tracer.start_span("before").end()
    tracer.start_span("after").end()
    deadline = time.monotonic() + 20
    while sum(stored(tmp_path).values() if list(tmp_path.glob("*.jsonl")) else []) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    provider.shutdown()


def test_no_request_is_larger_than_an_endpoint_takes(tmp_path: Path) -> None:
    """Its size is bounded by bytes as well, from memory and from the file."""
    with receiving(Receiver()) as receiver:
        ran(
            """
            otel.configure()
            from opentelemetry import trace
            tracer = trace.get_tracer("t")
            with otel.run("r"):
                for i in range(60):
                    with tracer.start_as_current_span("n") as span:
                        span.set_attribute("prompt", "x " * 30_000)
            """,
            tmp_path,
            receiver,
        )
    assert len(receiver.taken) == 61
    assert max(map(len, receiver.bodies)) <= BYTES_AT_ONCE
    (path,) = (p for p in tmp_path.glob("*.jsonl") if p.stat().st_size > 10_000)
    at, end, read = 0, path.stat().st_size, 0
    while (batch := read_batch(path, at, end)) is not None:
        assert batch.end - batch.start <= BYTES_AT_ONCE
        at, read = batch.end, read + len(batch.spans)
    assert read == 61


def test_a_span_that_is_none_holds_up_nothing(tmp_path: Path) -> None:
    """A status that there is none of, say in a file of another program's."""
    span = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1", "endTimeUnixNano": "5"}
    odd = {**span, "status": {"code": 77}}
    lines = [{"resourceSpans": [{"scopeSpans": [{"spans": [one]}]}]} for one in (odd, span)]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    batch = read_batch(path, 0, path.stat().st_size)
    assert batch is not None
    assert (batch.end, len(batch.spans)) == (path.stat().st_size, 1)


def test_what_is_not_sent_is_what_this_process_wrote_and_is_not_sent() -> None:
    owed = Owed(0)
    owed.wrote(100, 10)
    owed.has_sent(Sent(100, 10))
    owed.wrote(300, 5)  # what lies between is of another process
    owed.has_sent(Sent(200, 20))
    assert owed.spans == 5
    owed.has_sent(Sent(300, 25))
    assert owed.spans == 0
    for number in range(5_000):
        owed.wrote(301 + number, 1)
    assert owed.spans == 5_000
    assert len(owed.own) <= _COUNTED_APART
    owed.has_sent(Sent(301 + 4_999))
    assert owed.spans == 0


def test_what_was_sent_is_told_as_sent_where_two_programs_write_one_run(tmp_path: Path) -> None:
    code = """
        import sys, time
        from otel_orchestrator import runs
        from opentelemetry import trace
        runs.new_run_id = lambda: "shared"
        otel.configure()
        for _ in range(5):
            with otel.run("r"):
                for _ in range(40):
                    with otel.node("n"):
                        pass
            time.sleep(0.3)
        print(otel.shutdown(20))
        """
    with receiving(Receiver()) as receiver:
        programs = [started(code, tmp_path, receiver) for _ in range(2)]
        said = [program.communicate(timeout=60)[0] for program in programs]
    assert said == ["True\n", "True\n"]
    assert receiver.counted() == stored(tmp_path)


# --- metrics ---


class Endpoint(MetricExporter):
    """Takes metrics, or nothing at all."""

    def __init__(self) -> None:
        super().__init__()
        self.is_up = False

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> MetricExportResult:
        if not self.is_up:
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        pass


def storing(folder: Path, endpoint: Endpoint) -> tuple[StoringMetricExporter, RunFileProcessor]:
    processor = RunFileProcessor(folder, Resource({}))
    exporter = StoringMetricExporter(
        endpoint, "http://there", folder, processor.keep_metrics, lambda: False
    )
    return exporter, processor


def owed_exports(folder: Path) -> int:
    return sum(count_owed(path, metrics_of("http://there")) for path in folder.glob("*.jsonl"))


def test_metrics_that_were_kept_while_the_ledger_was_held_are_owed(tmp_path: Path) -> None:
    exporter, processor = storing(tmp_path, Endpoint())
    run_file = processor._files.path_of(processor._process_file)
    with open_ledger(run_file):  # somebody sends the spans in that file, to a slow endpoint
        exporter.export(MetricsData([]))
    exporter.export(MetricsData([]))
    assert owed_exports(tmp_path) == 2


def test_a_file_that_is_gone_does_not_forget_what_the_others_hold(tmp_path: Path) -> None:
    endpoint = Endpoint()
    exporter, processor = storing(tmp_path, endpoint)
    gone = tmp_path / "process-0.jsonl"
    gone.write_bytes(b"x")
    with open_ledger(gone) as ledger:
        ledger.note(metrics_of("http://there"), Sent(0))
    exporter.export(MetricsData([]))
    gone.unlink()
    gone.with_suffix(".sent").unlink()
    assert owed_exports(tmp_path) == 1
    endpoint.is_up = True
    exporter.export(MetricsData([]))
    assert owed_exports(tmp_path) == 0
    assert [path.name for path in tmp_path.glob("process-0.*")] == []
    processor.shutdown()


def test_kept_metrics_that_must_make_room_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, processor = storing(tmp_path, Endpoint())
    exporter.export(MetricsData([]))
    for path in tmp_path.glob("*.jsonl"):
        os.utime(path, (0, 0))
    files = files_of(tmp_path, keep_runs=1)
    assert files.append("process-new", [Line(LINE)]) is None
    files.make_room()
    assert "before http://there (metrics) took all of it, 1 exports of metrics" in caplog.text
    processor.shutdown()
