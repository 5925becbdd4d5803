"""Open spans in the real Jaeger while they run, and never in span metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_orchestrator.semconv import Attr
from otel_orchestrator.sources.runfiles import find_run, read_run

from .reading import trace_of
from .stack import Binaries, query, stack, start_app, until, values

pytestmark = pytest.mark.timeout(300)

PROGRAM = """
import sys, time
import otel_orchestrator as otel
otel.configure("shop", pending_spans=True)
with otel.run("r"), otel.node("worker"):
    time.sleep(1.2)
    print("now", flush=True)
    sys.stdin.readline()
"""
CALLS = "traces_span_metrics_calls_total"


def test_what_is_open_is_in_jaeger_and_in_no_metric(binaries: Binaries, tmp_path: Path) -> None:
    with stack(binaries, tmp_path) as up:
        folder = tmp_path / "runs"
        program = start_app(PROGRAM, endpoint=up.collector.grpc_endpoint, folder=folder)
        assert program.stdout is not None and program.stdout.readline() == "now\n"
        trace_id = read_run(find_run(None, folder)).spans[0].trace_id
        open_spans = trace_of(up.jaeger, trace_id, spans=2)
        assert {(shown.span.name, shown.service) for shown in open_spans} == {
            ("pending invoke_workflow r", "shop"),
            ("pending node worker", "shop-working"),
        }
        program.communicate("go on\n", timeout=60)
        names = {s.span.name for s in trace_of(up.jaeger, trace_id, spans=4)}
        assert names >= {"invoke_workflow r", "node worker", "pending node worker"}
        until(
            lambda: values(up.prometheus, f'{CALLS}{{span_name="node worker"}}'),
            lambda seen: seen == [1],
        )
        counted = {s["metric"]["span_name"] for s in query(up.prometheus, CALLS)}
        assert counted == {"invoke_workflow r", "node worker"}
        pending = [s.span for s in open_spans if Attr.PENDING in s.span.attributes]
        assert len(pending) == 2
