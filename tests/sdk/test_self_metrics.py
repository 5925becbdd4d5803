"""What the package tells of itself: spans kept, dropped and waiting, and the time that it takes."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from otel_orchestrator import _guard
from otel_orchestrator._guard import guarded, note_thread, spent_s

PROGRAM = """
import json, os, sys
from opentelemetry import metrics as api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
import otel_orchestrator as otel

reader = InMemoryMetricReader()
api.set_meter_provider(MeterProvider(metric_readers=[reader]))
otel.configure("self", run_dir=sys.argv[1], max_run_file_bytes=int(sys.argv[2]))

def tell():
    from opentelemetry import trace
    trace.get_tracer_provider().force_flush(500)
    data = reader.get_metrics_data()
    print(json.dumps([
        [m.name, dict(p.attributes), p.value]
        for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics
        for p in m.data.data_points if hasattr(p, "value")
    ]), flush=True)

with otel.run("r"):
    for _ in range(9):
        with otel.node("n"):
            pass
"""


def points(
    folder: Path,
    environment: Mapping[str, str] = MappingProxyType({}),
    *,
    file_bytes: int = 2**20,
    then: str = "tell()",
) -> list[list[Any]]:
    """Run the program; return metric, attributes and value of each point that it tells."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + textwrap.dedent(then), str(folder), str(file_bytes)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return [point for line in done.stdout.splitlines() for point in json.loads(line)]


def values(found: list[list[Any]], name: str, **attributes: str) -> list[float]:
    """Return the values of a metric's points that have these attributes."""
    wanted = {key.replace("_", "."): value for key, value in attributes.items()}
    return [v for n, a, v in found if n == name and wanted.items() <= a.items()]


PROCESSED = "otel.sdk.processor.span.processed"


def test_every_span_is_counted_as_written(tmp_path: Path) -> None:
    found = points(tmp_path)
    by_error = {a.get("error.type"): v for n, a, v in found if n == PROCESSED}
    assert by_error == {None: 10, "not_written": 0}
    assert values(found, "orchestrator.self.unsent") == []


def test_every_span_that_finds_no_room_is_counted_as_dropped(tmp_path: Path) -> None:
    found = points(tmp_path, file_bytes=100)
    by_error = {a.get("error.type"): v for n, a, v in found if n == PROCESSED}
    assert by_error == {None: 0, "not_written": 10}


def test_what_a_dead_endpoint_has_not_taken_is_told(tmp_path: Path) -> None:
    dead = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    }
    found = points(tmp_path, dead)
    assert values(found, "orchestrator.self.unsent") == [10]


def test_a_forked_child_tells_of_its_own_only(tmp_path: Path) -> None:
    found = points(
        tmp_path,
        then="""
        if os.fork() == 0:
            with otel.node("child"):
                pass
            tell()
            os._exit(0)
        os.wait()
        """,
    )
    written = [v for n, a, v in found if n == PROCESSED and "error.type" not in a]
    assert written == [1]


def test_the_time_that_it_took_is_told_by_part(tmp_path: Path) -> None:
    found = points(tmp_path)
    taken = {a["orchestrator.self.part"]: v for n, a, v in found if n == "orchestrator.self.time"}
    assert taken.keys() == {"program", "writer"}
    assert all(seconds > 0 for seconds in taken.values())


def test_the_sdk_tells_of_its_own_part_if_asked(tmp_path: Path) -> None:
    asked = {"OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true"}
    assert sum(values(points(tmp_path / "a", asked), "otel.sdk.span.started")) == 10
    assert values(points(tmp_path / "b"), "otel.sdk.span.started") == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A clock that the test sets, in nanoseconds; each block is timed."""
    now = [1]
    monkeypatch.setattr(_guard, "_TIMED_EACH", 1)
    monkeypatch.setattr(_guard, "_clock_ns", lambda: now[0])
    return now


def test_nested_blocks_count_once(clock: list[int]) -> None:
    before = spent_s()["program"]
    with guarded("outer"):
        clock[0] += 1_000_000_000
        with guarded("inner"):
            clock[0] += 2_000_000_000
    clock[0] += 5_000_000_000
    assert spent_s()["program"] - before == pytest.approx(3)


def test_a_block_that_fails_counts_and_the_next_one_does(
    clock: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_guard, "strict", False)
    before = spent_s()["program"]
    for _ in range(2):
        with guarded("failing"):
            clock[0] += 1_000_000_000
            raise ValueError
    assert spent_s()["program"] - before == pytest.approx(2)


def test_one_block_of_several_stands_for_them(
    clock: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_guard, "_TIMED_EACH", 4)
    before = spent_s()["program"]
    for _ in range(8):
        with guarded("one of them"):
            clock[0] += 1_000_000_000
    assert spent_s()["program"] - before == pytest.approx(8)


def test_the_packages_own_threads_take_none_of_the_program(clock: list[int]) -> None:
    before = spent_s()["program"]

    def work() -> None:
        note_thread("trial")
        with guarded("in a thread of ours"):
            clock[0] += 1_000_000_000
            sum(range(10_000))
        note_thread("trial")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    try:
        assert spent_s()["program"] == before
        assert 0 < spent_s()["trial"] < time.monotonic()
    finally:
        _guard._threads_ns.pop("trial")
