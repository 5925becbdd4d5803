"""Two processes on one folder, and every cap on what is in it."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from otel_orchestrator.sources.runfiles import list_runs, read_run

from ..delivery.receiver import Receiver, receiving
from ..delivery.test_delivery import ran, started, stored

pytestmark = pytest.mark.timeout(90)


def test_two_processes_that_write_and_send_the_same_runs(tmp_path: Path) -> None:
    """Nothing is lost, nothing is sent twice, no line is torn."""
    code = """
        import os, time
        from opentelemetry import trace
        otel.configure()
        tracer = trace.get_tracer("t")
        for i in range(6):
            for _ in range(150):
                of_run = {"orchestrator.run.id": f"run-{i % 3}"}
                with tracer.start_as_current_span("n", attributes=of_run):
                    pass
            time.sleep(0.4)
        otel.shutdown(20)
        """
    with receiving(Receiver()) as receiver:
        programs = [started(code, tmp_path, receiver) for _ in range(2)]
        for program in programs:
            _, errors = program.communicate(timeout=60)
            assert program.returncode == 0, errors
        ran("otel.configure()\nwith otel.run('last'): pass", tmp_path, receiver)
    assert len(stored(tmp_path)) == 2 * 6 * 150 + 1
    assert receiver.counted() == stored(tmp_path)
    assert all(read_run(file).warnings == () for file in list_runs(tmp_path))


@pytest.mark.parametrize("cap", ["keep_runs=3", "keep_bytes"])
def test_older_runs_make_room_for_newer_ones(tmp_path: Path, cap: str) -> None:
    """At most so many, or so many bytes; one that another program has open is never removed."""
    living = started(
        """
        import sys, time
        otel.configure(run_files=True)
        with otel.run("living"):
            time.sleep(1.2)
            print("now", flush=True)
            sys.stdin.readline()
        """,
        tmp_path,
        None,
    )
    assert living.stdout is not None and living.stdout.readline() == "now\n"
    (open_run,) = tmp_path.glob("*.jsonl")
    os.utime(open_run, (0, 0))  # as if it had been quiet for long
    ran(
        f"""
        from otel_orchestrator.delivery import runfile
        if {cap!r} == "keep_bytes":
            runfile._KEEP_BYTES = 3000
        otel.configure({cap if "=" in cap else ""})
        from opentelemetry import trace
        for i in range(8):
            with otel.run(f"r{{i}}"):
                pass
            trace.get_tracer_provider().force_flush()
        """,
        tmp_path,
        None,
    )
    living.communicate("go on\n", timeout=30)
    found = Counter(s.name.split()[1] for f in list_runs(tmp_path) for s in read_run(f).spans)
    assert found.pop("living") == 1
    assert list(found) and set(found) <= {"r5", "r6", "r7"}, found


def test_more_spans_than_the_disk_takes_are_dropped_and_counted(tmp_path: Path) -> None:
    said = ran(
        """
        from otel_orchestrator.delivery import runfile
        runfile._QUEUED_AT_MOST = 50
        otel.configure()
        from opentelemetry import trace
        file = next(p for p in trace.get_tracer_provider()._active_span_processor._span_processors
                    if isinstance(p, runfile.RunFileProcessor))
        with file._flushing:  # a disk that does not answer
            with otel.run("r"):
                for _ in range(99):
                    with otel.node("n"):
                        pass
        """,
        tmp_path,
        None,
    )
    assert "more spans end than the disk takes" in said
    assert "50 spans are missing in the run files" in said
    assert sum(stored(tmp_path).values()) == 50
